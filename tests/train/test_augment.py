"""Augmented pictures follow from seed, epoch, picture and copy; from nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.spec import imagenet_preprocess
from edgevit_deploy.train import augment
from edgevit_deploy.train.augment import TrainingBatch, TrainingStream, make_mixup, make_transform, mix
from edgevit_deploy.train.order import Order
from edgevit_deploy.train.pictures import Share
from edgevit_deploy.train.recipe import Recipe, changed
from tests.helpers.training import BATCH, QUICK

STRONG = changed(
    QUICK, {"auto_augment": "rand-m9-mstd0.5-inc1", "erasing": 0.5, "erasing_mode": "pixel", "mixup": 0.8, "cutmix": 1.0}
)


def batches(
    folder: Path, recipe: Recipe, *, workers: int = 0, parts: int = 1, part: int = 0, mixed: bool = False
) -> list[TrainingBatch]:
    """Every batch of one part of the first epoch."""
    listed = open_image_folder(folder)
    order = Order(pictures=len(listed), recipe=recipe, parts=parts)
    stream = TrainingStream(
        share=Share(folder=listed, positions=np.arange(len(listed))),
        turns=order.turns(order.segments()[0], 0, [part]),
        recipe=recipe,
        side=32,
        preprocess=imagenet_preprocess((32, 32)),
        workers=workers,
    )
    mixup = make_mixup(recipe, len(listed.classes))
    return [mix(mixup, batch, recipe.seed, update) if mixed else batch for update, batch in enumerate(stream)]


def pixels(made: list[TrainingBatch]) -> torch.Tensor:
    return torch.cat([batch.pixels for batch in made])


def test_the_number_of_workers_changes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, shared = (batches(data / "train", STRONG, workers=workers) for workers in (0, 2))
    assert torch.equal(pixels(alone), pixels(shared))
    # The control: drawn from generators that go on from picture to picture, they are other ones each time.
    monkeypatch.setattr(augment, "seed_all", lambda *_: None)
    first, second = (batches(data / "train", STRONG) for _ in range(2))
    assert not torch.equal(pixels(first), pixels(second))


@pytest.mark.parametrize("choices", [{"seed": 1}, {"repeats": 2}], ids=["seed", "repeats"])
def test_what_a_picture_is_drawn_for_changes_it(data: Path, choices: dict[str, object]) -> None:
    one, other = (pixels(batches(data / "train", recipe)) for recipe in (QUICK, changed(QUICK, choices)))
    assert not torch.equal(one, other)


def test_two_copies_of_a_picture_differ(data: Path) -> None:
    first = batches(data / "train", changed(QUICK, {"repeats": 2}))[0]
    assert torch.equal(first.targets[0::2], first.targets[1::2])
    assert not any(torch.equal(one, two) for one, two in zip(first.pixels[0::2], first.pixels[1::2], strict=True))


def test_mixing_is_that_of_the_whole_batch(data: Path) -> None:
    """Two processes mix as one does; half of the updates mix by mixup, half by CutMix."""
    whole = batches(data / "train", STRONG, mixed=True)
    halves = [batches(data / "train", STRONG, mixed=True, parts=2, part=part) for part in range(2)]
    for update, batch in enumerate(whole):
        for half in (halves[0][update], halves[1][update]):
            assert torch.equal(half.pixels, batch.pixels[half.places])
            assert torch.equal(half.targets, batch.targets[half.places])


def test_mixed_targets_are_shares_of_two_classes_and_smooth(data: Path) -> None:
    for batch in batches(data / "train", STRONG, mixed=True):
        assert batch.targets.shape == (BATCH, 10)
        assert torch.allclose(batch.targets.sum(1), torch.ones(BATCH))
        assert float(batch.targets.min()) == pytest.approx(0.1 / 10)


def test_without_random_draws_a_picture_is_the_evaluations_own(data: Path) -> None:
    """Statistics and channel order are those of the product; a whole 32-pixel picture needs no resize."""
    plain = changed(QUICK, {"crop_area": 1.0, "crop_aspect": 1.0, "flip": 0.0, "erasing": 0.0})
    listed = open_image_folder(data / "train")
    transform = make_transform(plain, 32, imagenet_preprocess((32, 32)))
    picture = Image.open(listed.path(0)).convert("RGB")
    values = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
    mean, std = (np.array(numbers, np.float32).reshape(3, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert np.allclose(transform(picture).numpy(), (values - mean) / std, atol=1e-6)


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Copy the pictures of two classes, with the first few of each cut short."""

    def make(count: int) -> Path:
        for name in ("bag", "coat"):
            (tmp_path / name).mkdir()
            for number, file in enumerate(sorted((data / "train" / name).iterdir())):
                content = file.read_bytes()
                (tmp_path / name / file.name).write_bytes(content[: len(content) - 100] if number < count else content)
        return tmp_path

    return make


def test_a_damaged_picture_is_left_out_and_named(damaged: Callable[[int], Path]) -> None:
    folder = damaged(1)
    (batch,) = batches(folder, QUICK)
    assert len(batch.targets) == len(batch.places) == len(batch.pixels) == 14
    assert sorted(item.file for item in batch.broken) == sorted(
        str(next(iter(sorted((folder / name).iterdir())))) for name in ("bag", "coat")
    )
    for item in batch.broken:
        assert re.fullmatch(r"damaged, cannot be read as a picture \([^;]+\)", item.why), "no path, and nothing to do about it"


def test_of_an_odd_number_the_last_is_not_mixed(damaged: Callable[[int], Path]) -> None:
    folder = damaged(1)
    min((folder / "coat").iterdir()).unlink()
    recipe = changed(STRONG, {"batch_size": 14})
    made = batches(folder, recipe)
    assert {len(batch.targets) % 2 for batch in made} == {1}
    assert {len(batch.targets) % 2 for batch in batches(folder, recipe, mixed=True)} == {0}


def test_the_strongest_policy_runs_on_every_picture(data: Path) -> None:
    """At the largest magnitude timm's posterize asks for no bit at all, which Pillow 13 refuses."""
    recipe = changed(QUICK, {"auto_augment": "rand-m10-n8-inc1"})
    assert len(pixels(batches(data / "train", recipe))) == 80
