"""An error that is not finite is said in words, with the reason, and never as the largest number there is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.bundle.readme import bundle_readme
from edgevit_deploy.cli import run
from edgevit_deploy.outside.text import figure
from edgevit_deploy.parity.gate import NOT_FINITE, OutputDiff, Truth, compare, why_not_finite
from edgevit_deploy.parity.probes import Probes
from tests.helpers.fakes import FAKE_COMMAND, FakeExporter


def difference(*outputs: float) -> OutputDiff:
    probes = Probes(names=("one",), inputs=np.zeros((1, 3, 32, 32), np.float32))
    truth = Truth(probes=probes, outputs={"y": np.ones((1, 2))}, noise={"y": 1e-6}, precision="fp16", task="classify")
    return compare("y", np.array([outputs]), truth, FakeExporter.precisions["fp32"], 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_why_it_is_not_finite(bad: float) -> None:
    assert "half precision ends at 65504" in why_not_finite(difference(1, bad), "fp16")
    assert "Use fp32, or bf16" in why_not_finite(difference(1, bad), "fp16")
    assert why_not_finite(difference(1, bad), "fp32") == "Its outputs are not finite."
    assert why_not_finite(difference(1, 65504), "fp16") == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_first_class_beside_it_is_not_the_truths(bad: float, place: int) -> None:
    outputs = [1.0, 0.5]
    assert difference(*outputs).top1 == "1 of 1", "the control: the truth's is the first"
    outputs[place] = bad
    assert difference(*outputs).top1 == "0 of 1"


def test_a_number_that_is_not_finite_is_a_word() -> None:
    assert (figure(NOT_FINITE), figure(float("inf")), figure(float("nan"))) == ("not finite",) * 3
    assert (figure(1.234e-5), figure(0.0), figure(123.4, 3)) == ("1.2e-05", "0", "123")


def test_it_is_said_everywhere(fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*FAKE_COMMAND, "--fault", "infinite", "--output", str(tmp_path), "--json"]) == 1
    captured = capfd.readouterr()
    assert json.loads(captured.out)["rows"][0]["status"] == "failed"
    bundle = tmp_path / "fake-fp32.failed"
    assert run(["verify", str(bundle)]) == 1
    assert run(["inspect", str(bundle)]) == 0
    said = captured.err + capfd.readouterr().err + (bundle / "README.md").read_text()
    assert "Its outputs are not finite." in said
    assert said.count("not finite") >= 5
    assert "e+308" not in said


def test_the_readme_of_a_half_precision_file_says_what_to_do(fake_target: None, tmp_path: Path) -> None:
    assert run([*FAKE_COMMAND, "--fault", "infinite", "--output", str(tmp_path)]) == 1
    manifest = read_manifest(tmp_path / "fake-fp32.failed")
    assert "half precision ends at 65504" in bundle_readme(replace(manifest, precision="fp16"), "")
