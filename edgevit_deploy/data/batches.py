"""Many pictures, decoded by worker processes and handed over in batches, so that memory does not grow with their number."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess

if TYPE_CHECKING:
    from torch.utils.data import Dataset

PREFETCHED = 2
"""Batches that each worker decodes ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBatch:
    """Some decoded pictures.

    Attributes:
        positions: of each among the paths that were asked for, int64 (n,).
        pixels: uint8 (n, height, width, 3), RGB, 0 to 255, as `data.preprocess.read_pixels` gives them.
        broken: pictures of this batch that could not be decoded; they have no row.
    """

    positions: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    broken: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStream:
    """The pictures of some files in order, each batch once.

    Attributes:
        path: from a position to a file.
        positions: which ones, in the order in which they come.
        preprocess: of every picture.
        batch: pictures at a time; fewer where some are broken, and in the last.
        workers: processes that decode; 0 decodes in this one.
    """

    path: Callable[[int], Path]
    positions: Sequence[int] | NDArray[np.int64]
    preprocess: Preprocess
    batch: int = 32
    workers: int = 0

    def __iter__(self) -> Iterator[PictureBatch]:
        from torch.utils.data import DataLoader

        positions = [int(position) for position in self.positions]
        decoder = _Decoder(path=self.path, positions=positions, preprocess=self.preprocess)
        loader: DataLoader[Any] = DataLoader(
            cast("Dataset[Any]", decoder),  # any sequence is one
            batch_size=self.batch,
            num_workers=self.workers,
            prefetch_factor=PREFETCHED if self.workers else None,
            collate_fn=_collate,
        )
        return iter(loader)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoder:
    """What the workers are handed: a picture, or in its place why it cannot be decoded."""

    path: Callable[[int], Path]
    positions: Sequence[int]
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, place: int) -> tuple[int, NDArray[np.uint8] | PassedOver]:
        position = self.positions[place]
        path = self.path(position)
        try:
            return position, read_pixels(path, self.preprocess)
        except UsageError as error:
            return position, PassedOver(file=str(path), why=str(error).removeprefix(f"{path}: "))


def _collate(items: Sequence[tuple[int, NDArray[np.uint8] | PassedOver]]) -> PictureBatch:
    decoded = [(position, item) for position, item in items if isinstance(item, np.ndarray)]
    return PictureBatch(
        positions=np.array([position for position, _ in decoded], dtype=np.int64),
        pixels=np.stack([pixels for _, pixels in decoded]) if decoded else np.empty((0, 0, 0, 3), np.uint8),
        broken=tuple(item for _, item in items if isinstance(item, PassedOver)),
    )
