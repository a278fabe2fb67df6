"""A damaged picture ends no training because it stands in a small part of a batch; and how small parts are by themselves."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgevit_deploy import train_model
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.train import launch
from edgevit_deploy.train.order import Order
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import Recipe, changed
from tests.helpers.training import QUICK, losses

RECIPE = changed(QUICK, {"batch_size": 8, "epochs": 0.2})
"""Two updates, whose parts are of four pictures in two processes."""

Damage = Callable[..., Path]


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Damage:
    """Copy the pictures, and cut short so many of each update's second part, and of its first."""

    def make(second: tuple[int, ...], first: tuple[int, ...] = (0, 0)) -> Path:
        own = Path(shutil.copytree(data, tmp_path / "data"))
        listed = open_image_folder(own / "train")
        order = Order(pictures=len(listed), recipe=RECIPE, parts=2)
        (segment,) = order.segments()
        for part, counts in enumerate((first, second)):
            for count, turns in zip(counts, order.turns(segment, 0, [part]), strict=True):
                for turn in turns[:count]:
                    path = listed.path(turn.picture)
                    path.write_bytes(path.read_bytes()[:-60])
        return own

    return make


@pytest.mark.slow
def test_parts_of_one_picture_and_of_none_are_trained_on(damaged: Damage, tmp_path: Path) -> None:
    """Statistics, losses and what is named are those of one process, which sees the rest of the batch at once."""
    own = damaged((3, 4))
    runs = [train_model(own, recipe=RECIPE, output=tmp_path / str(count), processes=count, log_every=1) for count in (1, 2)]
    alone, shared = runs
    assert [losses(run.folder) for run in runs][1] == pytest.approx(losses(alone.folder), rel=1e-4)
    assert len(shared.broken) == 7
    assert shared.broken == alone.broken


@pytest.mark.slow
def test_what_cannot_be_mixed_is_left_out(damaged: Damage, tmp_path: Path) -> None:
    recipe = changed(RECIPE, {"mixup": 0.8, "cutmix": 1.0})
    run = train_model(damaged((3, 4)), recipe=recipe, output=tmp_path / "run", processes=2, log_every=1)
    assert len(losses(run.folder)) == 2


def test_a_batch_of_which_one_picture_is_left_is_refused(damaged: Damage, tmp_path: Path) -> None:
    """The pictures of both processes are named, whichever of them the first has."""
    own = damaged((4, 0), first=(3, 0))
    with pytest.raises(UsageError, match="of a part of a batch not even 2 could be read: ") as refused:
        train_model(own, recipe=RECIPE, output=tmp_path / "run", processes=2)
    assert str(refused.value).count("damaged, cannot be read") == 5
    assert " and 2 more; copy them again" in str(refused.value)


@pytest.mark.parametrize(
    ("recipe", "cores", "expected"),
    [
        (preset("deit"), 96, 64),  # of 1024, the most that divide it into 16 or more of an even number
        (preset("deit"), 12, 8),
        (preset("small"), 64, 8),
        (preset("small"), 2, 2),
        (changed(preset("small"), {"accumulate": 4}), 64, 2),
        (changed(preset("small"), {"accumulate": 16}), 64, 1),
        (changed(preset("small"), {"batch_size": 16}), 64, 1),
    ],
)
def test_no_process_is_started_for_a_handful_of_pictures(
    recipe: Recipe, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "usable_cores", lambda: cores)
    assert launch._processes(None, recipe, torch.device("cpu")) == expected
    assert launch._processes(3, recipe, torch.device("cpu")) == 3, "what is asked for is taken"
