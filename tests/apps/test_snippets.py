"""The snippets of the bundles' READMEs are regions of the samples' sources, which are compiled and run."""

import textwrap
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import SAMPLES

ROOT = Path(__file__).parents[2]

SNIPPETS = [
    ("onnx", "js", "web/js/backends/onnx.js", ("load",)),
    ("litert", "js", "web/js/backends/litert.js", ("load",)),
    ("onnx", "kotlin", "android/app/src/onnx/kotlin/edgevit/app/OnnxBackend.kt", ("load",)),
    ("litert", "kotlin", "android/app/src/litert/kotlin/edgevit/app/LiteRtBackend.kt", ("load",)),
    ("executorch", "kotlin", "android/app/src/executorch/kotlin/edgevit/app/ExecuTorchBackend.kt", ("load",)),
    ("onnx", "swift", "ios/Sources/EdgeViTONNX/ONNXModel.swift", ("load",)),
    ("coreai", "swift", "ios/Sources/EdgeViTCoreAI/CoreAIModel.swift", ("load",)),
    *(("coreml", "swift", "ios/Sources/EdgeViTCoreML/CoreMLModel.swift", (name,)) for name in ("load", "image", "classifier")),
    *(
        (target, "cpp", f"cpp/src/backends/{target}.cpp", ("load", "run"))
        for target in ("onnx", "openvino", "executorch", "litert", "torchscript", "ncnn")
    ),
]
"""The target, the language, a source of a sample, and the regions of it that are one snippet, one after the other."""


def region(source: str, name: str) -> str:
    """Return the lines between `[snippet: NAME]` and `[end]`, moved to the left."""
    lines = source.splitlines()
    (start,) = (place for place, line in enumerate(lines) if f"[snippet: {name}]" in line)
    end = next(place for place in range(start, len(lines)) if "[end]" in lines[place])
    return textwrap.dedent("\n".join(lines[start + 1 : end])) + "\n"


@pytest.mark.parametrize(("target", "language", "source", "names"), SNIPPETS)
def test_a_snippet_is_a_region_of_a_sample(target: str, language: str, source: str, names: tuple[str, ...]) -> None:
    usage = (ROOT / f"export/{target}/usage.md").read_text()
    text = (SAMPLES / source).read_text()
    snippet = "\n".join(region(text, name) for name in names)
    assert f"```{language}\n{snippet}```\n" in usage
