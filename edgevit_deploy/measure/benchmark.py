"""Latency, load time and memory of files on their runtimes: interleaved, against an A/A control, every raw time kept.

A latency alone proves nothing: clocks, caches and other processes move it by more than most rewrites do. So all files are
loaded at once and run in short blocks, in a shuffled order in which no file follows itself, and the first file takes part
twice: what those two sessions of one file differ by is noise, and a difference no larger than that is no difference.
(Alternating the order instead flattered the first and the last entry by 3 to 8 %.) Where a session's memory happens to lie
moves every one of its runs by up to 4 %, so a run has several sittings: in each, every file is loaded anew, in another order.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Regime
from edgevit_deploy.process.session_child import isolated
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import TensorSpec
from edgevit_deploy.workbench import feeds_of

WARM_UP_CALLS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One file to time.

    Attributes:
        label: what reports call it.
        session_type: the runtime that executes it.
        path: the model file, or directory.
        inputs: what it takes.
        outputs: what it returns.
        feeds: (batch, 3, height, width) by input name; the same for every call.
    """

    label: str
    session_type: type[Session]
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: Mapping[str, Array]

    @classmethod
    def of(cls, label: str, session_type: type[Session], artifact: Artifact, images: Images, batch: int) -> Self:
        """Return a file to time on the first `batch` of some images (n, 3, height, width)."""
        return cls(
            label=label,
            session_type=session_type,
            path=artifact.path,
            inputs=artifact.inputs,
            outputs=artifact.outputs,
            feeds=feeds_of(artifact, images, batch),
        )

    def session(self, threads: int) -> Session:
        """Return a session of this file, not yet open."""
        return self.session_type(self.path, inputs=self.inputs, outputs=self.outputs, threads=threads)


def benchmark(
    candidates: Sequence[Candidate],
    *,
    threads: int,
    runs: int,
    regime: Regime,
    seed: int,
    step: Callable[[str], None],
    measure_memory: bool = True,
) -> Benchmark:
    """Time files against each other in one interleaved run.

    Args:
        candidates: at least one; the first is what the others are compared with, and the A/A control.
        threads: intra-op threads for every session.
        runs: timed runs of each file, rounded up to whole blocks.
        regime: what a block is.
        seed: of the order of the blocks.
        step: told the name of each step as it starts.
        measure_memory: run each file once more, in a process of its own, for its peak memory.

    Raises:
        UsageError: too few runs.
        RunError: a runtime could not load or run a file.
    """
    entries = (*candidates, replace(candidates[0], label=f"{candidates[0].label} again (A/A)"))
    tallies = [_Tally(candidate=candidate) for candidate in entries]
    order = np.array(block_order(len(tallies), regime.blocks(runs), seed)).reshape(-1, len(tallies))
    loading_order = np.random.default_rng(seed)
    sittings = np.array_split(order, min(regime.sittings, len(order)))
    for number, blocks in enumerate(sittings, start=1):
        with ExitStack() as stack:
            for index in loading_order.permutation(len(tallies)):
                step(f"sitting {number} of {len(sittings)}: loading {tallies[index].candidate.label}")
                tallies[index].load(threads, stack)
            step(f"sitting {number} of {len(sittings)}: warming up, {WARM_UP_CALLS} runs each")
            for tally in tallies:
                tally.session.time_runs(tally.candidate.feeds, WARM_UP_CALLS)
            step(f"sitting {number} of {len(sittings)}: timing {blocks.size} blocks")
            for index in blocks.flat:
                tallies[index].run_block(regime)
            for tally in tallies:
                tally.leave()
    *measured, control = [tally.result(regime) for tally in tallies]
    if measure_memory:
        step("measuring memory")
        measured = [
            result if result.own_process else replace(result, peak_memory_bytes=peak_memory_bytes(candidate, threads))
            for candidate, result in zip(candidates, measured, strict=True)
        ]
    return Benchmark(regime=regime, seed=seed, results=tuple(measured), control=control)


def block_order(entries: int, rounds: int, seed: int) -> list[int]:
    """Return the order of the blocks: every entry once a round, shuffled anew each round, none twice in a row."""
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(rounds):
        shuffled = rng.permutation(entries).tolist()
        while order and shuffled[0] == order[-1]:
            shuffled = rng.permutation(entries).tolist()
        order += shuffled
    return order


def peak_memory_bytes(candidate: Candidate, threads: int) -> int | None:
    """Load and run one file in a fresh process and return that process's peak resident memory, in bytes.

    Of this process it would be the sum of all files ever loaded. Python and the runtime's libraries are counted: that is
    what the operating system must find. None off Linux, where no figure is as sure, and where the process died.
    """
    if sys.platform != "linux":
        return None
    session_type = candidate.session_type
    alone = replace(candidate, session_type=isolated(session_type, f"{session_type.__module__}:{session_type.__qualname__}"))
    try:
        with alone.session(threads) as session:
            session.time_runs(candidate.feeds, 2)
            return session.peak_memory_bytes()
    except RunError:
        return None


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was measured on one file so far, over all sittings, and the session of the present one."""

    candidate: Candidate
    load_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    raw_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    child_peak_bytes: list[int] = field(default_factory=list)
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The open session."""
        assert self._session is not None
        return self._session

    def load(self, threads: int, stack: ExitStack) -> None:
        """Open a session, which closes with `stack`, and run it for the first time."""
        start_ns = time.perf_counter_ns()
        self._session = stack.enter_context(self.candidate.session(threads))
        self.load_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        self.first_ms += self.session.time_runs(self.candidate.feeds, 1)

    def run_block(self, regime: Regime) -> None:
        feeds = self.candidate.feeds
        self.session.time_runs(feeds, regime.warm_calls)
        start_ns = self.session.cpu_time_ns()
        self.raw_ms += self.session.time_runs(feeds, regime.timed_calls)
        end_ns = self.session.cpu_time_ns()
        if start_ns is not None and end_ns is not None:
            self.cpu_ms.append((end_ns - start_ns) / 1e6 / regime.timed_calls)

    def leave(self) -> None:
        """Ask what only an open session knows."""
        if (peak := self.session.peak_memory_bytes()) is not None:
            self.child_peak_bytes.append(peak)

    def result(self, regime: Regime) -> BenchmarkResult:
        (images,) = self.candidate.feeds.values()
        return BenchmarkResult(
            label=self.candidate.label,
            runtime=self.session.name,
            threads=self.session.threads,
            batch=images.shape[0],
            image_size=(images.shape[2], images.shape[3]),
            load_ms=statistics.median(self.load_ms),
            first_ms=statistics.median(self.first_ms),
            raw_ms=tuple(self.raw_ms),
            calls_per_block=regime.timed_calls,
            sittings=regime.sittings,
            cpu_ms=statistics.median(self.cpu_ms) if self.cpu_ms else None,
            size_bytes=_size_bytes(self.candidate.path),
            peak_memory_bytes=max(self.child_peak_bytes, default=None),
            own_process=bool(self.child_peak_bytes),
        )


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
