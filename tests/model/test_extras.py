"""What stands beside the weights: the published trainer's image size, EasyCV's class names, and their bounds."""

import argparse
from pathlib import Path

import pytest
import torch

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dialects import BIRDER, EASYCV, SAIC
from edgevit_deploy.model.extras import read_extras
from edgevit_deploy.spec import imagenet_preprocess
from tests.helpers.checkpoints import ASSUMED, assumed_at, read, seeded_state

NAMES = [f"class {letter}" for letter in "abcdefghij"]


@pytest.mark.parametrize("side", [32, 224, 256, 4096])
def test_the_trainers_arguments_tell_the_image_size(side: int, tmp_path: Path) -> None:
    for arguments in (argparse.Namespace(input_size=side, lr=1e-3), {"input_size": side}):
        checkpoint = read({"model": seeded_state(), "args": arguments}, tmp_path)
        assert checkpoint.spec.image_size == (side, side)
        assert checkpoint.spec.preprocess == imagenet_preprocess((side, side))
        assert checkpoint.notes[-2:] == (f"image size {side}x{side} taken from `args.input_size`", assumed_at(side))


@pytest.mark.parametrize(
    "size", [None, 0, -224, 225, 4128, 10**30, 224.0, "224", True, (3, 224, 225), [224], torch.tensor(224), Path("/")]
)
def test_an_odd_image_size_is_not_used(size: object, tmp_path: Path) -> None:
    checkpoint = read({"model": seeded_state(), "args": argparse.Namespace(input_size=size)}, tmp_path)
    assert checkpoint.spec.image_size == (224, 224)
    assert checkpoint.notes[-1] == ASSUMED


@pytest.mark.parametrize("arguments", [None, [], ["input_size"], "input_size=256", argparse.Namespace(), 7])
def test_odd_arguments_are_not_used(arguments: object, tmp_path: Path) -> None:
    checkpoint = read({"model": seeded_state(), "args": arguments}, tmp_path)
    assert checkpoint.spec.image_size == (224, 224)
    assert checkpoint.notes[-1] == ASSUMED


@pytest.mark.parametrize("kind", [list, tuple])
def test_easycvs_class_names_become_labels(kind: type, tmp_path: Path) -> None:
    state = {str(EASYCV.to_file(key)): tensor for key, tensor in seeded_state().items()}
    checkpoint = read({"meta": {"epoch": 1, "CLASSES": kind(NAMES)}, "state_dict": state}, tmp_path)
    assert checkpoint.labels == tuple(NAMES)
    assert "class names taken from `meta.CLASSES`" in checkpoint.notes


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (NAMES[:9], "class names in `meta.CLASSES` not used: they are 9 and the head has 10 classes"),
        ([], "class names in `meta.CLASSES` not used: they are 0 and the head has 10 classes"),
        ([*NAMES[:9], 7], "class names in `meta.CLASSES` not used: they are no list of lines of text"),
        ([*NAMES[:9], "two\nlines"], "class names in `meta.CLASSES` not used: they are no list of lines of text"),
        ([*NAMES[:9], ""], "class names in `meta.CLASSES` not used: they are no list of lines of text"),
        ("abcdefghij", "class names in `meta.CLASSES` not used: they are no list of lines of text"),
        (argparse.Namespace(), "class names in `meta.CLASSES` not used: they are no list of lines of text"),
        (None, ASSUMED),
    ],
)
def test_other_class_names_are_not_used_and_the_reason_is_said(classes: object, said: str, tmp_path: Path) -> None:
    checkpoint = read({"meta": {"CLASSES": classes}, "state_dict": seeded_state()}, tmp_path)
    assert checkpoint.labels is None
    assert said in checkpoint.notes


def signature(height: int, width: int) -> dict[str, object]:
    return {"signature": {"inputs": [{"data_shape": [0, 3, height, width]}], "outputs": [{"data_shape": [0, 10]}]}}


def test_the_sides_of_a_picture_are_bounded() -> None:
    assert read_extras(signature(4096, 32), BIRDER, "edgevit_xxs", 10).preprocess.crop == (4096, 32)
    for sides in ((4128, 32), (32, 32000)):
        with pytest.raises(UsageError, match="is too large; the largest that works: 4096"):
            read_extras(signature(*sides), BIRDER, "edgevit_xxs", 10)


def test_birders_entries_are_birders_alone() -> None:
    assert read_extras(signature(96, 96), SAIC, "edgevit_xxs", 10).preprocess.crop == (224, 224)
