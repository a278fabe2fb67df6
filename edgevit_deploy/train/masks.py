"""The pictures with masks of a training: which are trained on and which evaluate, and how both are augmented alike."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgevit_deploy.data.batches import in_workers
from edgevit_deploy.data.masks import MAX_CLASSES, MaskFolder, open_mask_folder, open_pair
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.train.augment import PRELOADED, TrainingBatch
from edgevit_deploy.train.draws import Purpose, draw
from edgevit_deploy.train.order import Turn
from edgevit_deploy.train.pictures import TRAIN, VAL, read_class_names
from edgevit_deploy.train.recipe import NO_AUTO_AUGMENT, Recipe, flag

LABELS = "labels.txt"
"""In the data's folder: the names of the classes where --labels does not say them."""

UNUSED = ("mixup", "cutmix", "erasing", "color_jitter", "small_epochs")
"""Of a recipe, what is for the classes of whole pictures, or not made for masks."""

TRIES = 10
"""For a crop of a drawn shape that lies within the picture; then it is the whole, as in timm."""

Row = tuple[torch.Tensor, torch.Tensor, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskShare:
    """The pictures of a folder, all of them."""

    folder: MaskFolder

    def __len__(self) -> int:
        return len(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPictures:
    """What a training sees: `train` decides the weights, `val` evaluates them; `sha256` is of names and sizes of all files."""

    train: MaskShare
    val: MaskShare
    sha256: str
    classes: tuple[str, ...]


def open_mask_pictures(data: Path, labels: Path | None) -> MaskPictures:
    """List the training pictures and those that evaluate.

    Args:
        data: folder with `train` and `val`, each with `images` and `masks`.
        labels: text file with the class names in class order; `labels.txt` in the folder when None.

    Raises:
        UsageError: a folder is missing or unusable, nobody names the classes, or no mask of a folder has one.
    """
    file = labels or data / LABELS
    if labels is None and not file.is_file():
        raise UsageError(f"--data {data}: nobody names the classes; add --labels FILE with one name a line, or {data / LABELS}")
    classes = read_class_names(file)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UsageError(f"--labels {file}: {len(classes)} classes; masks of 8 bits tell 2 to {MAX_CLASSES} apart")
    for part in (TRAIN, VAL):
        if not (data / part).is_dir():
            raise UsageError(
                f"--data {data}: no folder {part!r} in it; put images/ and masks/ into {data / TRAIN} and {data / VAL}"
            )
    train, val = (MaskShare(folder=open_mask_folder(data / part)) for part in (TRAIN, VAL))
    for share in (train, val):
        share.folder.check_labelled(range(len(share)), len(classes))
    digest = hashlib.sha256(repr((train.folder.digest(), val.folder.digest(), classes)).encode()).hexdigest()
    return MaskPictures(train=train, val=val, sha256=digest, classes=classes)


def check_recipe(recipe: Recipe) -> None:
    """Refuse what is not done with masks.

    Raises:
        UsageError: naming the flag, and what to give.
    """
    for name in UNUSED:
        if getattr(recipe, name):
            raise UsageError(
                f"{flag(name)} {getattr(recipe, name):g}: not done with masks; give {flag(name)} 0, or --recipe segment"
            )
    if recipe.auto_augment != NO_AUTO_AUGMENT:
        raise UsageError(f"--auto-augment {recipe.auto_augment}: not done with masks; give --auto-augment {NO_AUTO_AUGMENT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAugmenter:
    """From a picture's turn to a random crop of it and of its mask, both flipped or neither; or why there is none."""

    folder: MaskFolder
    classes: int
    recipe: Recipe
    side: int
    preprocess: Preprocess

    def __getitem__(self, turn: Turn) -> Row | PassedOver:
        from PIL.Image import Resampling, Transpose

        try:
            picture, mask = open_pair(self.folder, turn.picture, self.classes)
        except UsageError as error:
            file = self.folder.images[turn.picture]
            return PassedOver(file=str(self.folder.root / file), why=self.folder.why_not(error, turn.picture))
        rng = np.random.default_rng(draw(Purpose.AUGMENTATION, self.recipe.seed, turn.epoch, turn.picture, turn.repeat))
        box = crop_box(picture.size, self.recipe, rng)
        size, smooth = (self.side, self.side), Resampling[self.preprocess.interpolation.upper()]
        picture, mask = picture.resize(size, smooth, box=box), mask.resize(size, Resampling.NEAREST, box=box)
        if rng.random() < self.recipe.flip:
            picture, mask = (image.transpose(Transpose.FLIP_LEFT_RIGHT) for image in (picture, mask))
        pixels = normalise(np.asarray(picture)[None], self.preprocess, "tensor")[0]
        return torch.from_numpy(pixels), torch.from_numpy(np.asarray(mask).astype(np.int64)), turn.place

    def collated(self, items: Sequence[Row | PassedOver]) -> TrainingBatch:
        """Put the pictures that could be read into one batch, which may be empty."""
        rows = [item for item in items if not isinstance(item, PassedOver)]
        side = self.side
        return TrainingBatch(
            pixels=torch.stack([pixels for pixels, _, _ in rows]) if rows else torch.empty(0, 3, side, side),
            targets=torch.stack([mask for _, mask, _ in rows]) if rows else torch.empty(0, side, side, dtype=torch.int64),
            places=torch.tensor([place for _, _, place in rows], dtype=torch.int64),
            broken=tuple(item for item in items if isinstance(item, PassedOver)),
        )

    def stream(self, turns: Iterator[list[Turn]], workers: int, *, pinned: bool) -> Iterator[TrainingBatch]:
        """Yield the batches that are made of some turns."""
        if workers == 0:
            return (self.collated([self[turn] for turn in some]) for some in turns)
        return in_workers(self, turns, workers, self.collated, pinned=pinned, preloaded=(PRELOADED,))


def crop_box(size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a random crop: area and shape as the recipe's, somewhere in the picture.

    Args:
        size: (width, height) of the picture.
        recipe: with the smallest share of its area, and the most that sides are stretched against each other.
        rng: draws.
    """
    width, height = size
    for _ in range(TRIES):
        area = width * height * rng.uniform(recipe.crop_area, 1)
        shape = math.exp(rng.uniform(-1, 1) * math.log(recipe.crop_aspect))
        across, down = math.sqrt(area * shape), math.sqrt(area / shape)
        if across <= width and down <= height:
            left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
            return left, top, left + across, top + down
    return 0.0, 0.0, float(width), float(height)
