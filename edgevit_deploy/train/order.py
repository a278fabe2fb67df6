"""Which picture comes when: an order that follows from seed and epoch, cut into batches, and each batch into parts.

A batch is the same whatever the number of processes. Its parts are mirrored: part k has some places of the first half and the
places that lie opposite in the second, so that a mixup that pairs a part's first with its last pairs what it would in the whole.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.draws import Purpose, draw
from edgevit_deploy.train.recipe import Recipe


class Turn(NamedTuple):
    """One picture's turn.

    Attributes:
        epoch: in which it comes.
        picture: position among the training pictures.
        repeat: which copy of the picture.
        place: in the whole batch.
    """

    epoch: int
    picture: int
    repeat: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Updates that belong together: of one epoch and one image size; an evaluation follows.

    Attributes:
        epoch: counted from 0.
        first: its first update, counted over the whole training.
        stop: the update after its last.
        image_size: side in pixels.
    """

    epoch: int
    first: int
    stop: int
    image_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All turns of a training.

    Attributes:
        pictures: how many there are.
        recipe: with the batch size and the repeats.
        parts: into how many each batch is cut, over all processes.
    """

    pictures: int
    recipe: Recipe
    parts: int

    @property
    def updates_per_epoch(self) -> int:
        """Whole batches of an epoch; the pictures that are left over are other ones in each epoch."""
        return self.pictures // self.recipe.batch_size

    @property
    def updates(self) -> int:
        """Of the whole training, at least one."""
        return max(1, round(self.recipe.epochs * self.updates_per_epoch))

    @property
    def small_updates(self) -> int:
        """Those at the small image size."""
        return min(self.updates, round(self.recipe.small_epochs * self.updates_per_epoch))

    def check(self) -> None:
        """Refuse batches that cannot be made, and a training that would never see a picture of the final size.

        Raises:
            UsageError: more pictures in a batch than there are, parts that would not be equal, or of one picture, or no update at
                the final size.
        """
        size, step = self.recipe.batch_size, 2 * self.parts
        if size > self.pictures:
            raise UsageError(f"--batch-size {size}: there are {self.pictures} training pictures; give at most that many")
        if size % step:
            below = size // step * step
            nearest = f"{below} or {below + step}" if below else str(step)
            raise UsageError(
                f"--batch-size {size}: {self.parts} equal parts (processes x --accumulate) of an even number each cannot be "
                f"made of it; the nearest that works: {nearest}"
            )
        recipe = self.recipe
        if 0 < self.small_updates == self.updates:
            raise UsageError(
                f"--small-epochs {recipe.small_epochs:g}: of the {self.updates} updates of --epochs {recipe.epochs:g} none is "
                f"left at --image-size {recipe.image_size}; lower it, or give --small-epochs 0 and the size wanted"
            )

    def segments(self) -> list[Segment]:
        """Return the training's segments in order; an epoch in which the size changes is two."""
        borders = {0, self.small_updates, self.updates, *range(0, self.updates, self.updates_per_epoch)}
        ordered = sorted(borders)
        return [
            Segment(
                epoch=first // self.updates_per_epoch,
                first=first,
                stop=stop,
                image_size=self.recipe.small_image_size if first < self.small_updates else self.recipe.image_size,
            )
            for first, stop in itertools.pairwise(ordered)
        ]

    def turns(self, segment: Segment, first: int, parts: Sequence[int]) -> Iterator[list[Turn]]:
        """Yield, for each update of a segment, some parts of its batch one after the other.

        Args:
            segment: whose updates.
            first: the update to begin with.
            parts: which parts, of 0 to `self.parts` - 1.
        """
        pictures, repeats = self._epoch(segment.epoch)
        size = self.recipe.batch_size
        places = [self._places(part) for part in parts]
        for update in range(max(first, segment.first), segment.stop):
            start = (update - segment.epoch * self.updates_per_epoch) * size
            for part in places:
                yield [
                    Turn(segment.epoch, int(pictures[start + place]), int(repeats[start + place]), place)
                    for place in part.tolist()
                ]

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pictures of an epoch in their order, and which copy of it each is."""
        random = np.random.Generator(np.random.PCG64(draw(Purpose.ORDER, self.recipe.seed, epoch)))
        shuffled, copies = random.permutation(self.pictures), self.recipe.repeats
        return np.repeat(shuffled, copies)[: self.pictures], np.tile(np.arange(copies), self.pictures)[: self.pictures]

    def _places(self, part: int) -> NDArray[np.int64]:
        half = self.recipe.batch_size // (2 * self.parts)
        first = np.arange(part * half, (part + 1) * half)
        return np.concatenate([first, self.recipe.batch_size - 1 - first[::-1]])
