"""Our own checkpoints: their metadata make flags needless, and what contradicts the tensors is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import save_file

from edgevit_deploy import PreprocessChoice, api
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.spec import Preprocess
from tests.helpers.checkpoints import refusal, seeded_state
from tests.helpers.trained import LABELS, WEIGHTS

NAMES = tuple(f"class {letter}" for letter in "jihgfedcba")
UNUSUAL = Preprocess(
    resize=(96, 128), crop=(96, 128), fit="stretch", interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)
)
PLAIN = msgspec.to_builtins(UNUSUAL)


def metadata(**changes: object) -> dict[str, Any]:
    """What training writes beside the weights."""
    return {
        "version": 1,
        "variant": "edgevit_xxs",
        "image_size": [96, 128],
        "labels": list(NAMES),
        "preprocess": PLAIN,
        "recipe": {"epochs": 3},
        "data": None,
        "accuracy": {"top1": 0.9},
        **changes,
    }


def write(folder: Path, document: object) -> Path:
    path = folder / "weights.safetensors"
    text = document if isinstance(document, str) else json.dumps(document)
    save_file(seeded_state(), path, metadata={"format": "pt", "edgevit_deploy": text})
    return path


def test_everything_is_taken_from_the_file(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write(tmp_path, metadata()))
    assert checkpoint.labels == NAMES
    assert checkpoint.spec.preprocess == UNUSUAL
    assert checkpoint.spec.image_size == (96, 128)
    assert not [note for note in checkpoint.notes if "assumed" in note]
    assert checkpoint.notes == (
        "image size 96x128, crop ratio 1, resize mode stretch, interpolation bilinear, mean 0.1,0.2,0.3, std 0.5,0.6,0.7 "
        "taken from `edgevit_deploy`",
    )


def test_a_trained_network_needs_no_flag(fake_target: None, tmp_path: Path) -> None:
    assert run(["fake", "--weights", str(WEIGHTS), "--output", str(tmp_path)]) == 0
    manifest = read_manifest(tmp_path / "fake-fp32")
    assert manifest.model.image_size == (64, 64)
    assert manifest.preprocess.resize == (73, 73)
    assert (tmp_path / "fake-fp32" / "labels.txt").read_text().splitlines() == list(LABELS)


def test_another_size_keeps_the_crop_ratio_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, metadata())
    assert api.load_model(weights=path, image_size=224).spec.preprocess.resize == (224, 224)
    loaded = api.load_model(weights=WEIGHTS, image_size=224)
    assert loaded.spec.preprocess.resize == (256, 256)
    assert "used as said, though the file tells otherwise: --image-size 224x224, not 64x64 (`edgevit_deploy`)" in loaded.notes


def test_a_flag_wins_over_the_file_and_a_note_says_so(tmp_path: Path) -> None:
    choice = PreprocessChoice(mean=(0.5, 0.5, 0.5), crop_ratio=0.5, interpolation="bilinear")
    loaded = api.load_model(weights=write(tmp_path, metadata()), preprocess=choice)
    assert loaded.spec.preprocess.resize == (192, 256)
    assert loaded.spec.preprocess.mean == (0.5, 0.5, 0.5)
    assert loaded.spec.preprocess.std == UNUSUAL.std
    assert loaded.notes == (
        "image size 96x128, resize mode stretch, std 0.5,0.6,0.7 taken from `edgevit_deploy`",
        "used as said, though the file tells otherwise: --crop-ratio 0.5, not 1 (`edgevit_deploy`); "
        "--mean 0.5,0.5,0.5, not 0.1,0.2,0.3 (`edgevit_deploy`)",
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "its `edgevit_deploy` entry is not what this program writes: Input data was truncated"),
        ("[" * 9999, "its `edgevit_deploy` entry is not what this program writes"),
        ([], "not what this program writes: Expected `object`, got `array`"),
        (metadata(version=2), "is of version 2, and this program reads 1; upgrade it"),
        (metadata(variant="edgevit_s"), "says edgevit_s but its tensors are those of edgevit_xxs"),
        (metadata(labels=["a", "b"]), "names 2 classes but its head has 10"),
        (metadata(labels=["a\nb", *NAMES[1:]]), "is not one line of text"),
        (metadata(trained_for={"target": "a\nb", "precision": "int8"}), "its target 'a\\nb' is not one line of text"),
        (metadata(trained_for={"target": "onnx", "precision": "int4"}), "Invalid enum value 'int4'"),
        (metadata(labels=None), "not what this program writes: Expected `array`, got `null`"),
        (metadata(image_size=[96, 96]), "says image size (96, 96) but crops to (96, 128)"),
        (metadata(image_size=[100, 128]), "image height 100 is not a positive multiple of 32"),
        (metadata(image_size=[96, 128, 3]), "Expected `array` of length 2"),
        (metadata(preprocess={"resize": [96, 128]}), "missing required field `crop`"),
        (
            metadata(preprocess=msgspec.to_builtins(Preprocess(resize=(90, 128), crop=(96, 128)))),
            "is larger than preprocess.resize",
        ),
        (
            metadata(preprocess=msgspec.to_builtins(Preprocess(resize=(9999, 128), crop=(96, 128)))),
            "expected sides from 1 to 8192",
        ),
        (
            metadata(preprocess=msgspec.to_builtins(Preprocess(resize=(96, 128), crop=(96, 128), std=(0.0, 1.0, 1.0)))),
            "cannot normalise a picture",
        ),
        (metadata(preprocess={**msgspec.to_builtins(UNUSUAL), "interpolation": "lanczos"}), "Invalid enum value 'lanczos'"),
    ],
)
def test_what_contradicts_is_refused(tmp_path: Path, document: object, said: str) -> None:
    assert said in refusal(write(tmp_path, document))


def test_a_resize_beyond_a_manifest_is_refused(tmp_path: Path, expect_error: Callable[..., str], fake_target: None) -> None:
    tiny = Preprocess(resize=(8192, 8192), crop=(64, 64))
    path = write(tmp_path, metadata(image_size=[64, 64], preprocess=msgspec.to_builtins(tiny)))
    message = expect_error(2, "fake", "--weights", path, "--image-size", "128", "--output", tmp_path / "out")
    assert "pictures would be resized to 16384 x 16384 pixels, expected at most 8192 a side" in message
