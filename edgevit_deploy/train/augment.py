"""Training pictures: opened by the project's decoder, augmented by timm's transforms, mixed by timm's Mixup."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from edgevit_deploy.data.batches import in_workers
from edgevit_deploy.data.pictures import PassedOver, in_short, read_picture
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.train.draws import Purpose, seed_all
from edgevit_deploy.train.order import Turn
from edgevit_deploy.train.pictures import Share
from edgevit_deploy.train.recipe import NO_AUTO_AUGMENT, Recipe
from edgevit_deploy.train.timm_parts import timm_part

if TYPE_CHECKING:
    from PIL.Image import Image

Transform = Callable[["Image"], Tensor]

PRELOADED = "edgevit_deploy.train.preloaded"
"""What the server that workers are forked from imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Augmented pictures of one part of a batch.

    Attributes:
        pixels: float32 (n, 3, height, width), normalised.
        targets: class of each, int64 (n,).
        places: of each in the whole batch, int64 (n,).
        broken: pictures of this part that could not be decoded; they have no row.
    """

    pixels: Tensor
    targets: Tensor
    places: Tensor
    broken: tuple[PassedOver, ...] = ()

    def pin_memory(self) -> "TrainingBatch":
        """Return a copy in memory from which a GPU reads directly; DataLoader calls this."""
        return replace(self, pixels=self.pixels.pin_memory(), targets=self.targets.pin_memory(), places=self.places.pin_memory())


class Asked(NamedTuple):
    """What a worker is told of one picture: names go to the workers with it, so that none holds a list of them all."""

    turn: Turn
    path: str
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Augmenter:
    """What each worker has: from what it is asked for to an augmented picture, its class and its place, or why there is none."""

    recipe: Recipe
    side: int
    preprocess: Preprocess

    def __getitem__(self, asked: Asked) -> tuple[Tensor, int, int] | PassedOver:
        turn, path, target = asked
        try:
            picture = read_picture(Path(path))
        except UsageError as error:
            return PassedOver(file=path, why=in_short(error, Path(path)))
        seed_all(Purpose.AUGMENTATION, self.recipe.seed, turn.epoch, turn.picture, turn.repeat)
        return make_transform(self.recipe, self.side, self.preprocess)(picture), target, turn.place

    def collated(self, items: Sequence[tuple[Tensor, int, int] | PassedOver]) -> TrainingBatch:
        """Put the pictures that could be read into one batch, which may be empty."""
        rows = [item for item in items if not isinstance(item, PassedOver)]
        return TrainingBatch(
            pixels=torch.stack([pixels for pixels, _, _ in rows]) if rows else torch.empty(0, 3, self.side, self.side),
            targets=torch.tensor([target for _, target, _ in rows], dtype=torch.int64),
            places=torch.tensor([place for _, _, place in rows], dtype=torch.int64),
            broken=tuple(item for item in items if isinstance(item, PassedOver)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStream:
    """Augmented pictures, a part of a batch at a time. Whoever stops before the end closes the iterator.

    Attributes:
        share: the training pictures.
        turns: of each part.
        recipe: of the augmentation.
        side: of the result, in pixels.
        preprocess: whose statistics and interpolation apply.
        workers: processes that decode and augment; 0 does it in this one.
        pinned: put batches where a GPU reads them directly.
    """

    share: Share
    turns: Iterator[list[Turn]]
    recipe: Recipe
    side: int
    preprocess: Preprocess
    workers: int = 0
    pinned: bool = False

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Yield the batches.

        Raises:
            RunError: a worker was ended from outside.
        """
        augmenter = _Augmenter(recipe=self.recipe, side=self.side, preprocess=self.preprocess)
        if self.workers == 0:
            return (augmenter.collated([augmenter[item] for item in items]) for items in self._items())
        return in_workers(augmenter, self._items(), self.workers, augmenter.collated, pinned=self.pinned, preloaded=(PRELOADED,))

    def _items(self) -> Iterator[list[Asked]]:
        folder, positions = self.share.folder, self.share.positions
        for turns in self.turns:
            yield [
                Asked(turn, str(folder.path(position)), int(folder.targets[position]))
                for turn in turns
                for position in (int(positions[turn.picture]),)
            ]


@cache
def make_transform(recipe: Recipe, side: int, preprocess: Preprocess) -> Transform:
    """Return timm's training transform: random crop and flip, RandAugment or jitter, normalisation, erasing.

    Each process makes its own: what timm is made of cannot be sent to one that has not imported it.

    Args:
        recipe: with every strength.
        side: of the result, in pixels.
        preprocess: whose statistics and interpolation apply.
    """
    transform = timm_part("data").create_transform(
        side,
        is_training=True,
        scale=(recipe.crop_area, 1.0),
        ratio=(1 / recipe.crop_aspect, recipe.crop_aspect),
        hflip=recipe.flip,
        color_jitter=recipe.color_jitter or None,
        auto_augment=None if recipe.auto_augment == NO_AUTO_AUGMENT else recipe.auto_augment,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        re_prob=recipe.erasing,
        re_mode=recipe.erasing_mode,
    )
    _mend_posterize(transform)
    return transform  # type: ignore[no-any-return]


def make_mixup(recipe: Recipe, num_classes: int) -> Any:
    """Return timm's Mixup for whole batches, None where the recipe mixes nothing."""
    if not recipe.mixes:
        return None
    return timm_part("data").Mixup(
        mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=num_classes
    )


def mix(mixup: Any, batch: TrainingBatch, seed: int, update: int) -> TrainingBatch:
    """Mix a part's pictures, its first with its last; targets become float32 (n, classes).

    The strength follows from the update, the same in every part. Of an odd number (a picture was broken) the last is left out.
    """
    seed_all(Purpose.MIXING, seed, update)
    even = len(batch.targets) // 2 * 2
    pixels, targets = mixup(batch.pixels[:even].clone(), batch.targets[:even])
    return replace(batch, pixels=pixels, targets=targets, places=batch.places[:even])


def _mend_posterize(transform: Any) -> None:
    """Keep one bit where timm's policies ask posterize for none, which Pillow 13 refuses (before, the picture became black)."""
    asked = timm_part("data.auto_augment").posterize
    for step in transform.transforms:
        for operation in (*getattr(step, "ops", ()), *itertools.chain(*getattr(step, "policy", ()))):
            if getattr(operation, "aug_fn", None) is asked:
                operation.aug_fn = _posterize


def _posterize(picture: "Image", bits_to_keep: int, **_: object) -> "Image":
    from PIL import ImageOps

    return picture if bits_to_keep >= 8 else ImageOps.posterize(picture, max(1, bits_to_keep))
