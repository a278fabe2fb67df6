"""What the documentation shows is run, and what it links to is there."""

import json
import os
import pickle
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import edgevit_deploy
from edgevit_deploy.cli import COMMANDS, run
from edgevit_deploy.commands.convert import Row
from tests.helpers.fakes import FakeOptions

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_of_the_python_page_runs(tmp_path: Path) -> None:
    """In one interpreter, one after the other, as a reader would type them."""
    code = blocks(ROOT / "docs" / "python.md")
    assert len(code) >= 7
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("passed\nbuild/x/onnx-fp32\n")
    assert "onnx has no option 'opsett'; did you mean 'opset'?" in result.stdout
    assert not list(tmp_path.glob("*.failed"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_layers_shown_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    wanted = [{name.removeprefix("edgevit_deploy.") for name in layer.split(" | ")} for layer in layers]
    shown = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8").partition("Imports go down only.")[2].split("```")[1]
    rows = [re.split(" {2,}", line)[0].replace(", ", " | ").split(" | ") for line in shown.strip().splitlines()]
    alone = [{name} for row in rows[-2:-1] for name in row]  # what the page says of three small modules in one line
    assert [*map(set, rows[:-2]), *alone, set(rows[-1])] == [layer for layer in wanted if layer != {"__main__"}]


def test_the_json_that_is_shown_has_the_fields_of_a_row() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "quickstart.md").read_text(), re.MULTILINE | re.DOTALL)
    (row,) = json.loads(block)["rows"]
    assert list(row) == [field.name for field in fields(Row)]


def test_every_command_but_those_that_serve_has_json(capfd: pytest.CaptureFixture[str]) -> None:
    without = set()
    for command in (*COMMANDS, "all", "onnx"):
        capfd.readouterr()
        assert run([command, "--help"]) == 0
        if "--json" not in capfd.readouterr().out:
            without.add(command)
    assert without == {"demo", "worker"}


def test_results_can_be_pickled(fake_target: None, tmp_path: Path) -> None:
    """So that a worker in another process or on another machine can give them back."""
    conversion = edgevit_deploy.convert(
        "fake", model="edgevit_xxs", num_classes=10, image_size=64, output=tmp_path, options={"fault": ""}
    )
    verification = edgevit_deploy.verify(conversion.bundle, seed=0, layers=True)
    run = edgevit_deploy.bench(conversion.bundle, runs=20)
    assert pickle.loads(pickle.dumps(conversion)) == conversion
    assert pickle.loads(pickle.dumps(verification)).layers == verification.layers
    assert pickle.loads(pickle.dumps(run)).machine == run.machine
    assert verification.status == "passed"
    assert run.benchmark is not None


def test_the_librarys_arguments_are_checked_like_the_flags(fake_target: None, tmp_path: Path) -> None:
    from edgevit_deploy.errors import UsageError

    for arguments, message in (
        ({"image_size": "65"}, "not a positive multiple of 32"),
        ({"batch": 0}, "--batch 0"),
        ({"options": {"fualt": "bias"}}, "did you mean 'fault'?"),
        ({"options": {"fault": 3}}, "options of fake"),
        ({"options": 3}, "a mapping of names to values, got int"),
        ({"form": tmp_path / "nowhere.toml"}, "cannot be read"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            edgevit_deploy.convert("fake", model="edgevit_xxs", output=tmp_path, **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="did you mean 'fake'"):
        edgevit_deploy.convert("fakee", model="edgevit_xxs")
    report = edgevit_deploy.convert(
        "fake", model="edgevit_xxs", num_classes=10, image_size=(64, 64), output=tmp_path, options=FakeOptions(fault="bias")
    ).report
    assert report.status == "failed", "a failed comparison is a result"
