"""Which test files need torch alone, and which tests wait for a converter that is slow to start."""

from collections.abc import Iterable
from pathlib import Path

import pytest

import export
import runtimes
from edgevit_deploy.spec import Precision

TESTS = Path(__file__).parent.parent

CORE = (
    "apps",
    "bundle",
    "calibration",
    "commands",
    "conformance/test_adding_a_target.py",
    "conformance/test_imports.py",
    "data",
    "deploy",
    "measure",
    "model",
    "outside",
    "parity/test_ablation_controls.py",
    "parity/test_decisions.py",
    "parity/test_judging.py",
    "parity/test_negative_controls.py",
    "parity/test_not_finite.py",
    "parity/test_probes.py",
    "parity/test_reference.py",
    "process",
    "test_cli.py",
    "test_helpers.py",
    "test_spec.py",
    "verification",
)
"""Folders and files whose tests, but for those marked slow and those in `*_real_files.py`, import no converter."""

NOT_CORE = ("commands/test_doctor.py",)
"""What is in these folders and asks every runtime whether it works."""

CONVERTERS = frozenset(name for line in (*export.LINES, *runtimes.LINES) for name in line.load().packages) - {"torch"}
"""Import names of what converts or runs, by the word of the targets and runtimes themselves."""

SLOW_TO_START = ("executorch", "litert")
"""Targets whose converters take 10 s to import: their tests share a worker, and with it what has been imported and built."""


SLOW_TO_CONVERT = (*SLOW_TO_START, *{line.target for line in runtimes.LINES if not line.load().executes_target})
"""Those, and the ones whose files are judged here by operators of our own."""


def slow_or_nightly(target: str, precision: Precision = "fp32") -> pytest.MarkDecorator:
    """Return the tier of a test that converts its target once more: the night's for the slowest, and for 16 bits."""
    return pytest.mark.nightly if target in SLOW_TO_CONVERT or precision != "fp32" else pytest.mark.slow


def is_core(path: Path) -> bool:
    """Say whether a test file needs torch alone."""
    try:
        name = path.relative_to(TESTS).as_posix()
    except ValueError:
        return False
    if name.endswith("_real_files.py") or name in NOT_CORE:
        return False
    return any(name == entry or name.startswith(f"{entry}/") for entry in CORE)


def may_hold_core(path: Path) -> bool:
    """Say whether a file needs torch alone, or a folder may hold such a file; its own conftest may import a converter."""
    if path.is_file():
        return is_core(path)
    try:
        name = path.relative_to(TESTS).as_posix()
    except ValueError:
        return True
    return name == "." or any(entry == name or entry.startswith(f"{name}/") or name.startswith(f"{entry}/") for entry in CORE)


def converters_among(modules: Iterable[str]) -> set[str]:
    """Return those of some module names that are converters."""
    return set(modules) & CONVERTERS


def converter_of(test: str) -> str | None:
    """Return the converter that is slow to start and that a test, by its id, needs: its file's name says so, or a parameter's."""
    path, _, name = test.partition("::")
    words = {*Path(path).stem.split("_"), *name.partition("[")[2].removesuffix("]").split("-")}
    return next((target for target in SLOW_TO_START if target in words), None)
