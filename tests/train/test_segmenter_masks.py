"""What the training of a segmenter says of its masks, what it counts, and what it is not disturbed by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgevit_deploy.cli import run
from edgevit_deploy.train import segmenter as training
from edgevit_deploy.train.job import TrainingJob, not_shown, not_told
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.world import ALONE, MOST_WORKERS, decoding_workers
from tests.helpers.dense import segmenter
from tests.helpers.shapes import CLASSES, save_mask, write_shapes

Capture = pytest.CaptureFixture[str]
FLAGS = ("--task", "segment", "--image-size", "64", "--batch-size", "4", "--epochs", "1", "--learning-rate", "0.001")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    segmenter()
    for part in ("train", "val"):
        write_shapes(tmp_path / "data" / part, 4)
    (tmp_path / "data/labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return tmp_path / "data"


def relabel(folder: Path, numbers: dict[int, int]) -> None:
    for path in (folder / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        save_mask(path, np.vectorize(lambda number: numbers.get(number, number))(mask))


def test_classes_that_no_mask_has_are_named_and_pictures_left_out_are_not_counted(data: Path, capfd: Capture) -> None:
    relabel(data / "train", {3: 255})
    relabel(data / "val", {2: 255, 1: 255})
    (data / "val/images/0002.png").write_bytes(b"no picture")
    assert run(["train", *FLAGS, "--data", str(data), "--output", str(data / "run"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["notes"][-2:] == [
        "no crop of a mask in train has the class 'stripes'; 255 is for pixels of none",
        "no mask in val has the classes 'disc', 'square'; 255 is for pixels of none",
    ]
    assert document["pictures"] == 3
    assert document["metrics"][-1]["pictures"] == 3
    (broken,) = document["passed_over"]
    assert str(data) not in broken["why"], "its name is in `file` already"


@pytest.mark.parametrize("part", ["train", "val"])
def test_masks_without_any_class_are_refused_before_anything_is_written(data: Path, part: str, expect_error: Any) -> None:
    relabel(data / part, dict.fromkeys(range(4), 255))
    said = expect_error(2, "train", *FLAGS, "--data", data, "--output", data / "run")
    assert f"{data / part}: no pixel that is judged has a class; 255 is for pixels of none" in said
    assert not (data / "run").exists()


def test_the_head_computes_one_thing_in_training() -> None:
    """A dropout would draw from the generator of the whole process, which decoding workers draw from too."""
    network = segmenter().network
    maps = [torch.rand(2, channels, 16 >> level, 16 >> level) for level, channels in enumerate(network.spec.channels)]
    before = torch.get_rng_state()
    head = network.train().head
    assert torch.equal(head(maps), head(maps))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_gpu_is_given_workers_unless_it_is_said_how_many(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def engine(*_: Any, workers: int, **__: Any) -> None:
        given.append(workers)
        raise InterruptedError

    monkeypatch.setattr(training, "SegmenterEngine", engine)
    for device, said in (("cuda", None), ("cuda", 0), ("cpu", None)):
        monkeypatch.setattr(training, "find_device", lambda *_, device=device: torch.device(device))
        recipe = changed(preset("segment"), {"image_size": 64, "batch_size": 4})
        job = TrainingJob(data=data, recipe=recipe, workers=said, output=data / "run")
        with pytest.raises(InterruptedError):
            training.train_segmenter(job, tell=not_told, on_epoch=not_shown)
    assert given == [decoding_workers(None, ALONE, torch.device("cuda")), 0, 0]
    assert 1 <= given[0] <= MOST_WORKERS
