"""What a run takes on this host, by its own counters: rounds of windows, shuffled, with windows of doing nothing between."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from edgevit_deploy.errors import MissingError
from edgevit_deploy.measure.benchmark import Candidate, block_order
from edgevit_deploy.measure.energy.meters import Meter
from edgevit_deploy.measure.energy.result import student_975
from edgevit_deploy.measure.energy.trace import Values
from edgevit_deploy.session import Session

WINDOW_S = 2.0
"""A counter advances about once a millisecond, so its own steps are a thousandth of a window at most."""

ROUNDS = 6
SETTLE_S = 0.5
"""Before doing nothing is measured: threads of a runtime still wait busily for a while."""

LOOK_S = 0.5
"""Between two looks at a counter that may stand still; the slowest, of some GPUs, advances ten times a second."""

WARM_UP_CALLS = 5
NOISY_IDLE = 0.05
"""By how much of the mean power idle may change during a run before that is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window: when its middle was, how long it was, the runs in it, and what a meter counted."""

    at_s: float
    seconds: float
    runs: int
    joules: float

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnergy:
    """What one file takes by one meter.

    Attributes:
        label: of the file.
        meter: what counted.
        windows: of runs.
        idle: windows of doing nothing, before the first round and after each.
    """

    label: str
    meter: str
    windows: tuple[Window, ...]
    idle: tuple[Window, ...]

    def idle_w(self, at_s: float) -> float:
        """Return idle power at some time, by the straight line that fits its windows best."""
        return self._idle_line.at_w(at_s)

    @property
    def energies_mj(self) -> tuple[float, ...]:
        """Energy of a run above idle, by window."""
        return tuple(1000 * (window.joules - self.idle_w(window.at_s) * window.seconds) / window.runs for window in self.windows)

    @property
    def mean_mj(self) -> float:
        """Energy of a run above idle."""
        return float(np.mean(self.energies_mj))

    @property
    def total_mj(self) -> float:
        """Energy of a run, idle power included: what a machine that does nothing else draws."""
        return 1000 * sum(window.joules for window in self.windows) / sum(window.runs for window in self.windows)

    @property
    def interval_mj(self) -> tuple[float, float]:
        """95 % interval of the mean above idle, by Student's t of what windows of runs and windows of idle scatter.

        Both means are uncertain on their own, with few degrees of freedom each; how many they have together is Welch's and
        Satterthwaite's approximation.
        """
        energies = np.array(self.energies_mj)
        runs, line = len(energies), self._idle_line
        per_watt = 1000 * float(np.mean([window.seconds / window.runs for window in self.windows]))
        own = float(energies.var(ddof=1)) / runs
        beneath = (per_watt * line.error_w(float(np.mean([window.at_s for window in self.windows])))) ** 2
        if not own + beneath:
            return self.mean_mj, self.mean_mj
        freedom = (own + beneath) ** 2 / (own**2 / (runs - 1) + beneath**2 / line.freedom)
        half = student_975(freedom) * math.sqrt(own + beneath)
        return self.mean_mj - half, self.mean_mj + half

    @property
    def _idle_line(self) -> "_Line":
        return _Line(at_s=np.array([window.at_s for window in self.idle]), watts=np.array([window.watts for window in self.idle]))

    @property
    def mean_w(self) -> float:
        """Mean power above idle while it runs."""
        return float(np.mean([window.watts - self.idle_w(window.at_s) for window in self.windows]))

    @property
    def warning(self) -> str:
        """Say that idle power has changed; nothing where it has not."""
        idle = [window.watts for window in self.idle]
        if max(idle) - min(idle) <= NOISY_IDLE * float(np.mean([window.watts for window in self.windows])):
            return ""
        return (
            f"{self.meter}: idle power was between {min(idle):.1f} W and {max(idle):.1f} W; stop other work on this machine, and "
            "let it cool"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    """The straight line of least squares through idle power over time: a machine warms up."""

    at_s: Values
    watts: Values

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the scatter about it."""
        return len(self.watts) - 2

    @property
    def _slope(self) -> float:
        away_s = self.at_s - self.at_s.mean()
        return float(away_s @ self.watts / (away_s @ away_s))

    def at_w(self, at_s: float) -> float:
        """Return the power at some time."""
        return float(self.watts.mean()) + self._slope * (at_s - float(self.at_s.mean()))

    def error_w(self, at_s: float) -> float:
        """Return the standard error of the power at some time."""
        away_s = self.at_s - self.at_s.mean()
        rest = self.watts - self.watts.mean() - self._slope * away_s
        share = 1 / len(self.watts) + (at_s - float(self.at_s.mean())) ** 2 / float(away_s @ away_s)
        return math.sqrt(float(rest @ rest) / self.freedom * share)


@dataclass(slots=True, kw_only=True)
class _Watch:
    """Reads all meters and the clock together."""

    meters: Sequence[Meter]
    clock: Callable[[], float]
    read: list[float] = field(default_factory=list)
    since_s: float = 0.0

    def start(self) -> None:
        self.read = [meter.read_j() for meter in self.meters]
        self.since_s = self.clock()

    def stop(self, runs: int) -> list[Window]:
        end_s, ends = self.clock(), [meter.read_j() for meter in self.meters]
        seconds = end_s - self.since_s
        return [
            Window(at_s=(self.since_s + end_s) / 2, seconds=seconds, runs=runs, joules=end - first)
            for first, end in zip(self.read, ends, strict=True)
        ]


def check_counting(meters: Sequence[Meter], sleep: Callable[[float], None] = time.sleep) -> None:
    """Refuse counters that stand still, as a virtual machine's do, before anything is converted or timed.

    Raises:
        MissingError: one has not advanced.
        RunError: one can no longer be read.
    """
    if not meters:
        return
    before = [meter.read_j() for meter in meters]
    sleep(LOOK_S)
    for meter, first in zip(meters, before, strict=True):
        _check_advanced(meter, meter.read_j() - first)


def measure_host_energy(
    candidates: Sequence[Candidate],
    meters: Sequence[Meter],
    *,
    threads: int,
    seed: int,
    step: Callable[[str], None],
    window_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[HostEnergy, ...]:
    """Measure what files take, all loaded at once; counters see the whole machine, so idle is measured between the rounds.

    Args:
        candidates: the files.
        meters: the counters.
        threads: intra-op threads for every session.
        seed: of the order of the windows.
        step: told what is being done.
        window_s: how long each file runs in each round; WINDOW_S when None.
        clock: tells seconds.
        sleep: does nothing for some seconds.

    Raises:
        MissingError: a counter stands still.
        RunError: a runtime could not run a file, or a counter can no longer be read.
    """
    window_s = WINDOW_S if window_s is None else window_s
    watch = _Watch(meters=meters, clock=clock)
    windows: list[list[list[Window]]] = [[] for _ in candidates]
    with ExitStack() as stack:
        sessions = [stack.enter_context(candidate.session(threads)) for candidate in candidates]
        counts = [_runs_in(window_s, session, candidate) for session, candidate in zip(sessions, candidates, strict=True)]
        idle = [_idle(watch, window_s, sleep, step)]
        order = block_order(len(candidates), ROUNDS, seed) if len(candidates) > 1 else [0] * ROUNDS
        for number, index in enumerate(order):
            step(f"energy: window {number + 1} of {len(order)}: {candidates[index].label}")
            watch.start()
            sessions[index].time_runs(candidates[index].feeds, counts[index])
            windows[index].append(watch.stop(counts[index]))
            if (number + 1) % len(candidates) == 0:
                idle.append(_idle(watch, window_s, sleep, step))
    return tuple(
        HostEnergy(
            label=candidate.label,
            meter=meter.name,
            windows=tuple(entry[place] for entry in mine),
            idle=tuple(entry[place] for entry in idle),
        )
        for candidate, mine in zip(candidates, windows, strict=True)
        for place, meter in enumerate(meters)
    )


def _runs_in(window_s: float, session: Session, candidate: Candidate) -> int:
    run_s = float(np.median(session.time_runs(candidate.feeds, WARM_UP_CALLS))) / 1000
    return max(1, round(window_s / max(run_s, 1e-6)))


def _idle(watch: _Watch, window_s: float, sleep: Callable[[float], None], step: Callable[[str], None]) -> list[Window]:
    step("energy: doing nothing")
    sleep(min(SETTLE_S, window_s))
    watch.start()
    sleep(window_s)
    idle = watch.stop(0)
    for meter, window in zip(watch.meters, idle, strict=True):
        _check_advanced(meter, window.joules)
    return idle


def _check_advanced(meter: Meter, joules: float) -> None:
    if joules <= 0:
        raise MissingError(f"{meter.name}: the counter stands still, so it counts nothing here; drop --energy")
