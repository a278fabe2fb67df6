"""What timm's trainer and models leave of their preprocessing, read as timm itself reads it."""

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from edgevit_deploy import PreprocessChoice, api
from edgevit_deploy.model.checkpoint import Checkpoint
from edgevit_deploy.model.extras.traces import read_traces
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import imagenet_preprocess
from tests.helpers.checkpoints import ASSUMED, assumed_at, foreign_code, read, saved, seeded_state

LEFT_TO_THE_MODEL: dict[str, Any] = {
    "input_size": None, "img_size": None, "mean": None, "std": None, "crop_pct": None, "crop_mode": None, "interpolation": "",
}  # fmt: skip
GREY = (0.5, 0.5, 0.5)
GIVEN: tuple[dict[str, Any], ...] = (
    {},
    {"img_size": 96},
    {"input_size": [3, 64, 96]},
    {"input_size": [3, 128, 128], "img_size": 96},
    {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    {"mean": [0.1], "std": [0.4]},
    {"crop_pct": 0.95},
    {"crop_pct": 1.0, "interpolation": "bilinear"},
    {"crop_mode": "squash"},
    {"crop_mode": "center", "crop_pct": 0.9, "img_size": 160},
)
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"input_size": (3, 192, 192), "mean": GREY, "std": GREY, "crop_pct": 0.9, "interpolation": "bilinear", "crop_mode": "squash"},
    {"input_size": (3, 256, 256), "crop_pct": 1.0},
)


def timm_file(folder: Path, arguments: dict[str, Any], **beside: object) -> Checkpoint:
    """timm/utils/checkpoint_saver.py, CheckpointSaver._save."""
    content = {"epoch": 1, "arch": "edgevit_xxs", "state_dict": seeded_state(), "version": 2, **beside}
    return read({**content, "args": argparse.Namespace(**{**LEFT_TO_THE_MODEL, **arguments})}, folder)


@pytest.mark.parametrize(("arguments", "configuration"), list(itertools.product(GIVEN, CONFIGURATIONS)))
def test_it_is_read_as_timm_reads_it(arguments: dict[str, Any], configuration: dict[str, Any]) -> None:
    make_torchvision_importable()
    data = pytest.importorskip("timm.data")
    found = read_traces({"args": {**LEFT_TO_THE_MODEL, **arguments}, "pretrained_cfg": configuration}).preprocess
    theirs = data.resolve_data_config({**LEFT_TO_THE_MODEL, **arguments}, pretrained_cfg=configuration or {"none": 1})
    height, width = theirs["input_size"][1:]
    ratio = theirs["crop_pct"]
    assert found.crop == (height, width)
    assert found.resize == (math.floor(height / ratio), math.floor(width / ratio))  # timm/data/transforms_factory.py
    assert (found.mean, found.std) == (theirs["mean"], theirs["std"])
    assert found.interpolation == theirs["interpolation"]
    assert found.fit == {"center": "cover", "squash": "stretch"}[theirs["crop_mode"]]


def test_a_trainers_file_says_what_was_given_and_the_rest_is_assumed(tmp_path: Path) -> None:
    checkpoint = timm_file(tmp_path, {"mean": list(GREY), "std": [0.25], "crop_pct": 1.0, "interpolation": "bilinear"})
    preprocess = checkpoint.spec.preprocess
    assert (preprocess.mean, preprocess.std, preprocess.interpolation) == (GREY, (0.25, 0.25, 0.25), "bilinear")
    assert preprocess.resize == preprocess.crop == (224, 224)
    assert checkpoint.notes[-2:] == (
        "crop ratio 1 taken from `args.crop_pct`; interpolation bilinear taken from `args.interpolation`; "
        "mean 0.5,0.5,0.5 taken from `args.mean`; std 0.25,0.25,0.25 taken from `args.std`",
        "not in the file, so assumed: image size 224x224, resize mode cover; to say otherwise: --image-size, --resize-mode",
    )


def test_arguments_left_to_the_model_tell_nothing(tmp_path: Path) -> None:
    assert timm_file(tmp_path, {}).notes[-1] == ASSUMED


def test_deits_crop_ratio_is_read(tmp_path: Path) -> None:
    arguments = argparse.Namespace(input_size=64, eval_crop_ratio=1.0)
    preprocess = read({"model": seeded_state(), "args": arguments}, tmp_path).spec.preprocess
    assert preprocess.resize == preprocess.crop == (64, 64)


@pytest.mark.parametrize("name", ["pretrained_cfg", "default_cfg"])
def test_a_models_configuration_beside_its_weights_is_read(name: str, tmp_path: Path) -> None:
    configuration = {"input_size": (3, 96, 96), "mean": GREY, "std": GREY, "crop_pct": 0.9, "interpolation": "bilinear"}
    with foreign_code() as define:
        kind = define("timm_models_pretrained.PretrainedCfg")
        as_object = kind()
        as_object.__dict__.update(configuration)
        paths = [saved({"state_dict": seeded_state(), name: each}, tmp_path / f"{index}.pth")
                 for index, each in enumerate((configuration, as_object))]  # fmt: skip
    for path in paths:
        loaded = api.load_model(weights=path)
        assert loaded.spec.image_size == (96, 96)
        assert loaded.spec.preprocess.resize == (106, 106)
        assert loaded.spec.preprocess.mean == GREY
        assert any(f"crop ratio 0.9 taken from `{name}.crop_pct`" in note for note in loaded.notes)


def test_a_whole_models_configuration_is_read(tmp_path: Path) -> None:
    make_torchvision_importable()
    timm = pytest.importorskip("timm")
    from edgevit_deploy.model.timm_models import register

    register()  # an import before torchvision could be imported has not
    network = timm.create_model("edgevit_xxs", num_classes=10, img_size=96)
    network.load_state_dict(seeded_state())
    network.pretrained_cfg["mean"] = GREY
    checkpoint = read(network, tmp_path)
    assert checkpoint.spec.image_size == (96, 96)
    assert checkpoint.spec.preprocess.mean == GREY


@pytest.mark.parametrize(
    "wrong", [[0.5, 0.5], [], "0.5", 0.5, [math.nan] * 3, [True] * 3, [10**400] * 3, torch.zeros(3), [123.7] * 3]
)
def test_a_mean_that_makes_no_sense_is_not_used(wrong: object, tmp_path: Path) -> None:
    checkpoint = timm_file(tmp_path, {"mean": wrong})
    assert checkpoint.spec.preprocess == imagenet_preprocess((224, 224))
    assert any(note.startswith("`args.mean` not used") for note in checkpoint.notes)
    assert checkpoint.notes[-1] == ASSUMED


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": [0.5, 0.0, 0.5]},
        {"std": [-0.5]},
        {"crop_pct": 1.15},
        {"crop_pct": 0.001},
        {"std": [58.395, 57.12, 57.375]},
        {"crop_pct": "0.9"},
        {"interpolation": "lanczos"},
        {"interpolation": "random"},
        {"crop_mode": "border"},
        {"input_size": [3, 100, 100]},
        {"img_size": 10**5000},
    ],
)
def test_other_values_that_make_no_sense_are_not_used_and_said(wrong: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = timm_file(tmp_path, wrong)
    (name,) = wrong
    assert checkpoint.spec.preprocess == imagenet_preprocess((224, 224))
    said = next(note for note in checkpoint.notes if note.startswith(f"`args.{name}` not used: "))
    assert len(said) < 120
    assert checkpoint.notes[-1] == ASSUMED


def test_notes_name_the_size_in_use_and_only_what_nobody_told(tmp_path: Path) -> None:
    path = saved(seeded_state(), tmp_path / "weights.pth")
    assert api.load_model("edgevit_xxs", weights=path, image_size=64).notes == (assumed_at(64),)
    said = PreprocessChoice(mean=GREY, std=GREY, crop_ratio=1, interpolation="bilinear", resize_mode="cover")
    assert api.load_model("edgevit_xxs", weights=path, image_size=64, preprocess=said).notes == ()
    (note,) = api.load_model("edgevit_xxs", weights=path, image_size=64, preprocess=PreprocessChoice(crop_ratio=1)).notes
    assert "crop" not in note


@pytest.mark.parametrize(("ratio", "side"), list(itertools.product((0.95, 0.9, 0.875, 1.0), (64, 96, 320))))
def test_another_image_size_keeps_the_crop_ratio_that_the_file_tells(ratio: float, side: int, tmp_path: Path) -> None:
    path = saved({"state_dict": seeded_state(), "args": {"img_size": 64, "crop_pct": ratio}}, tmp_path / "weights.pth")
    assert api.load_model(weights=path, image_size=side).spec.preprocess.resize == (math.floor(side / ratio),) * 2
