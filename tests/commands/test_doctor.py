"""`convert.py doctor`: what works here, which packages matter, and every bound."""

import json
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.registry import Availability, Line, distribution_of
from tests.helpers.fakes import FakeExporter


def test_doctor_lists_everything(capfd: pytest.CaptureFixture[str]) -> None:
    import export
    import runtimes

    assert run(["doctor", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert set(document["targets"]) == set(export.TARGETS)
    assert set(document["runtimes"]) == set(runtimes.RUNTIMES)
    for found in (*document["targets"].values(), *document["runtimes"].values()):
        assert found["ok"] or found["fix"], "what does not work must say what would enable it"


def test_doctor_lists_every_package_that_a_target_or_a_runtime_names(capfd: pytest.CaptureFixture[str]) -> None:
    """Under the name that it has on PyPI: what can be imported has a version there."""
    import export
    import runtimes

    assert run(["doctor", "--json"]) == 0
    versions = json.loads(capfd.readouterr().out)["packages"]
    entries: list[Line[Any]] = [*export.LINES, *runtimes.LINES]
    named = {package for entry in entries for package in entry.load().packages}
    assert {"onnx", "coremltools", "ncnn", "pnnx", "litert_torch", "openvino", "tensorrt_rtx"} <= named
    assert {distribution_of(package) for package in named} <= set(versions)
    assert distribution_of("PIL") == "pillow"  # installed under another name than it is imported by
    assert distribution_of("no_such_package") == "no-such-package"
    for package in named:
        assert bool(versions[distribution_of(package)]) == (find_spec(package) is not None), package


def test_doctor_lists_the_bounds(only_fake: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(FakeExporter, "precisions", {"fp32": NoiseMultiple(k=2.5, reason="it adds backwards")})
    monkeypatch.setattr(
        FakeExporter,
        "quantised",
        {"int8": replace(FakeExporter.quantised["int8"], bound=NoiseMultiple(k=1.1, reason="it rounds"))},
    )
    assert run(["doctor", "--bounds", "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["bounds"] == [
        {"target": "fake", "precision": "fp32", "k": 2.5, "reason": "it adds backwards"},
        {"target": "fake", "precision": "int8", "k": 1.1, "reason": "it rounds"},
    ]
    assert "it adds backwards" in captured.err
    assert run(["doctor", "--json"]) == 0
    assert "bounds" not in json.loads(capfd.readouterr().out)


def test_a_cell_with_brackets_is_shown_whole(
    only_fake: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The name of an extra looks like rich's markup, which would swallow it."""
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install '.[fake]'")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    assert run(["doctor"]) == 0
    assert "pip install '.[fake]'" in capfd.readouterr().err
