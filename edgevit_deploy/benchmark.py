"""Latency, load time and memory of files on their runtimes: interleaved, against an A/A control, every raw time kept.

A latency alone proves nothing: clocks, caches and other processes move it by more than most rewrites do. So all files are
loaded at once and run in short blocks, in a shuffled order in which no file follows itself, and the first file takes part
twice: what those two sessions of one file differ by is noise, and a difference no larger than that is no difference.
(Alternating the order instead flattered the first and the last entry by 3 to 8 %.)
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import Size, TensorSpec

RegimeName = Literal["steady", "mixed"]
Verdict = Literal["faster", "slower", "no difference"]

WARM_UP_CALLS = 10
MIN_BLOCKS = 5
"""Fewer blocks leave nothing to resample, and the interval of the median would be too narrow to be true."""

RESAMPLES = 2000
BOOTSTRAP_SEED = 0

NOISY_IQR = 0.10
"""Interquartile range of the latencies, as a share of the median, above which a result is called noisy."""

NOISY_CONTROL = 0.05
"""A/A spread above which the whole run is called noisy. A quiet machine stays below 2 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """What the caches hold when a call is timed; the two give different ratios, so a figure names its regime."""

    name: RegimeName
    warm_calls: int
    timed_calls: int

    def blocks(self, runs: int) -> int:
        """Return how many blocks give at least `runs` timed calls."""
        return -(-runs // self.timed_calls)


REGIMES: dict[RegimeName, Regime] = {
    "steady": Regime(name="steady", warm_calls=2, timed_calls=4),
    "mixed": Regime(name="mixed", warm_calls=0, timed_calls=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One file to time.

    Attributes:
        label: what reports call it.
        session_type: the runtime that executes it.
        path: the model file, or directory.
        inputs: what it takes.
        outputs: what it returns.
        feeds: float32 (batch, 3, height, width) by input name; the same for every call.
    """

    label: str
    session_type: type[Session]
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: Mapping[str, Array]

    def session(self, threads: int) -> Session:
        """Return a session of this file, not yet open."""
        return self.session_type(self.path, inputs=self.inputs, outputs=self.outputs, threads=threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """What one file costs.

    Attributes:
        label: of the candidate.
        runtime: name of the session.
        threads: intra-op threads that the session was given.
        batch: images a run.
        image_size: (height, width) in pixels.
        load_ms: opening the session; the runtime's library was imported and the file was in the page cache.
        first_ms: the first run after that.
        raw_ms: every timed run, wall clock, in order.
        calls_per_block: how many of them, in a row, are one block.
        cpu_ms: CPU time of a run over all threads, median of the blocks; None when the model runs in another process.
        size_bytes: of the file on disk.
        peak_memory_bytes: peak resident memory of a whole process that runs only this file, None where it was not measured.
        own_process: the runtime runs the model in a child process of its own, in every measurement here.
    """

    label: str
    runtime: str
    threads: int | None
    batch: int
    image_size: Size
    load_ms: float
    first_ms: float
    raw_ms: tuple[float, ...]
    calls_per_block: int
    cpu_ms: float | None
    size_bytes: int
    peak_memory_bytes: int | None
    own_process: bool

    @property
    def min_ms(self) -> float:
        """The fastest run."""
        return min(self.raw_ms)

    @property
    def median_ms(self) -> float:
        """The median run."""
        return statistics.median(self.raw_ms)

    @property
    def p90_ms(self) -> float:
        """A run that was really seen and that at least 90 % of the runs do not exceed."""
        return self._observed(90)

    @property
    def p99_ms(self) -> float:
        """The same for 99 %; of fewer than 100 runs it is the slowest."""
        return self._observed(99)

    @property
    def cv(self) -> float:
        """Coefficient of variation: standard deviation over mean."""
        return float(np.std(self.raw_ms, ddof=1) / np.mean(self.raw_ms))

    @property
    def iqr_share(self) -> float:
        """Interquartile range over median."""
        low, high = np.percentile(self.raw_ms, (25, 75))
        return float((high - low) / self.median_ms)

    @property
    def images_per_s(self) -> float:
        """Throughput of one session that is fed without a pause."""
        return 1000 * self.batch / self.median_ms

    @property
    def median_interval_ms(self) -> tuple[float, float]:
        """95 % interval of the median, by bootstrap over blocks."""
        return interval_95(self.resampled_medians())

    def resampled_medians(self) -> NDArray[np.float64]:
        """Return RESAMPLES medians, each of as many blocks drawn with replacement.

        Blocks are drawn, not runs, because neighbouring runs share what disturbed them. The draw depends only on the number
        of blocks: results of one run of `benchmark` are resampled by the same rounds, so a drift cancels in their ratio.
        """
        blocks = np.asarray(self.raw_ms).reshape(-1, self.calls_per_block)
        draws = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(blocks), (RESAMPLES, len(blocks)))
        return np.array([np.median(blocks[draw]) for draw in draws])

    def _observed(self, percent: float) -> float:
        return float(np.percentile(self.raw_ms, percent, method="higher"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One file against the first: median over median, its 95 % interval, and the noise that it must exceed."""

    label: str
    ratio: float
    interval: tuple[float, float]
    control_spread: float

    @property
    def verdict(self) -> Verdict:
        """Faster or slower only when the whole interval lies outside the A/A spread."""
        if self.interval[0] > 1 + self.control_spread:
            return "slower"
        if self.interval[1] < 1 / (1 + self.control_spread):
            return "faster"
        return "no difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One interleaved run: the results in the order given, and the control, a second session of the first file."""

    regime: Regime
    seed: int
    results: tuple[BenchmarkResult, ...]
    control: BenchmarkResult

    @property
    def control_spread(self) -> float:
        """How far from 1 the 95 % interval of the A/A ratio reaches: differences up to this are noise."""
        low, high = interval_95(self.control.resampled_medians() / self.results[0].resampled_medians())
        return max(abs(low - 1), abs(high - 1))

    def comparisons(self) -> tuple[Comparison, ...]:
        """Compare every file after the first with the first."""
        first, spread = self.results[0], self.control_spread
        base = first.resampled_medians()
        return tuple(
            Comparison(
                label=result.label,
                ratio=result.median_ms / first.median_ms,
                interval=interval_95(result.resampled_medians() / base),
                control_spread=spread,
            )
            for result in self.results[1:]
        )

    def warnings(self) -> tuple[str, ...]:
        """Say what makes this run less than trustworthy."""
        texts = [
            f"{result.label}: noisy, the middle half of its runs spans {result.iqr_share:.0%} of the median (over {NOISY_IQR:.0%})"
            for result in (*self.results, self.control)
            if result.iqr_share > NOISY_IQR
        ]
        if self.control_spread > NOISY_CONTROL:
            texts.append(
                f"noisy run: one file against itself differs by up to {self.control_spread:.1%} (over {NOISY_CONTROL:.0%}); "
                "stop other work on this machine and raise --runs"
            )
        return tuple(texts)


def benchmark(
    candidates: Sequence[Candidate],
    *,
    threads: int,
    runs: int,
    regime: Regime,
    seed: int,
    step: Callable[[str], None],
) -> Benchmark:
    """Time files against each other in one interleaved run.

    Args:
        candidates: at least one; the first is what the others are compared with, and the A/A control.
        threads: intra-op threads for every session.
        runs: timed runs of each file, rounded up to whole blocks.
        regime: what a block is.
        seed: of the order of the blocks.
        step: told the name of each step as it starts.

    Raises:
        RunError: a runtime could not load or run a file.
    """
    with ExitStack() as stack:
        lanes = []
        for candidate in (*candidates, replace(candidates[0], label=f"{candidates[0].label} again (A/A)")):
            step(f"loading {candidate.label}")
            lanes.append(_Lane.open(candidate, threads, stack))
        step(f"warming up, {WARM_UP_CALLS} runs each")
        for lane in lanes:
            lane.session.time_runs(lane.candidate.feeds, WARM_UP_CALLS)
        order = block_order(len(lanes), regime.blocks(runs), seed)
        step(f"timing {len(order)} blocks")
        for index in order:
            lanes[index].run_block(regime)
        results = [lane.result(regime) for lane in lanes]
    step("measuring memory")
    measured = [
        result if result.own_process else replace(result, peak_memory_bytes=peak_memory_bytes(candidate, threads))
        for candidate, result in zip(candidates, results[:-1], strict=True)
    ]
    return Benchmark(regime=regime, seed=seed, results=tuple(measured), control=results[-1])


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


def interval_95(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def peak_memory_bytes(candidate: Candidate, threads: int) -> int | None:
    """Load and run one file in a fresh process and return that process's peak resident memory, in bytes.

    Of this process it would be the sum of all files ever loaded. Python and the runtime's libraries are counted: that is
    what the operating system must find. None off Linux, where no figure is as sure, and when the process died.
    """
    if sys.platform != "linux":
        return None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak_memory, args=(sender, candidate, threads), daemon=True)
    try:
        process.start()
        sender.close()
        peak: int = receiver.recv()
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
    return peak


def _send_peak_memory(sender: Connection, candidate: Candidate, threads: int) -> None:
    with candidate.session(threads) as session:
        session.time_runs(candidate.feeds, 2)
        # VmHWM, since getrusage's ru_maxrss starts at what the parent used before it started this process.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        sender.send(1024 * int(status.partition("VmHWM:")[2].split()[0]))


@dataclass(slots=True, kw_only=True)
class _Lane:
    """One open session and what was measured on it so far."""

    candidate: Candidate
    session: Session
    load_ms: float
    first_ms: float
    raw_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @classmethod
    def open(cls, candidate: Candidate, threads: int, stack: ExitStack) -> Self:
        start_ns = time.perf_counter_ns()
        session = stack.enter_context(candidate.session(threads))
        load_ms = (time.perf_counter_ns() - start_ns) / 1e6
        (first_ms,) = session.time_runs(candidate.feeds, 1)
        return cls(candidate=candidate, session=session, load_ms=load_ms, first_ms=first_ms)

    def run_block(self, regime: Regime) -> None:
        feeds = self.candidate.feeds
        self.session.time_runs(feeds, regime.warm_calls)
        start_ns = time.process_time_ns()
        self.raw_ms += self.session.time_runs(feeds, regime.timed_calls)
        self.cpu_ms.append((time.process_time_ns() - start_ns) / 1e6 / regime.timed_calls)

    def result(self, regime: Regime) -> BenchmarkResult:
        (images,) = self.candidate.feeds.values()
        peak = self.session.peak_memory_bytes()
        return BenchmarkResult(
            label=self.candidate.label,
            runtime=self.session.name,
            threads=self.session.threads,
            batch=images.shape[0],
            image_size=(images.shape[2], images.shape[3]),
            load_ms=self.load_ms,
            first_ms=self.first_ms,
            raw_ms=tuple(self.raw_ms),
            calls_per_block=regime.timed_calls,
            cpu_ms=statistics.median(self.cpu_ms) if peak is None else None,
            size_bytes=_size_bytes(self.candidate.path),
            peak_memory_bytes=peak,
            own_process=peak is not None,
        )


def _size_bytes(path: Path) -> int:
    files: list[Any] = [path] if path.is_file() else [inside for inside in path.rglob("*") if inside.is_file()]
    return sum(file.stat().st_size for file in files)
