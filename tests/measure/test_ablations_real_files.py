"""An ablation beside the published network, by a real converter and its runtime."""

import json

import pytest

from edgevit_deploy.cli import run
from tests.helpers.shared import shared_bundle

pytestmark = pytest.mark.slow


def test_two_ablations_are_converted_judged_and_timed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("edgevit_xxs_lsa", "edgevit_xxs_without_la")
    monkeypatch.setattr("edgevit_deploy.measure.ablations.ABLATIONS", few)
    bundle = shared_bundle("onnx", "fp32", "--model", "edgevit_xxs", "--image-size", "32")
    capfd.readouterr()
    assert run(["bench", str(bundle), "--against", "ablations", "--runs", "5", "--regime", "mixed", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    (contest,) = document["against"]
    assert contest["rejected"] == []
    assert {entry["label"] for entry in contest["standings"]} == {str(bundle), *few}
    assert all(0 < entry["noise_ratio"] <= 4 for entry in contest["standings"])
