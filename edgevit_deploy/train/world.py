"""The processes that train together: what they add up, agree on and hand each other. One process is a world of its own.

What goes through here is small and lives on the CPU (gloo, beside NCCL on GPUs); gradients are DistributedDataParallel's.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from edgevit_deploy.errors import DeployError, RunError, UsageError, first_line
from edgevit_deploy.process.cores import usable_cores

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: a slow disk may keep one busy."""

LOSSES = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed out", re.IGNORECASE)
"""Of what is raised while a process computes and exchanges gradients, the words of a lost connection; gloo's name their file."""

T = TypeVar("T")


class SaidElsewhereError(DeployError):
    """A failure that the first process reports for all."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this training says what went wrong")
        self.exit_code = exit_code


class LostProcessError(RunError):
    """Another process of this training ended, or does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One process's place among those that train together.

    Attributes:
        rank: of this process; the first, 0, speaks and writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def sums(self, *values: float) -> list[float]:
        """Return the sum of each value over all processes.

        Raises:
            LostProcessError: another process ended.
        """
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with losses_told():
            distributed.all_reduce(total)
        return total.tolist()

    def gathered(self, value: T) -> list[T]:
        """Return the value of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        with losses_told():
            distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_first(self, value: T) -> T:
        """Return what the first process has."""
        if self.size == 1:
            return value
        values = [value]
        with losses_told():
            distributed.broadcast_object_list(values, src=0)
        return values[0]

    def together(self, work: Callable[[], T]) -> T:
        """Do what may fail in some processes only, and fail in all of them if it does in one; the first one's error is raised.

        Raises:
            DeployError: of the lowest rank that failed, in the first process.
            SaidElsewhereError: in the others.
        """
        failure: DeployError | None = None
        result: T | None = None
        try:
            result = work()
        except DeployError as error:
            failure = error
        self.agree(failure)
        return result  # type: ignore[return-value]

    def agree(self, failure: DeployError | None) -> None:
        """Raise in every process if there is a failure in one; every process must call it.

        Raises:
            DeployError: as `together`.
        """
        if self.size == 1:
            if failure is not None:
                raise failure
            return
        failures = self.gathered(None if failure is None else (type(failure), str(failure), failure.exit_code))
        found = next((item for item in failures if item is not None), None)
        if found is not None:
            kind, text, exit_code = found
            raise kind(text) if self.is_first else SaidElsewhereError(exit_code)


ALONE = World()


@contextmanager
def joined(rank: int, size: int, address: str, device: torch.device) -> Iterator[World]:
    """Meet the other processes, and part from them at the end.

    Args:
        rank: of this process.
        size: how many will come.
        address: where they meet, as `torch.distributed.init_process_group` takes it.
        device: on which this one computes; it decides the backend of gradients.

    Raises:
        LostProcessError: they did not come.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with losses_told():
        distributed.init_process_group(backend, init_method=address, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield World(rank=rank, size=size)
    finally:
        distributed.destroy_process_group()


MOST_WORKERS = 16
"""Processes that decode for one GPU."""


def decoding_workers(said: int | None, world: World, device: torch.device) -> int:
    """Return how many processes decode for this one: none where it computes on the CPU too, for they would share its cores.

    Args:
        said: how many the user wants; by the machine when None.
        world: the processes that train.
        device: on which this one computes.
    """
    if said is not None:
        return said
    if device.type == "cpu":
        return 0
    return max(1, min(MOST_WORKERS, usable_cores() // min(world.size, max(1, torch.cuda.device_count()))))


START = "start it with torchrun -m edgevit_deploy.train, or unset them to train without"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What torchrun tells each process that it starts: its rank here and everywhere, and how many there are."""

    rank: int
    local_rank: int
    size: int


def launched() -> Launched | None:
    """Return what torchrun, or another launcher that follows it, has set; None for a plain start.

    Raises:
        UsageError: it is not complete, or no place among the processes.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return None
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UsageError(f"RANK and WORLD_SIZE are set, and {' and '.join(missing)} not; {START}")
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        found = Launched(rank=rank, local_rank=int(os.environ.get("LOCAL_RANK", rank)), size=size)
    except ValueError as error:
        raise UsageError(f"RANK, WORLD_SIZE or LOCAL_RANK is no whole number ({error}); {START}") from error
    if not (0 <= rank < size and found.local_rank >= 0):
        raise UsageError(f"RANK {rank} of WORLD_SIZE {size}: ranks count from 0 to {size - 1}; {START}")
    return found


@contextmanager
def losses_told(*, while_computing: bool = False) -> Iterator[None]:
    """Turn what gloo and NCCL raise when a process is gone into one line.

    Args:
        while_computing: what is raised may be this process's own failure, which stays what it is.
    """
    try:
        yield
    except RuntimeError as error:
        if while_computing and not (isinstance(error, distributed.DistError) or LOSSES.search(str(error))):
            raise
        raise LostProcessError(
            f"another process of this training ended ({first_line(error)[:200]}); its own line says why; to go on: --resume"
        ) from error
