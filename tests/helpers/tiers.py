"""Which test files need torch alone, and which tests wait for a converter that is slow to start."""

from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).parent.parent

CORE = (
    "bundle",
    "commands",
    "conformance/test_adding_a_target.py",
    "conformance/test_imports.py",
    "data",
    "deploy",
    "measure",
    "model",
    "parity/test_negative_controls.py",
    "parity/test_probes.py",
    "parity/test_reference.py",
    "process",
    "test_cli.py",
    "test_helpers.py",
    "test_spec.py",
    "verification",
)
"""Folders and files whose tests, but for those marked slow and those in `*_real_files.py`, import no converter."""

CONVERTERS = (
    "ai_edge_litert",
    "coremltools",
    "executorch",
    "litert_torch",
    "ncnn",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "openvino",
    "pnnx",
    "tensorrt",
    "tensorrt_rtx",
)

SLOW_TO_START = ("executorch", "litert")
"""Targets whose converters take 10 s to import: their tests share a worker, and with it what has been imported and built."""


def is_core(path: Path) -> bool:
    """Say whether a test file needs torch alone."""
    try:
        name = path.relative_to(TESTS).as_posix()
    except ValueError:
        return False
    if name.endswith("_real_files.py"):
        return False
    return any(name == entry or name.startswith(f"{entry}/") for entry in CORE)


def converters_among(modules: Iterable[str]) -> set[str]:
    """Return those of some module names that are converters."""
    return set(modules) & set(CONVERTERS)


def converter_of(test: str) -> str | None:
    """Return the converter that is slow to start and that a test, by its id, needs: its file's name says so, or a parameter's."""
    path, _, name = test.partition("::")
    words = {Path(path).stem.removeprefix("test_"), *name.partition("[")[2].removesuffix("]").split("-")}
    return next((target for target in SLOW_TO_START if target in words), None)
