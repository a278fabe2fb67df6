"""What `evaluate` of detectors and segmenters says of a demand that it cannot judge, and of flags that cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import edgevit_deploy
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.statistics import FEW_PICTURES
from tests.commands.test_evaluate_detection import bundle, evaluate, many, pictures
from tests.helpers.dense import segmenter
from tests.helpers.detectors import detector_weights
from tests.helpers.shapes import write_shapes
from tests.helpers.shared import made_once

pytest.importorskip("pycocotools")

ErrorCheck = Callable[..., str]
Capture = pytest.CaptureFixture[str]
PAIRED = ("--weights", detector_weights, "--max-drop", "0.01")


def with_weights(*tokens: object) -> list[object]:
    return [token() if callable(token) else token for token in tokens]


@pytest.mark.parametrize("limit", [1, 3, FEW_PICTURES - 1])
def test_a_drop_on_few_pictures_is_not_judged_and_not_met(fake_target: None, capfd: Capture, limit: int) -> None:
    flags = with_weights("--data", many(), *PAIRED, "--limit", limit)
    document, said = evaluate(capfd, bundle(), *flags, expected=1)
    assert document["rows"][1]["drop"]["interval"][1] <= 0.01, "the interval alone would pass"
    assert f"--max-drop is not judged, and so not met: {limit} pictures are few" in said
    assert "is within" not in said
    assert document["ok"] is False


def test_enough_pictures_are_judged(fake_target: None, capfd: Capture) -> None:
    document, said = evaluate(capfd, bundle(), *with_weights("--data", many(), *PAIRED, "--limit", FEW_PICTURES))
    assert "is within --max-drop 0.01" in said
    assert document["ok"] is True


@pytest.mark.parametrize("drop", ["0.01", "0.3"])
def test_a_network_that_finds_nothing_has_nothing_to_lose(fake_target: None, capfd: Capture, tmp_path: Path, drop: str) -> None:
    (tmp_path / "images").symlink_to(many() / "images")
    document = json.loads((many() / "annotations.json").read_text())
    for box in document["annotations"]:
        box["bbox"] = [0, 0, 1, 1]
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    flags = ("--data", tmp_path, "--weights", detector_weights(), "--max-drop", drop)
    found, said = evaluate(capfd, bundle(), *flags, expected=1)
    assert found["rows"][1]["drop"]["interval"][1] <= float(drop), "the interval alone would pass"
    assert "--max-drop is not judged, and so not met: the network's own AP is 0.0" in said


def test_few_pictures_are_said_without_a_demand_too(fake_target: None, capfd: Capture) -> None:
    assert "6 pictures are few: intervals" in evaluate(capfd, bundle(), "--data", pictures())[1]


def segmenter_bundle() -> Path:
    def make(folder: Path) -> None:
        from tests.helpers.fakes import register_fake

        segmenter()
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            flags = ["--task", "segment", "--model", "edgevit_xxs", "--num-classes", "4", "--image-size", "64"]
            assert run(["fake", *flags, "--output", str(folder)]) == 0
        write_shapes(folder / "data", 2)

    segmenter()
    return made_once("fake-segmenter", make) / "fake-fp32"


WRONG = {
    ("--batch", "-3"): "--batch -3: expected 1 to 1024",
    ("--batch", "0"): "--batch 0: expected 1 to 1024",
    ("--batch", "99999999"): "--batch 99999999: expected 1 to 1024",
    ("--threads", "-1"): "--threads -1: this process may use",
    ("--threads", "0"): "--threads 0: this process may use",
    ("--threads", "100000"): "--threads 100000: this process may use",
    ("--workers", "-1"): "--workers -1: ",
    ("--workers", "65"): "--workers 65: ",
    ("--limit", "0"): "--limit 0: expected 1 picture or more",
    ("--seed", "-1"): "--seed -1: a seed is 0 or larger",
    ("--reference", "fp64"): "--reference fp64 is of the network, which is not run",
    ("--preprocess", "checkpoint"): "--preprocess checkpoint is for bundles that classify pictures",
}


@pytest.mark.parametrize("flags", WRONG)
def test_flags_that_cannot_be_are_one_line_for_both(flags: tuple[str, str], fake_target: None, expect_error: ErrorCheck) -> None:
    assert WRONG[flags] in expect_error(2, "evaluate", bundle(), "--data", pictures(), *flags)
    own = segmenter_bundle()
    said = expect_error(2, "evaluate", own, "--data", own.parent / "data", *flags)
    assert (f"{flags[0]} is for bundles that classify" if flags[0] == "--workers" else WRONG[flags]) in said


@pytest.mark.parametrize("name", ["batch", "threads", "workers"])
def test_the_library_refuses_them_too(name: str, fake_target: None) -> None:
    with pytest.raises(UsageError, match=f"--{name} -1: "):
        edgevit_deploy.evaluate_detection(bundle(), data=pictures(), **{name: -1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "flags", [("--max-drop", "0"), ("--min-agreement", "0"), ("--max-drop", "0.0"), ("--min-agreement", "1")]
)
def test_a_demand_is_refused_of_segmenters_whatever_its_value(
    flags: tuple[str, str], fake_target: None, expect_error: ErrorCheck
) -> None:
    own = segmenter_bundle()
    said = expect_error(2, "evaluate", own, "--data", own.parent / "data", *flags)
    assert f"{flags[0]} is for bundles that classify pictures" in said


def test_their_own_preprocessing_may_be_said(fake_target: None, capfd: Capture) -> None:
    evaluate(capfd, bundle(), "--data", pictures(), "--preprocess", "bundle", "--batch", "2", "--threads", "1")
    own = segmenter_bundle()
    evaluate(capfd, own, "--data", own.parent / "data", "--preprocess", "bundle")


def test_a_broken_file_of_several_pictures_is_named_for_each(fake_target: None, capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for picture in (pictures() / "images").iterdir():
        (tmp_path / "images" / picture.name).write_bytes(picture.read_bytes())
    whole = (tmp_path / "images" / "4.png").read_bytes()
    (tmp_path / "images" / "4.png").write_bytes(whole[: len(whole) // 2])
    assert Image.open(tmp_path / "images" / "4.png").size == (80, 33), "only its pixels are missing"
    (tmp_path / "annotations.json").write_bytes((many() / "annotations.json").read_bytes())
    document: dict[str, Any] = evaluate(capfd, bundle(), "--data", tmp_path)[0]
    assert [item["file"] for item in document["broken"]] == ["4.png"] * 6
    assert document["data"]["used"] == 30
    assert document["rows"][0]["figures"]["ap"] == pytest.approx(1, abs=1e-3), "none of them counts as not found"
