"""Starts a training: in this process, in several on this machine, or as one of those that torchrun has started.

The first of several is this process itself: it speaks and writes. The others are fresh interpreters (`process.child`) that are
handed the job and end with it; why one of them failed comes back as one line.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import torch

from edgevit_deploy.errors import DeployError, MissingError, RunError, UsageError, first_line
from edgevit_deploy.process.child import end_group, environment, how_it_ended, in_a_worker, python
from edgevit_deploy.process.cores import usable_cores
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.train.draws import generators_kept
from edgevit_deploy.train.job import OnEpoch, Tell, TrainingJob, TrainingRun, not_shown, not_told
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.session import Session
from edgevit_deploy.train.timm_parts import timm_part
from edgevit_deploy.train.world import ALONE, LostProcessError, SaidElsewhereError, World, joined, launched

FOLLOW = "from edgevit_deploy.train.launch import follow; follow()"
READY = b"ready\n"
"""What each of the others says when it is about to meet the first."""

LEAVE_TIMEOUT_S = 10.0

LEAST_PART = 16
"""Pictures of a part of a batch, below which no process is started that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What another process of this machine is handed: the job, and where it meets the others."""

    job: TrainingJob
    rank: int
    size: int
    address: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why another process ended, as it says itself."""

    text: str
    exit_code: int


def train(job: TrainingJob, *, processes: int | None, tell: Tell, on_epoch: OnEpoch) -> TrainingRun:
    """Train.

    Args:
        job: what is asked for.
        processes: that train on this machine; as many as there are cores or GPUs when None. torchrun decides it itself.
        tell: is told how far it is; in the first process only.
        on_epoch: is given each evaluation; in the first process only.

    Raises:
        UsageError: bad input, or what contradicts itself.
        MissingError: no timm, or no such device.
        RunError: a process ended, or the loss is no number.
        SaidElsewhereError: in all but the first process of torchrun, where that one says what is wrong.
    """
    timm_part("data")
    job.recipe.check()
    job.check()
    started = launched()
    if started is not None:
        if processes is not None:
            raise UsageError("--processes: torchrun has started this process and decides how many there are; drop it")
        device = find_device(job.device, started.local_rank)
        with joined(started.rank, started.size, "env://", device) as world:
            return _train_here(job, world, device, tell, on_epoch)
    device = find_device(job.device, 0)
    count = _processes(processes, job.recipe, device)
    if count == 1:
        return _train_here(job, ALONE, device, tell, on_epoch)
    threads = _threads(count)
    with scratch_folder() as folder, _limited_to(threads):
        address = (folder / "meeting").as_uri()
        places = [Place(job=job, rank=rank, size=count, address=address, threads=threads) for rank in range(1, count)]
        with _followers(places) as followers:
            try:
                _wait_until_ready(followers)
                with joined(0, count, address, device) as world:
                    return _train_here(job, world, device, tell, on_epoch)
            except LostProcessError as error:
                raise _reason(followers, error) from error


def find_device(name: str, index: int) -> torch.device:
    """Return where to compute.

    Args:
        name: `cpu`, `cuda` or `auto`.
        index: of the GPU.

    Raises:
        UsageError: no such name.
        MissingError: no GPU of that index.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu or cuda")
    gpus = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if index >= gpus:
        raise MissingError(
            f"--device {name}: {gpus} GPUs that PyTorch can use, and process {index} of this machine needs one more; "
            "start fewer processes, or give --device cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def follow() -> None:
    """Be one of the other processes: read a `Place` from stdin, say on stdout that it is ready, train, and say why it failed."""
    place: Place = pickle.load(sys.stdin.buffer)  # of the process that started this one
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    torch.set_num_threads(place.threads)
    try:
        device = find_device(place.job.device, place.rank)
        _say(replies, READY)
        with joined(place.rank, place.size, place.address, device) as world:
            _train_here(place.job, world, device, not_told, not_shown)
    except (SaidElsewhereError, LostProcessError):
        sys.exit(1)
    except DeployError as error:
        _fail(replies, Failure(text=str(error), exit_code=error.exit_code))
        sys.exit(error.exit_code)
    except Exception as error:  # whatever it is, the first process tells it
        _fail(replies, Failure(text=f"process {place.rank}: {type(error).__name__}: {first_line(error)}", exit_code=1))
        raise


def _train_here(job: TrainingJob, world: World, device: torch.device, tell: Tell, on_epoch: OnEpoch) -> TrainingRun:
    with generators_kept():
        return Session(job, world, device, tell, on_epoch).run()


def _processes(asked: int | None, recipe: Recipe, device: torch.device) -> int:
    """Return how many processes train: what was asked for, else the most that share a batch evenly, in parts worth it."""
    if asked is not None:
        if asked < 1:
            raise UsageError(f"--processes {asked}: expected at least 1")
        if device.type == "cuda" and asked > torch.cuda.device_count():
            raise UsageError(
                f"--processes {asked}: each needs a GPU of its own, and PyTorch can use {torch.cuda.device_count()}; give fewer, "
                "or --device cpu"
            )
        return asked
    most = torch.cuda.device_count() if device.type == "cuda" else usable_cores()
    parts = recipe.batch_size // LEAST_PART
    most = min(most, parts // recipe.accumulate)
    return next((count for count in range(most, 1, -1) if recipe.batch_size % (2 * count * recipe.accumulate) == 0), 1)


def _threads(processes: int) -> int:
    return max(1, usable_cores() // processes)


@contextmanager
def _limited_to(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _followers(places: list[Place]) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Start the other processes; none of them outlives this."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.extend(_start(place) for place in places)
        yield started
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEAVE_TIMEOUT_S)
    finally:
        for process in started:
            end_group(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _start(place: Place) -> "subprocess.Popen[bytes]":
    try:
        process = subprocess.Popen(
            python(FOLLOW),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | {"OMP_NUM_THREADS": str(place.threads)},
            start_new_session=not in_a_worker(),  # Ctrl-C reaches only the first, which ends the others
        )
    except OSError as error:
        raise RunError(
            f"process {place.rank} of the training cannot be started ({error.strerror}); give --processes 1"
        ) from error
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        pickle.dump(place, pipe)
    return process


def _wait_until_ready(followers: "list[subprocess.Popen[bytes]]") -> None:
    """Wait for each of the others to say that it is about to meet this one: one that has ended would be met in vain.

    Raises:
        DeployError: it has ended; with its own reason where it gave one.
    """
    for rank, process in enumerate(followers, start=1):
        assert process.stdout is not None
        said = process.stdout.readline()
        if said != READY:
            raise _told(said) or RunError(
                f"process {rank} of the training {how_it_ended(process.wait())} before it began; give --processes 1"
            )


def _reason(followers: "list[subprocess.Popen[bytes]]", lost: LostProcessError) -> DeployError:
    """Return why a process that was lost ended."""
    for rank, process in enumerate(followers, start=1):
        try:
            status = process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        assert process.stdout is not None
        if told := _told(process.stdout.read()):
            return told
        if status < 0:
            return RunError(f"process {rank} of the training {how_it_ended(status)}; to go on: --resume")
    return lost


def _told(said: bytes) -> DeployError | None:
    """Return the failure that another process has told of."""
    if not said:
        return None
    failure = msgspec.json.decode(said, type=Failure)
    error = DeployError(failure.text)
    error.exit_code = failure.exit_code
    return error


def _fail(pipe: BinaryIO, failure: Failure) -> None:
    _say(pipe, msgspec.json.encode(failure))


def _say(pipe: BinaryIO, content: bytes) -> None:
    pipe.write(content)
    pipe.flush()
