"""Importing any of our modules needs torch at most, and the layers hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = (
    "onnx",
    "onnxruntime",
    "onnxsim",
    "onnxscript",
    "coremltools",
    "ncnn",
    "openvino",
    "pnnx",
    "litert_torch",
    "ai_edge_litert",
    "executorch",
    "tensorrt",
    "tensorrt_rtx",
    "timm",
    "PIL",
    "sklearn",
    "cuda",
)


def modules() -> list[str]:
    names = []
    for package in ("edgevit_deploy", "export", "runtimes"):
        for path in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            names.append(dotted.removesuffix(".__init__"))
    return names


BLOCKER = """
import importlib, importlib.abc, sys
HEAVY = {heavy!r}
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in HEAVY:
            raise ImportError(f'{{name}} is blocked')
sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
print('imported', len({modules!r}))
"""


def test_every_module_imports_without_any_heavy_library() -> None:
    names = modules()
    assert len(names) > 25
    code = BLOCKER.format(heavy=HEAVY, modules=names)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert f"imported {len(names)}" in result.stdout


def test_the_blocker_blocks() -> None:
    """Negative control: the same harness refuses a module that imports onnx at its top."""
    code = BLOCKER.format(heavy=HEAVY, modules=["onnx"])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode != 0
    assert "onnx is blocked" in result.stderr


@pytest.mark.parametrize("command", ["", "doctor", "verify", "onnx", "tensorrt"])
def test_help_works_without_torch(command: str) -> None:
    tokens = [*command.split(), "--help"]
    code = BLOCKER.format(heavy=(*HEAVY, "torch"), modules=["edgevit_deploy.cli"])
    code += f"\nfrom edgevit_deploy.cli import run\nassert run({tokens!r}) == 0"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "Usage: convert.py" in result.stdout
