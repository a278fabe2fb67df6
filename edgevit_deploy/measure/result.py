"""What a benchmark measured, and what may be concluded from it: medians with intervals, ratios with a noise floor."""

import statistics
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Size

RegimeName = Literal["steady", "mixed", "paper"]
Verdict = Literal["faster", "slower", "no difference"]

MIN_BLOCKS = 5
"""Fewer blocks leave nothing to resample, and the interval of the median would be too narrow to be true."""

RESAMPLES = 2000
AT_ONCE = 100
BOOTSTRAP_SEED = 0

NOISY_IQR = 0.10
"""Interquartile range of the latencies, as a share of the median, above which a result is called noisy."""

NOISY_CONTROL = 0.05
"""A/A spread above which the whole run is called noisy. A quiet machine stays below 2 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """What the caches hold when a call is timed; the two give different ratios, so a figure names its regime.

    Attributes:
        name: of the regime.
        warm_calls: untimed calls at the start of each block.
        timed_calls: timed calls of each block, in a row.
        sittings: how often every file is loaded anew; the blocks are spread over them.
    """

    name: RegimeName
    warm_calls: int
    timed_calls: int
    sittings: int

    def blocks(self, runs: int) -> int:
        """Return how many blocks give at least `runs` timed calls.

        Raises:
            UsageError: fewer blocks than an interval can be drawn from, or more runs than MAX_RUNS.
        """
        if runs > MAX_RUNS:
            raise UsageError(f"--runs: at most {MAX_RUNS}, more were asked for")
        blocks = -(-runs // self.timed_calls)
        if blocks < MIN_BLOCKS:
            raise UsageError(
                f"--runs {runs}: the {self.name} regime times {self.timed_calls} a block and an interval needs {MIN_BLOCKS} "
                f"blocks; use --runs {MIN_BLOCKS * self.timed_calls} or more"
            )
        return blocks


REGIMES: dict[RegimeName, Regime] = {
    "steady": Regime(name="steady", warm_calls=2, timed_calls=4, sittings=4),
    "mixed": Regime(name="mixed", warm_calls=0, timed_calls=1, sittings=4),
    "paper": Regime(name="paper", warm_calls=2, timed_calls=5, sittings=1),
}

MAX_RUNS = 100_000
"""More than a day of a slow network; the intervals have long stopped shrinking."""

PAPER_RUNS = 50
"""The paper averages 50 forward passes (EdgeViTs, ECCV 2022, section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """What one file costs.

    Attributes:
        label: of the candidate.
        runtime: name of the session.
        threads: intra-op threads that the session was given.
        batch: images a run.
        image_size: (height, width) in pixels.
        load_ms: opening the session, median of the sittings; the runtime's library was imported and the file in the page cache.
        first_ms: the first run after that, median of the sittings.
        raw_ms: every timed run, wall clock, in order.
        calls_per_block: how many of them, in a row, are one block.
        sittings: how often the file was loaded anew; the blocks are spread over them, in order.
        cpu_ms: CPU time of a run over all threads of the process that runs the model, median of the blocks; None if not known.
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
    sittings: int
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
    def mean_ms(self) -> float:
        """The mean run, which the paper reports; a few slow runs move it, so nothing else here rests on it."""
        return statistics.mean(self.raw_ms)

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
        """95 % interval of the median, by bootstrap over sittings and their blocks."""
        return interval_95(self.resampled_medians())

    def resampled_medians(self) -> NDArray[np.float64]:
        """Return RESAMPLES medians, each of sittings drawn with replacement, and of blocks drawn from each.

        Blocks are drawn, not runs, because neighbouring runs share what disturbed them; and sittings, because all blocks of one
        share where its memory lies (docs/decisions/0012). The draw depends only on their numbers: results of one run of
        `benchmark` are resampled by the same rounds, so a drift cancels in their ratio.
        """
        blocks = np.asarray(self.raw_ms).reshape(-1, self.calls_per_block)
        places = np.array_split(np.arange(len(blocks)), min(self.sittings, len(blocks)))
        starts, sizes = (np.array([of(place) for place in places]) for of in (min, len))
        turns, rng = np.repeat(np.arange(len(places)), sizes), np.random.default_rng(BOOTSTRAP_SEED)

        def draw() -> NDArray[np.int64]:
            drawn = rng.integers(0, len(places), (AT_ONCE, len(places)))[:, turns]
            return starts[drawn] + rng.integers(0, sizes[drawn])

        some = (draw() for _ in range(RESAMPLES // AT_ONCE))  # all at once takes gigabytes
        return np.concatenate([np.median(blocks[rows].reshape(len(rows), -1), axis=1) for rows in some])

    def _observed(self, percent: float) -> float:
        return float(np.percentile(self.raw_ms, percent, method="higher"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One file against another: median over median, its 95 % interval, and the noise that it must exceed."""

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

    @property
    def control_cpu_ratio(self) -> float | None:
        """The A/A ratio of CPU times; None where they are not known."""
        return cpu_ratio(self.control, self.results[0])

    def comparisons(self) -> tuple[Comparison, ...]:
        """Compare every file after the first with the first."""
        return tuple(self.compare(result, self.results[0]) for result in self.results[1:])

    def compare(self, result: BenchmarkResult, base: BenchmarkResult) -> Comparison:
        """Compare two files of this run: latency of `result` over latency of `base`."""
        return Comparison(
            label=result.label,
            ratio=result.median_ms / base.median_ms,
            interval=interval_95(result.resampled_medians() / base.resampled_medians()),
            control_spread=self.control_spread,
        )

    def warnings(self) -> tuple[str, ...]:
        """Say what makes this run less than trustworthy."""
        texts = [
            f"{result.label}: noisy, half of its runs spread over {result.iqr_share:.0%} of the median (limit {NOISY_IQR:.0%})"
            for result in (*self.results, self.control)
            if result.iqr_share > NOISY_IQR
        ]
        if self.control_spread > NOISY_CONTROL:
            texts.append(
                f"noisy run: one file against itself differs by up to {self.control_spread:.1%} (limit {NOISY_CONTROL:.0%}); "
                "stop other work on this machine and raise --runs"
            )
        return tuple(texts)


def cpu_ratio(result: BenchmarkResult, other: BenchmarkResult) -> float | None:
    """Return the CPU time of one file over that of another; None where one of them is not known."""
    return result.cpu_ms / other.cpu_ms if result.cpu_ms is not None and other.cpu_ms else None


def interval_95(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
