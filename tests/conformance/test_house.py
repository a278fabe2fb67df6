"""The rules by which a place is guessed: a target has its name in three packages, and the core knows none by name."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevit_deploy.host import RUNTIMES, TARGETS

ROOT = Path(__file__).parent.parent.parent
CORE = ROOT / "edgevit_deploy"
FORMATS = CORE / "formats"
EXAMPLES = CORE / "examples"
"""Projects for apps: no code of the core, and each says itself what it loads."""
PACKAGES = ("edgevit_deploy", "export", "runtimes")


def stems(package: Path) -> set[str]:
    """The names of a package's own modules and packages."""
    return {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {"__init__"}


def mentions(folder: Path) -> Iterator[str]:
    """Every place below a folder, but for formats and examples, that has a target's name as a whole word in lower case."""
    word = re.compile(rf"\b({'|'.join(TARGETS)})\b")
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".py", ".toml", ".j2") or any(map(path.is_relative_to, (FORMATS, EXAMPLES))):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in word.finditer(line):
                yield f"{path.relative_to(folder)}:{number}: {match.group()}"


@pytest.mark.parametrize("package", [ROOT / "export", ROOT / "runtimes"], ids=lambda package: package.name)
def test_every_target_and_nothing_else_has_a_module(package: Path) -> None:
    assert stems(package) == set(TARGETS)


def test_formats_are_those_of_targets() -> None:
    assert stems(FORMATS) <= set(TARGETS)


def test_every_registered_class_is_in_the_module_of_its_target() -> None:
    places = [(target.location, f"export.{name}") for name, target in TARGETS.items()]
    places += [(runtime.location, f"runtimes.{runtime.target}") for runtime in RUNTIMES.values()]
    for location, module in places:
        assert location.startswith((f"{module}:", f"{module}."))


def test_the_core_names_no_target() -> None:
    """Whole text, comments and docstrings too: what is known of one target belongs to that target."""
    assert list(mentions(CORE)) == []


@pytest.mark.parametrize("name", ["planted.py", "planted.toml", "deeper/planted.j2"])
def test_a_name_in_the_core_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("# ONNX and onnxruntime are good\n# the ncnn-only way\n")
    assert list(mentions(tmp_path)) == [f"{name}:2: ncnn"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the three packages and of the contracts about their imports."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def broken_contracts(house: Path) -> list[str]:
    """The contracts about imports that do not hold there."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {"PYTHONPATH": str(house), "COLUMNS": "300"}
    result = subprocess.run([sys.executable, "-P", "-c", code], cwd=house, env=environment, capture_output=True, text=True)
    broken = re.findall(r"^(.+) BROKEN", result.stdout, flags=re.MULTILINE)
    assert result.returncode == bool(broken), result.stdout + result.stderr
    assert " KEPT" in result.stdout
    return broken


def test_every_contract_about_imports_holds(house: Path) -> None:
    assert broken_contracts(house) == []


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("edgevit_deploy/commands/planted.py", "import export", "only the host imports export and runtimes"),
        ("edgevit_deploy/measure/planted.py", "from runtimes.onnx import KERNEL", "only the host imports"),
        ("edgevit_deploy/model/planted.py", "import edgevit_deploy.host", "imports go down only"),
        ("export/coreml/planted.py", "from export.onnx import OPSETS", "exporters are independent"),
        ("runtimes/ncnn_planted.py", "import runtimes.litert", "runtimes are independent"),
        ("edgevit_deploy/formats/planted.py", "import edgevit_deploy.formats.onnx", "formats are independent"),
    ],
)
def test_a_planted_import_is_found(house: Path, module: str, line: str, contract: str) -> None:
    (house / module).write_text(f'"""Planted."""\n\n{line}\n')
    try:
        (broken,) = broken_contracts(house)
    finally:
        (house / module).unlink()
    assert broken.startswith(contract)
