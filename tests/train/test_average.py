"""The averaged weights, update by update, and what becomes of them where the image size changes."""

from pathlib import Path

import pytest
import torch

from edgevit_deploy import train_model
from edgevit_deploy.train.checkpoint import LAST, State, load_state
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.recipe import Recipe, changed
from tests.helpers.training import QUICK, counted, losses, metadata, metrics, train_until

GROWING = changed(QUICK, {"image_size": 64, "epochs": 0.8, "small_epochs": 0.4})
"""Two updates at 32 pixels, two at 64."""

WEIGHTS = ("best.safetensors", "last.safetensors")


def stopped(data: Path, folder: Path, recipe: Recipe, image_size: int) -> None:
    """Train with a state after each update, until the evaluation at an image size; nothing of that one is saved."""
    train_until(lambda measured: measured.image_size == image_size, data, folder, recipe, checkpoint_every=1)


def last_states(folder: Path) -> tuple[State, State]:
    """The one before the last, and the last."""
    last, _ = load_state(folder)
    (folder / LAST).unlink()
    before, _ = load_state(folder)
    return before, last


def assert_averaged(before: dict[str, torch.Tensor], after: State, decay: float) -> None:
    """The average is what it was, and the newest weights by as much as the decay leaves; the control is another decay."""
    close = {
        share: all(
            torch.allclose(tensor, before[key] * share + after["network"][key] * (1 - share), rtol=1e-5, atol=1e-8)
            for key, tensor in after["average"].items()
            if tensor.is_floating_point()
        )
        for share in (decay, decay + 0.05)
    }
    assert close == {decay: True, decay + 0.05: False}


@pytest.mark.parametrize(
    ("choices", "decay"),
    [({}, 1 - 4 ** (-2 / 3)), ({"ema_warmup": False, "ema_decay": 0.7}, 0.7), ({"ema_decay": 0.3}, 0.3)],
    ids=["warm-up", "constant", "warmed up"],
)
def test_the_average_moves_by_what_the_recipe_says(choices: dict[str, object], decay: float, data: Path, tmp_path: Path) -> None:
    """Of the fourth update; the decay of a warm-up is 1 - (1 + updates before)^(-2/3)."""
    stopped(data, tmp_path / "run", changed(QUICK, {"epochs": 1.0, **choices}), 32)
    before, last = last_states(tmp_path / "run")
    assert (before["update"], last["update"]) == (3, 4)
    assert_averaged(before["average"], last, decay)


@pytest.mark.parametrize(
    ("choices", "decay"), [({}, 1 - 2 ** (-2 / 3)), ({"ema_warmup": False, "ema_decay": 0.7}, 0.7)], ids=["warm-up", "constant"]
)
def test_the_average_begins_anew_where_the_size_changes(
    choices: dict[str, object], decay: float, data: Path, tmp_path: Path
) -> None:
    """After the first update at the final size it is the weights; what it was at the small size has no part in it."""
    stopped(data, tmp_path / "run", changed(GROWING, {"epochs": 1.0, **choices}), 64)
    before, last = last_states(tmp_path / "run")
    assert (before["update"], last["update"]) == (3, 4)
    assert all(torch.equal(before["average"][key], tensor) for key, tensor in before["network"].items())
    assert_averaged(before["average"], last, decay)


@pytest.fixture(scope="module")
def grown(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return train_model(data, recipe=GROWING, output=tmp_path_factory.mktemp("grown") / "run", processes=1, log_every=1)


def test_the_size_changes_within_a_training(grown: TrainingRun) -> None:
    assert [line.image_size for line in grown.metrics] == [32, 32, 64, 64]
    assert [line.step for line in grown.metrics if line.top1 is not None] == [2, 4]
    assert metadata(grown.weights)["image_size"] == [64, 64]


@pytest.mark.parametrize("image_size", [32, 64])
def test_the_last_weights_say_the_size_at_which_they_were_counted(image_size: int, data: Path, tmp_path: Path) -> None:
    """Those of the evaluation before the one in which the training ended; at the small size none are the best."""
    recipe = changed(GROWING, {"epochs": 1.2})
    folder = tmp_path / "run"
    if image_size == 32:
        stopped(data, folder, recipe, 64)
        assert not (folder / "best.safetensors").exists()
    else:
        train_model(data, recipe=recipe, output=folder, processes=1)
    about = metadata(folder / "last.safetensors")
    assert about["image_size"] == about["preprocess"]["crop"] == [image_size] * 2
    assert (about["accuracy"]["top1"], about["accuracy"]["top5"]) == counted(folder / "last.safetensors", data / "val")


@pytest.mark.parametrize("image_size", [32, 64])
def test_it_goes_on_across_the_change_of_size(image_size: int, data: Path, grown: TrainingRun, tmp_path: Path) -> None:
    """Stopped before the change, and after it."""
    folder = tmp_path / "run"
    stopped(data, folder, GROWING, image_size)
    train_model(data, recipe=GROWING, output=folder, processes=1, log_every=1, resume=True)
    assert losses(folder) == losses(grown.folder)
    assert [line.image_size for line in metrics(folder)] == [32, 32, 64, 64]
    for name in WEIGHTS:
        assert (folder / name).read_bytes() == (grown.folder / name).read_bytes()
