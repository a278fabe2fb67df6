"""`train --task segment`: shapes that colour does not tell apart are learnt in seconds, and the checkpoint says all of it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from edgevit_deploy.cli import run
from edgevit_deploy.data.masks import open_mask_folder
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.spec import IMAGENET_224
from edgevit_deploy.train.masks import MaskAugmenter
from edgevit_deploy.train.order import Turn
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import changed
from tests.helpers.dense import segmenter
from tests.helpers.shapes import CLASSES, save_mask, write_shapes
from tests.helpers.small import tiny_weights

ErrorCheck = Callable[..., str]
QUICK: dict[str, object] = {
    "task": "segment",
    "image-size": 64,
    "epochs": 3,
    "batch-size": 16,
    "learning-rate": 0.15,
    "crop-area": 0.6,
    "drop-path": 0,
    "ema-decay": 0.9,
    "evaluate-every": 2,
}


def tokens(data: Path, output: Path, **changes: object) -> list[str]:
    flags = QUICK | {"data": data, "output": output} | {name.replace("_", "-"): value for name, value in changes.items()}
    said = [[f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in flags.items() if value is not None]
    return ["train", *(token for flag in said for token in flag)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root / "train", 96, seed=1)
    write_shapes(root / "val", 16, seed=2)
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One block a stage and a narrow head, freshly initialised: half the time of the smallest published network."""
    from edgevit_deploy.model import dense

    spec = replace(segmenter(num_classes=4).spec, depths=(1, 1, 1, 1))
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("narrow") / "narrow.safetensors"
    save_file(dense.build(spec).state_dict(), file)
    return file


def test_shapes_are_learnt(data: Path, narrow: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*tokens(data, tmp_path / "run", finetune=narrow), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    masks = np.concatenate([np.asarray(Image.open(path)).ravel() for path in sorted((data / "val/masks").iterdir())])
    ground = (masks == 0).sum() / (masks != 255).sum()
    assert document["miou"] > 0.4, document
    assert document["pixel_accuracy"] > ground + 0.1, "to call all of it ground is no skill"
    assert ground / 4 < 0.2, "which is the mIoU of that"
    assert [line["epoch"] for line in document["metrics"] if "ema_miou" in line] == [2, 3]
    plot = (tmp_path / "run/training.svg").read_text()
    assert "mIoU on the validation pictures" in plot
    assert len(re.findall(r'<polyline class="(?:score|averaged)"', plot)) == 2
    loaded = load_model(ModelOrigin(weights=tmp_path / "run/best.safetensors", task="segment"))
    assert (loaded.labels, loaded.spec.image_size, loaded.spec.preprocess.fit) == (CLASSES, (64, 64), "letterbox")
    assert "a training has been there" in run_refused(tokens(data, tmp_path / "run", finetune=narrow), capfd)


def run_refused(command: list[str], capfd: Any) -> str:
    capfd.readouterr()
    assert run(command) == 2
    return capfd.readouterr().err


@pytest.mark.slow
def test_masks_that_are_off_teach_something_else(data: Path, narrow: Path, tmp_path: Path, capfd: Any) -> None:
    """Negative control: a training on masks whose classes are swapped does badly on the right ones."""
    wrong = tmp_path / "wrong"
    write_shapes(wrong / "train", 96, seed=1)
    for path in (wrong / "train/masks").iterdir():
        mask = np.asarray(Image.open(path))
        save_mask(path, np.where(mask == 255, 255, (mask + 1) % 4))
    (wrong / "val").symlink_to(data / "val")
    assert run([*tokens(wrong, tmp_path / "run", finetune=narrow, labels=data / "labels.txt", epochs=2), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["miou"] < 0.1


def test_a_picture_and_its_mask_are_cropped_and_flipped_alike(tmp_path: Path) -> None:
    """The picture is its mask in colours of its own, so that a pixel tells its class."""
    folder = open_mask_folder(write_shapes(tmp_path / "data", 2, side=96))
    for number in (0, 1):
        mask = np.asarray(Image.open(tmp_path / f"data/masks/{number:04}.png"))
        shown = np.where(mask == 255, 0, mask * 60)
        Image.fromarray(np.repeat(shown[..., None], 3, axis=2).astype(np.uint8)).save(tmp_path / f"data/images/{number:04}.png")
    recipe = changed(preset("segment"), {"image_size": 64})
    augmenter = MaskAugmenter(folder=folder, classes=4, recipe=recipe, side=64, preprocess=IMAGENET_224)
    seen = []
    for repeat in range(12):
        pixels, mask, place = augmenter[Turn(0, 1, repeat, 5)]
        again = augmenter[Turn(0, 1, repeat, 5)]
        assert torch.equal(pixels, again[0])
        assert torch.equal(mask, again[1])
        value = (pixels[0] * 0.229 + 0.485) * 255
        judged = mask != 255
        assert (abs(value - mask * 60)[judged] < 30).float().mean() > 0.85, "but for edges"
        assert (mask.shape, place) == ((64, 64), 5)
        seen.append(value)
    assert len({tuple(value.flatten().tolist()) for value in seen}) == 12


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixup": 0.8}, "--mixup 0.8: not done with masks; give --mixup 0, or --recipe segment"),
        ({"recipe": "deit", "learning-rate": None}, "not done with masks; give --"),
        ({"resume": True}, "--resume is for a classifier's training, and --task segment has none; drop it"),
        ({"processes": 2}, "--processes is for a classifier's training"),
        ({"qat": "onnx"}, "--qat is for a classifier's training"),
        ({"labels": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_what_cannot_be_is_one_line(
    changes: dict[str, Any], said: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert said in expect_error(2, *tokens(data, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_data_that_are_no_such_data_are_one_line(data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "nobody names the classes; add --labels FILE" in expect_error(2, *tokens(tmp_path, tmp_path / "run"))
    assert "no folder 'train' in it" in expect_error(2, *tokens(tmp_path, tmp_path / "run", labels=data / "labels.txt"))
    (tmp_path / "one.txt").write_text("only\n")
    assert "1 classes; masks of 8 bits tell 2 to 255" in expect_error(
        2, *tokens(data, tmp_path / "run", labels=tmp_path / "one.txt")
    )


def test_a_classifier_is_what_a_segmenter_begins_with(data: Path) -> None:
    from edgevit_deploy.train.dense import dense_beginning
    from edgevit_deploy.train.job import TrainingJob

    segmenter()
    job = TrainingJob(data=data, recipe=changed(preset("segment"), {"image_size": 64}), finetune=tiny_weights())
    network, (note, *_) = dense_beginning(job, CLASSES)
    assert "its four stages; the head is new" in note
    state = load_file(tiny_weights())
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.encoder.state_dict().items())
    assert (network.spec.num_classes, network.spec.image_size, network.spec.variant) == (4, (64, 64), "edgevit_c36_d1_1_1_1")
