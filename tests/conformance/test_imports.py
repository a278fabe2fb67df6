"""Importing any of our modules needs torch at most, and the layers hold."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import export
import runtimes
from edgevit_deploy.registry import Line, distribution_of

ROOT = Path(__file__).parent.parent.parent
OTHERS = {"timm", "PIL", "sklearn", "cuda", "dask", "distributed", "segmentation_models_pytorch", "torchvision", "pycocotools"}
"""Heavy libraries that no target or runtime needs to work."""


def heavy_packages() -> tuple[str, ...]:
    """What the registered targets and runtimes say that they need; not torch, which most of the core is made of."""
    entries: list[Line[Any]] = [*export.LINES, *runtimes.LINES]
    named = {package for entry in entries for package in entry.load().packages}
    return tuple(sorted((named | OTHERS) - {"torch"}))


HEAVY = heavy_packages()


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


def _imported_as(distribution: str) -> str:
    """What a distribution is imported as: most have one name, with underscores for hyphens."""
    names = {distribution_of(package): package for package in HEAVY}
    return names.get(distribution, distribution.replace("-", "_"))


def test_what_is_blocked_is_what_the_extras_install() -> None:
    """Two lists that are written by hand, in the classes and in pyproject.toml, say the same."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = {
        _imported_as(re.split(r"[^A-Za-z0-9-]", requirement)[0])
        for name, requirements in extras.items()
        if name not in ("all", "test", "preprocessing")  # the last is of a script beside the product
        for requirement in requirements
    }
    assert installed <= set(HEAVY)
    entries: list[Line[Any]] = [*export.LINES, *runtimes.LINES]
    assert {entry.load().extra for entry in entries} - {None} <= set(extras)
    (of_all,) = extras["all"]
    for exporter in (line.load() for line in export.LINES):
        if exporter.extra is not None:
            assert (exporter.extra in re.split(r"[\[\],]", of_all)) == exporter.in_all


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


@pytest.mark.parametrize("command", ["", "doctor", "verify", "train", *export.TARGETS])
def test_help_works_without_torch(command: str) -> None:
    tokens = [*command.split(), "--help"]
    code = BLOCKER.format(heavy=(*HEAVY, "torch"), modules=["edgevit_deploy.cli"])
    code += f"\nfrom edgevit_deploy.cli import run\nassert run({tokens!r}) == 0"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "Usage: convert.py" in result.stdout
