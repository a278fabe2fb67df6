"""`pareto BUNDLE`: a bundle with a recorded evaluation is a record, and its multiply-accumulates are of its own image size."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from edgevit_deploy.bundle.folder import write_manifest
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.accuracy.record import RECORD_VERSION, EvaluationRecord, write_record
from edgevit_deploy.measure.accuracy.result import Accuracy, DataRecord, Share
from edgevit_deploy.spec import Size
from tests.helpers.records import evaluation

ErrorCheck = Callable[..., str]


def evaluated(bundle: Path, name: str = "val") -> Path:
    """Record an evaluation in a bundle."""
    data = DataRecord(name=name, digest="0" * 16, pictures=200, used=200, broken=0, seed=None, classes=("a", "b"))
    accuracy = Accuracy(top1=Share(count=150, of=200), top5=None, calibration_error=None, not_finite=0, confusion=())
    identity = identity_of(read_manifest(bundle))
    record = EvaluationRecord(version=RECORD_VERSION, identity=identity, data=data, runtime="fake", tools={}, accuracy=accuracy)
    write_record(bundle, record)
    return bundle


def of_size(bundle: Path, height: int | str, width: int | str) -> Path:
    """Let a bundle say that it takes pictures of a size, or of any ("height" x "width")."""
    manifest = read_manifest(bundle)
    (taken,) = manifest.inputs
    size: Size | Literal["dynamic"] = (height, width) if isinstance(height, int) and isinstance(width, int) else "dynamic"
    write_manifest(
        bundle,
        replace(
            manifest,
            conversion=replace(manifest.conversion, image_size=size),
            inputs=(replace(taken, shape=(*taken.shape[:2], height, width)),),
        ),
    )
    return bundle


def macs(capfd: pytest.CaptureFixture[str], *places: Path) -> dict[str, Any]:
    capfd.readouterr()
    stands_for = ("--stands-for", f"{places[0]}=EdgeViT-XXS")
    assert run(["pareto", *map(str, places), "--x", "macs", *stands_for, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 224), (256, 384), (384, 384)])
def test_the_macs_of_a_bundle_are_of_its_own_size(
    height: int, width: int, fake_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Convolutions grow with the pixels, attention by up to their square; the paper's 0.56 G are of 224 x 224."""
    (series,) = macs(capfd, evaluated(of_size(fake_bundle, height, width)))["series"]
    (point,) = series["points"]
    assert point["cost"]["source"].endswith(f"{height} x {width}")
    assert point["figures"] == "measured"
    pixels = height * width / 224**2
    assert 0.95 * min(pixels, pixels**2) < point["cost"]["value"] / 560 < max(pixels, pixels**2)


def test_without_a_fixed_size_a_bundle_has_no_macs(
    fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], expect_error: ErrorCheck
) -> None:
    bundle = evaluated(of_size(fake_bundle, "height", "width"))
    message = expect_error(2, "pareto", bundle, "--x", "macs", "--stands-for", f"{bundle}=EdgeViT-XXS")
    assert "depend on the image size, and its is not fixed" in message
    beside = evaluation(tmp_path / "e", {"MobileNetV2": 7000})
    document = macs(capfd, bundle, beside)
    assert [point["name"] for series in document["series"] for point in series["points"]] == ["MobileNetV2"]
    assert [left["name"].split(" of ")[0] for left in document["left_out"]] == [str(bundle)]


def test_a_bundle_with_an_endless_name_of_its_pictures_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    bundle = evaluated(fake_bundle, "n" * 300_000)
    assert "no evaluation has a name of 300000 characters" in expect_error(2, "pareto", bundle, "--x", "macs")
