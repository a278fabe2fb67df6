"""Real converters and runtimes on the trained network: what fp32 keeps, what 16 bits flip, and how much memory it takes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgevit_deploy
from edgevit_deploy.measure.accuracy.result import Pairing
from tests.helpers import trained
from tests.helpers.evaluation import pictures, write_labels
from tests.helpers.shared import made_once, shared_bundle

ROOT = Path(__file__).parent.parent.parent


def trained_bundle(target: str, precision: str) -> Path:
    def make(folder: Path) -> None:
        write_labels(folder / "labels.txt")

    labels = made_once("trained-labels", make) / "labels.txt"
    return shared_bundle(target, precision, "--weights", str(trained.WEIGHTS), "--image-size", "64", "--labels", str(labels))


def pairing_of(target: str, precision: str, per_class: int) -> Pairing:
    evaluation = edgevit_deploy.evaluate(
        trained_bundle(target, precision), data=pictures(per_class), weights=trained.WEIGHTS, reference="fp64"
    )
    (row,) = evaluation.bundles
    assert row.status == "ran"
    assert row.pairing is not None
    assert row.pairing.pictures == 10 * per_class
    return row.pairing


@pytest.mark.slow
def test_float32_agrees_or_its_flips_are_within_the_bound() -> None:
    found = pairing_of("onnx", "fp32", 20)
    assert found.flipped == found.flips_within_bound
    assert found.agreement.count >= 199
    assert found.largest_difference < 1e-5


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("target", "precision"), [("onnx", "fp32"), ("onnx", "fp16"), ("torchscript", "fp32"), ("ncnn", "fp16"), ("openvino", "bf16")]
)
def test_every_flip_is_within_the_bound(target: str, precision: str) -> None:
    """On 600 pictures. What bf16 flips would also be flipped by a file that is as good as its emulation."""
    found = pairing_of(target, precision, 60)
    assert found.over_bound == 0
    assert found.flipped == found.flips_within_bound
    assert found.agreement.value > 0.99
    if precision == "fp32":
        assert found.flipped == 0


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_evaluation_takes_less_than_a_gigabyte() -> None:
    """Of the whole process tree. That it does not grow with the pictures is counted in `test_accuracy_memory.py`."""
    script = ROOT / "docs" / "measurements" / "scripts" / "peak_memory.py"
    command = [sys.executable, str(ROOT / "convert.py"), "evaluate", str(trained_bundle("onnx", "fp32"))]
    flags = ["--data", str(pictures(60)), "--weights", str(trained.WEIGHTS)]
    result = subprocess.run([sys.executable, str(script), *command, *flags], capture_output=True, text=True, timeout=300)
    (peak,) = re.findall(r"peak (\d+) MB .* exit code 0", result.stdout)
    assert int(peak) < 1000
