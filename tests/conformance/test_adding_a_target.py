"""A target is one module and one registry line; a runtime of its own, and one more line, then judge it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import export
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.host import find_session
from edgevit_deploy.registry import Target
from tests.helpers.fakes import FakeExporter, register_fake

MODEL = ("--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10")


def test_one_module_and_one_registry_line_are_a_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing reads its files yet, so nothing is called passed."""
    line: Target[FakeExporter] = Target(name="fake", location="tests.helpers.fakes:FakeExporter", summary="A fake target")
    monkeypatch.setitem(export.TARGETS, "fake", line)
    assert run(["--help"]) == 0
    assert "A fake target." in capfd.readouterr().out
    assert run(["fake", "--help"]) == 0
    assert "--fault" in capfd.readouterr().out
    assert run(["fake", *MODEL, "--output", str(tmp_path)]) == 0
    assert read_manifest(tmp_path / "fake-fp32").parity.status == "built, not run"


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Which runtime reads a target is asked once a process; these tests change the answer."""
    find_session.cache_clear()
    yield
    find_session.cache_clear()


@pytest.mark.slow
def test_a_runtime_and_its_registry_line_have_it_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    register_fake(monkeypatch)
    bundle = str(tmp_path / "fake-fp32")
    assert run(["fake", *MODEL, "--output", str(tmp_path)]) == 0
    assert run(["verify", bundle, "--seed", "0", "--layers"]) == 0
    capfd.readouterr()
    assert run(["bench", bundle, "--against", "original", "--runs", "5", "--regime", "mixed", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["results"]) == 2
    assert run(["fake", *MODEL, "--fault", "bias", "--output", str(tmp_path / "faulty")]) == 1
