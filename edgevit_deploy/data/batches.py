"""Many pictures, decoded by worker processes and handed over in batches, so that memory does not grow with their number."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import PassedOver, in_short
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import RunError, UsageError, first_line
from edgevit_deploy.spec import Preprocess

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

PREFETCHED = 2
"""Batches that each worker decodes ahead."""

ENDED = "DataLoader worker (pid"
"""How PyTorch begins to say that a worker has ended. What a worker raised begins in another way, and is raised here again."""

PRELOADED = ["torch.utils.data", "PIL.Image", "edgevit_deploy.data.batches"]
"""What the server that workers are forked from has imported: a worker then starts in milliseconds."""

T = TypeVar("T")
Named = tuple[int, str]  # a position, and the path of the picture there


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBatch:
    """Some decoded pictures.

    Attributes:
        positions: of each among the paths that were asked for, int64 (n,).
        pixels: uint8 (n, height, width, 3), RGB, 0 to 255, as `data.preprocess.read_pixels` gives them.
        broken: pictures of this batch that could not be decoded, by their paths; they have no row.
    """

    positions: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    broken: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStream:
    """The pictures of some files in order, each batch once. Whoever stops before the end closes the iterator.

    Attributes:
        path: from a position to a file.
        positions: which ones, in the order in which they come.
        preprocess: of every picture.
        batch: pictures at a time; fewer where some are broken, and in the last.
        workers: processes that decode; 0 decodes in this one, and so does a daemonic process, which may not start any.
    """

    path: Callable[[int], Path]
    positions: Sequence[int] | NDArray[np.int64]
    preprocess: Preprocess
    batch: int = 32
    workers: int = 0

    def __iter__(self) -> Generator[PictureBatch]:
        """Yield the batches.

        Raises:
            RunError: a worker was ended from outside.
        """
        decoder = _Decoder(preprocess=self.preprocess)
        workers = 0 if multiprocessing.current_process().daemon else min(self.workers, len(self))
        if workers == 0:
            return (_collate([decoder[item] for item in items]) for items in self._items())
        return in_workers(decoder, self._items(), workers, _collate)

    def __len__(self) -> int:
        """Return how many batches there are."""
        return -(-len(self.positions) // self.batch)

    def _items(self) -> Iterator[list[Named]]:
        """Yield what each batch is made of. Names go to the workers with it, so that no worker holds a list of them all."""
        for start in range(0, len(self.positions), self.batch):
            yield [(int(position), str(self.path(int(position)))) for position in self.positions[start : start + self.batch]]


def in_workers(
    dataset: object,
    items: Iterator[Any],
    workers: int,
    collate: Callable[[Any], T],
    *,
    pinned: bool = False,
    preloaded: Sequence[str] = (),
) -> Generator[T]:
    """Yield batches that worker processes make; they end with this iterator, and with this process.

    Args:
        dataset: what each worker gets: from an item to what becomes a row.
        items: for each batch, a list of what `dataset` takes.
        workers: how many, at least one.
        collate: from the rows to a batch.
        pinned: put batches, which then have `pin_memory`, where a GPU reads them directly.
        preloaded: modules that workers need beside those of `PRELOADED`.

    Raises:
        RunError: a worker was ended from outside.
        OSError: the machine refused something to a worker, and so for `MemoryError`.
    """
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        cast("Dataset[Any]", dataset),
        batch_sampler=cast("Any", items),  # any iterable of what the dataset takes is one
        num_workers=workers,
        prefetch_factor=PREFETCHED,
        collate_fn=collate,
        pin_memory=pinned,
        worker_init_fn=_end_with_the_parent,
        multiprocessing_context=_context(preloaded),
    )
    with _running(loader) as batches:
        while (batch := _next(batches)) is not None:
            yield batch


@contextmanager
def _running(loader: "DataLoader[Any]") -> Iterator[Iterator[Any]]:
    """Start the workers, and end them however this is left."""
    with _without_main():
        batches = iter(loader)
    try:
        yield batches
    finally:
        batches._shutdown_workers()  # type: ignore[attr-defined] # PyTorch has no public way but garbage collection


def _next(batches: Iterator[T]) -> T | None:
    try:
        return next(batches, None)
    except RuntimeError as error:
        if not str(error).startswith(ENDED):
            raise
        raise RunError(
            f"a process that decodes pictures was ended ({first_line(error)}); where memory is short, use fewer --workers"
        ) from error
    except (OSError, MemoryError) as error:
        if not str(error).startswith("Caught"):
            raise
        last_line = str(error).strip().rpartition("\n")[2]  # of the traceback in the worker
        raise type(error)(last_line.partition(": ")[2] or first_line(error)) from error


def _context(preloaded: Sequence[str]) -> BaseContext:
    """Return how workers are started: forked from a server that has imported what they need, and nothing else.

    Forked from this process, a worker would have locks of OpenMP's threads and ours that nobody opens again, and the pipes of
    the processes that run files, which then never see their end. Windows has no fork.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *preloaded])
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module from the processes that are started: they would import it, and run a script that has no guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_the_parent(_: int) -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent, which ends its workers; and end if it was killed.

    PyTorch's own watch looks at the process that a worker was forked from: the server, which lives as long as its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after_the_parent, daemon=True).start()


def _exit_after_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoder:
    """What the workers are handed: a picture for each item, or in its place why it cannot be decoded."""

    preprocess: Preprocess

    def __getitem__(self, item: Named) -> tuple[int, NDArray[np.uint8] | PassedOver]:
        position, path = item
        try:
            return position, read_pixels(Path(path), self.preprocess)
        except UsageError as error:
            return position, PassedOver(file=path, why=in_short(error, Path(path)))


def _collate(items: Sequence[tuple[int, NDArray[np.uint8] | PassedOver]]) -> PictureBatch:
    decoded = [(position, item) for position, item in items if isinstance(item, np.ndarray)]
    return PictureBatch(
        positions=np.array([position for position, _ in decoded], dtype=np.int64),
        pixels=np.stack([pixels for _, pixels in decoded]) if decoded else np.empty((0, 0, 0, 3), np.uint8),
        broken=tuple(item for _, item in items if isinstance(item, PassedOver)),
    )
