"""Letterboxed and padded pictures are not cropped: what that makes of flags, of files that tell otherwise, and of other sizes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy import PreprocessChoice, api
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.bundle.readme import bundle_readme
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.preprocessing import Told, completed, objections
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import IMAGENET_224, PADDED, Preprocess, imagenet_preprocess
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.pictures import gradient, save
from tests.helpers.trained import WEIGHTS

ErrorCheck = Callable[..., str]


@pytest.mark.parametrize("fit", PADDED)
@pytest.mark.parametrize("ratio", [None, 1.0])
def test_the_box_is_the_image(fit: Any, ratio: float | None) -> None:
    choice = PreprocessChoice(resize_mode=fit, crop_ratio=ratio)
    assert choice.applied_to(IMAGENET_224) == Preprocess(resize=(224, 224), crop=(224, 224), fit=fit)
    spec = find_variant("edgevit_xxs").with_preprocess(choice).with_image_size((256, 704))
    assert spec.preprocess == Preprocess(resize=(256, 704), crop=(256, 704), fit=fit)
    assert spec.crop_ratio == 1
    assert spec.with_preprocess(PreprocessChoice()) == spec


@pytest.mark.parametrize("fit", PADDED)
def test_a_padding_that_crops_is_refused(fit: Any, fake_target: None, expect_error: ErrorCheck, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--crop-ratio 0.9: --resize-mode {fit} shows all of a picture; drop --crop-ratio"):
        PreprocessChoice(resize_mode=fit, crop_ratio=0.9)
    with pytest.raises(UsageError, match=f"--resize-mode {fit} shows all of a picture"):
        PreprocessChoice(crop_ratio=0.9).applied_to(Preprocess(resize=(64, 64), crop=(64, 64), fit=fit))
    flags = ("--resize-mode", fit, "--crop-ratio", "0.9", "--output", tmp_path / "out")
    assert "--crop-ratio 0.9" in expect_error(2, *FAKE_COMMAND, *flags)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fit", PADDED)
def test_a_file_that_tells_a_crop_is_overruled_and_a_note_says_so(fit: Any) -> None:
    loaded = api.load_model(weights=WEIGHTS, preprocess=PreprocessChoice(resize_mode=fit, crop_ratio=1))
    assert loaded.spec.preprocess.resize == loaded.spec.preprocess.crop == (64, 64)
    (overruled,) = (note for note in loaded.notes if "the file tells otherwise" in note)
    assert overruled.count("--crop-ratio 1, not 0.875 (`edgevit_deploy`)") == 1
    assert f"--resize-mode {fit}, not cover" in overruled
    assert not any("crop ratio 0.87" in note for note in loaded.notes)


def test_no_crop_is_assumed_where_pictures_are_padded() -> None:
    loaded = api.load_model("edgevit_xxs", preprocess=PreprocessChoice(resize_mode="letterbox"))
    assert loaded.spec.preprocess == Preprocess(resize=(224, 224), crop=(224, 224), fit="letterbox")
    assert not any("crop ratio" in note for note in loaded.notes)


@pytest.mark.parametrize("fit", PADDED)
def test_what_a_file_does_not_tell_is_taken_from_another_without_its_crop(fit: Any) -> None:
    padded = Preprocess(resize=(64, 64), crop=(64, 64), fit=fit)
    published = imagenet_preprocess((64, 64))
    told_mode, told_crop = Told(fields={"resize_mode": "x"}), Told(fields={"crop_ratio": "x"})
    assert completed(told_mode, padded, published) == padded
    assert completed(told_crop, published, padded) == padded
    assert completed(told_mode, published, padded) == replace(published, resize=(64, 64))
    for made in (completed(told, own, other) for told in (told_mode, told_crop) for own in (padded, published)
                 for other in (padded, published)):  # fmt: skip
        assert not list(objections(made))


def test_a_bundle_of_padded_pictures_is_made_verified_and_described(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save(pictures / "wide.png", gradient(20, 90))
    options = ["--resize-mode", "letterbox", "--image-size", "32x64"]
    assert run(["fake", "--model", "edgevit_xxs", "--num-classes", "10", *options, "--output", str(tmp_path)]) == 0
    bundle = tmp_path / "fake-fp32"
    manifest = read_manifest(bundle)
    assert manifest.preprocess == Preprocess(resize=(32, 64), crop=(32, 64), fit="letterbox")
    padded = replace(manifest, preprocess=replace(manifest.preprocess, fit="pad"))
    texts = {"the middle (an odd pixel right and below)": (bundle / "README.md").read_text()}
    texts["the top left"] = bundle_readme(padded, "")
    for place, text in texts.items():
        said = " ".join(text.split())
        assert "to the largest size that fits into 32 x 64, keeping the shape" in said
        assert f"then put it into {place} of 32 x 64 pixels of the colour (124, 116, 104)." in said
    assert run(["verify", str(bundle), "--images", str(pictures)]) == 0
    assert run(["report", str(bundle), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "letterbox 32x64" in page.replace(" x ", "x")
    assert "centre crop" not in page
    capfd.readouterr()
    assert run(["inspect", str(bundle), "--json"]) == 0
    assert "so that they just fit into it" in json.loads(capfd.readouterr().out)["pictures"]
