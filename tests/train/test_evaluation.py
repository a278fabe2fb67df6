"""Each picture is counted once, whatever the number of processes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.spec import imagenet_preprocess
from edgevit_deploy.train.evaluation import Evaluation, evaluate
from edgevit_deploy.train.pictures import Share
from edgevit_deploy.train.world import ALONE, World
from tests.helpers.training import VAL_PER_CLASS

PREPROCESS = imagenet_preprocess((32, 32))


class Constant(nn.Module):
    """Always gives the same order of classes."""

    def __init__(self, *best: int) -> None:
        super().__init__()
        self.best = best

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 10)
        for place, number in enumerate(self.best):
            logits[:, number] = 10 - place
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class One(World):
    """One process of several, which adds up nothing: the test does."""

    def sums(self, *values: float) -> list[float]:
        return list(values)

    def gathered(self, value: object) -> list[object]:  # type: ignore[override]
        return [value]


def counted(share: Share, world: World = ALONE, *networks: nn.Module) -> Evaluation:
    return evaluate(
        networks or (Constant(3, 7),), share, PREPROCESS, world=world, device=torch.device("cpu"), workers=0, tell=lambda _: None
    )


@pytest.fixture
def share(data: Path) -> Share:
    folder = open_image_folder(data / "val")
    return Share(folder=folder, positions=np.arange(len(folder)))


def test_first_and_first_five(share: Share) -> None:
    first, second = counted(share, ALONE, Constant(3, 7), Constant(0, 1, 2, 3, 4)).counts
    assert (first.top1, first.pictures) == (VAL_PER_CLASS, 10 * VAL_PER_CLASS)
    assert first.top5 >= 2 * VAL_PER_CLASS
    assert (second.top1, second.top5) == (VAL_PER_CLASS, 5 * VAL_PER_CLASS)


@pytest.mark.parametrize("size", [2, 3, 4, 7, 40])
def test_processes_share_the_pictures_without_padding(size: int, share: Share) -> None:
    """Of 30 pictures 4, 7 and 40 processes get unequal numbers, and some of 40 get none."""
    (whole,) = counted(share).counts
    parts = [counted(share, One(rank=rank, size=size)).counts[0] for rank in range(size)]
    assert sum(part.pictures for part in parts) == whole.pictures == 30
    assert sum(part.top1 for part in parts) == whole.top1
    assert sum(part.top5 for part in parts) == whole.top5


def test_a_broken_picture_is_counted_nowhere(data: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(data / "val", tmp_path / "val"))
    broken = min((copied / "coat").iterdir())
    broken.write_bytes(broken.read_bytes()[:-60])
    folder = open_image_folder(copied)
    found = counted(Share(folder=folder, positions=np.arange(len(folder))))
    assert found.counts[0].pictures == 29
    assert [item.file for item in found.broken] == [str(broken)]
