"""Files in eight bits beside float32 and beside MobileNetV2, by a real converter and its runtime."""

import json
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from tests.helpers.shared import shared_bundle

pytestmark = pytest.mark.slow

QUICK = ("--runs", "5", "--regime", "mixed", "--json")


@pytest.fixture
def bundle() -> Path:
    """XXS at 32 x 32 in integers."""
    return shared_bundle("onnx", "int8", "--model", "edgevit_xxs", "--image-size", "32", "--calibration", "synthetic")


def test_float32_of_the_same_weights_is_converted_and_timed(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["bench", str(bundle), "--against", "fp32", *QUICK]) == 0
    (contest,) = json.loads(capfd.readouterr().out)["against"]
    (gain,) = contest["gains"]
    assert contest["rejected"] == []
    assert 0.25 < gain["size_share"] < 0.35
    assert gain["ratio"] > 0


@pytest.mark.nightly
def test_mobilenet_v2_is_in_integers_too(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["bench", str(bundle), "--against", "peers", "--peer", "MobileNetV2", *QUICK]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (contest,) = document["against"]
    assert contest["rejected"] == []
    assert (contest["base"], len(contest["standings"])) == ("MobileNetV2", 2)
    peer = next(entry for entry in contest["standings"] if entry["label"] == "MobileNetV2")
    assert peer["given"] == "52 BatchNorm and 35 ReLU folded into convolutions; rounded as the bundle is"
    sizes = {entry["label"]: entry["size_bytes"] for entry in document["results"]}
    assert sizes["MobileNetV2"] < 0.3 * 4 * 3_504_872  # its parameters
    assert "That recipe was chosen for EdgeViT" in " ".join(captured.err.split())
