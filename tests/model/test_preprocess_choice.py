"""What a user says of the preprocessing: which values can be, what becomes of the record, and that every command uses it."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from edgevit_deploy import PreprocessChoice
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import IMAGENET_224, MAX_RESIZED, Preprocess, imagenet_preprocess
from tests.helpers.bundles import edit_manifest
from tests.helpers.checkpoints import saved, seeded_state
from tests.helpers.fakes import FAKE_COMMAND

ErrorCheck = Callable[..., str]
GREY = (0.5, 0.5, 0.5)
SAID = {"--mean": "0.1,0.2,0.3", "--std": "0.4,0.5,0.6", "--crop-ratio": "0.5", "--interpolation": "bilinear"}
FLAGS = [word for pair in SAID.items() for word in pair]
AS_SAID = Preprocess(resize=(64, 64), crop=(32, 32), interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def test_nothing_said_changes_nothing() -> None:
    for preprocess in (IMAGENET_224, AS_SAID, Preprocess(resize=(64, 96), crop=(64, 96), fit="stretch")):
        assert PreprocessChoice().applied_to(preprocess) == preprocess


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (192, 320), (4096, 4096)])
@pytest.mark.parametrize("ratio", [1, 1.0, 0.95, 0.9, 0.875, 0.8, 0.5])
def test_the_crop_stays_and_is_that_share_of_the_resize(size: tuple[int, int], ratio: float) -> None:
    preprocess = PreprocessChoice(crop_ratio=ratio).applied_to(imagenet_preprocess(size))
    assert preprocess.crop == size
    exact = [side / Fraction(str(ratio)) for side in size]
    assert preprocess.resize == tuple(map(math.floor, exact))


def test_each_choice_changes_its_own_field_alone() -> None:
    assert PreprocessChoice(mean=GREY).applied_to(AS_SAID).mean == GREY
    assert PreprocessChoice(std=GREY).applied_to(AS_SAID).std == GREY
    assert PreprocessChoice(interpolation="bicubic").applied_to(AS_SAID).interpolation == "bicubic"
    stretched = PreprocessChoice(resize_mode="stretch").applied_to(AS_SAID)
    assert stretched == Preprocess(
        resize=(64, 64), crop=(32, 32), fit="stretch", interpolation="bilinear", mean=AS_SAID.mean, std=AS_SAID.std
    )


@pytest.mark.parametrize(("first", "second"), [((64, 64), (224, 224)), ((32, 32), (4096, 32)), ((96, 96), (160, 192))])
@pytest.mark.parametrize("ratio", [None, 1.0, 0.95, 0.9, 0.5])
def test_another_image_size_keeps_the_crop_ratio(first: tuple[int, int], second: tuple[int, int], ratio: float | None) -> None:
    spec = find_variant("edgevit_xxs").with_image_size(first).with_preprocess(PreprocessChoice(crop_ratio=ratio))
    there = spec.with_image_size(second)
    share = Fraction(7, 8) if ratio is None else Fraction(str(ratio))
    assert there.preprocess.resize == tuple(math.floor(side / share) for side in second)
    assert there.with_image_size(first) == spec


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--mean", "0.5"), "--mean 0.5: expected three numbers, R,G,B"),
        (("--mean", "0.5,0.5,0.5,0.5"), "expected three numbers"),
        (("--mean", "0.5,,0.5"), "expected three numbers"),
        (("--mean", "a,b,c"), "expected three numbers"),
        (("--mean", "nan,0,0"), "--mean nan,0,0: expected three finite numbers"),
        (("--std", "58.395,57.12,57.375"), "--std 58.395,57.12,57.375: expected values in units of 0 to 1; divide"),
        (("--mean", "123.675,116.28,103.53"), "--mean 123.675,116.28,103.53: expected values in units of 0 to 1; divide"),
        (("--std", "0.5,inf,0.5"), "--std 0.5,inf,0.5: expected three finite numbers"),
        (("--std", "0.5,0,0.5"), "--std 0.5,0,0.5: expected numbers above 0"),
        (("--std", "0.5,0.5,-0.1"), "expected numbers above 0"),
        (("--crop-ratio", "0"), "--crop-ratio 0: expected a number above 0 and at most 1; 1 is for no crop"),
        (("--crop-ratio", "1.01"), "--crop-ratio 1.01: expected a number above 0"),
        (("--crop-ratio", "nan"), "--crop-ratio nan: expected a number above 0"),
        (("--crop-ratio", "87.5"), "--crop-ratio 87.5: expected a number above 0"),
        (
            ("--crop-ratio", "0.001"),
            "pictures would be resized to 32000 x 32000 pixels, expected at most 8192 a side; use a larger",
        ),
        (("--interpolation", "lanczos"), "bicubic"),
        (("--resize-mode", "squash"), "stretch"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_flag(
    fake_target: None, expect_error: ErrorCheck, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    message = expect_error(2, *FAKE_COMMAND, *flags, "--output", tmp_path / "out")
    assert said in message
    assert flags[0] in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (0.5, 0.5)},
        {"std": (1.0, 1.0, math.nan)},
        {"std": (0.0, 1.0, 1.0)},
        {"std": (0.2, 1.01, 0.2)},
        {"mean": (0.2, 0.2, 1.01)},
        {"crop_ratio": -1.0},
        {"interpolation": "nearest"},
        {"resize_mode": "fill"},
    ],
)
def test_the_library_refuses_the_same(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong)).replace('_', '-')} "):
        PreprocessChoice(**wrong)  # type: ignore[arg-type]


def test_the_smallest_crop_ratio_gives_a_manifest_that_is_read(fake_target: None, tmp_path: Path) -> None:
    tokens = [*FAKE_COMMAND, "--crop-ratio", str(32 / MAX_RESIZED), "--output", str(tmp_path)]
    assert run(tokens) == 0
    assert read_manifest(tmp_path / "fake-fp32").preprocess.resize == (MAX_RESIZED, MAX_RESIZED)


@pytest.mark.parametrize("command", [FAKE_COMMAND, ("all", *FAKE_COMMAND[1:])], ids=["one", "all"])
def test_the_flags_are_in_the_manifest(only_fake: None, tmp_path: Path, command: tuple[str, ...]) -> None:
    assert run([*command, *FLAGS, "--output", str(tmp_path)]) == 0
    assert read_manifest(tmp_path / "fake-fp32").preprocess == AS_SAID


def test_a_bundle_made_with_flags_verifies_with_its_weights_alone(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its input is pixels, so mean and std are inside the file: with other ones the same pixels give other numbers."""
    weights = saved(seeded_state(), tmp_path / "weights.pth")
    tokens = ["fake", "--weights", str(weights), "--image-size", "32", "--input", "image", "--output", str(tmp_path)]
    assert run([*tokens, *FLAGS]) == 0
    bundle = tmp_path / "fake-fp32"
    statuses = []
    for mean in (AS_SAID.mean, GREY):
        edit_manifest(bundle, lambda document, mean=mean: document["preprocess"].update(mean=mean))
        capfd.readouterr()
        code = run(["verify", str(bundle), "--weights", str(weights), "--json"])
        statuses.append((code, json.loads(capfd.readouterr().out)[0]["parity"]["status"]))
    assert statuses == [(0, "passed"), (1, "failed")]
