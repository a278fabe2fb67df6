"""Power over time, from whatever a meter gives: samples with or without times, or counters of energy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError

Values = NDArray[np.float64]

MIN_SAMPLES = 20
MOST = 1e12
"""Of seconds and joules; watts and volts stay far below."""

MAX_CELLS = 50_000_000
"""Of a trace: ten seconds of the fastest meter known."""

CELLS_PER_SAMPLE, FEW_CELLS = 20, 10_000
"""A trace of more cells than a few, and than so many for each sample, has times that jump, and would be mostly made up."""

GAP_SPACINGS = 4.0
"""Samples further apart than so many usual spacings have others missing between them; uneven clocks stay below."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Mean power in cells of equal length.

    Attributes:
        power_w: of each cell; where nothing was measured, a line between its neighbours.
        known: whether a cell was measured.
        cell_s: length of a cell.
        start_s: where the first cell begins, by the file's own clock.
        exact: each value is a true mean, from a counter of energy; of a sample it is not known what it says between its times.
        readings: the channel that saturates first, as the meter gave it; None for counters, which do not saturate.
        source: what the file is, for people.
        notes: what was decided while it was read.
    """

    power_w: Values
    known: NDArray[np.bool_]
    cell_s: float
    start_s: float
    exact: bool
    readings: Values | None
    source: str
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """From the first cell to the last."""
        return len(self.power_w) * self.cell_s

    def times_s(self) -> Values:
        """Return the middle of each cell, by the file's clock."""
        return np.asarray(self.start_s + (np.arange(len(self.power_w)) + 0.5) * self.cell_s, np.float64)

    def between(self, start_s: float | None, end_s: float | None) -> "Trace":
        """Return the part between two times of the file's clock.

        Raises:
            UsageError: it has too few cells.
        """
        if start_s is None and end_s is None:
            return self
        if not all(time is None or abs(time) < MOST for time in (start_s, end_s)):
            raise UsageError("--start and --end: give seconds, as the file counts them")
        first, last = (
            None if time is None else int(np.clip(np.round((time - self.start_s) / self.cell_s), 0, len(self.power_w)))
            for time in (start_s, end_s)
        )
        part = replace(
            self,
            power_w=self.power_w[first:last],
            known=self.known[first:last],
            start_s=self.start_s + (first or 0) * self.cell_s,
            readings=None if self.readings is None else _readings_between(self, first, last),
        )
        if len(part.power_w) < MIN_SAMPLES:
            raise UsageError(
                f"--start and --end leave {len(part.power_w)} samples of a trace from {self.start_s:.3f} s to "
                f"{self.start_s + self.duration_s:.3f} s; give times between these"
            )
        return part


def _readings_between(trace: Trace, first: int | None, last: int | None) -> Values | None:
    """Return the readings of some cells; those of a trace with gaps do not match its cells one by one, and all are kept."""
    readings = trace.readings
    return readings[first:last] if readings is not None and len(readings) == len(trace.power_w) else readings


def product(current_a: Values, volts: Values | float) -> Values:
    """Return power; where figures are beyond all measure it is infinite, which no trace takes."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(current_a * volts, np.float64)


def of_samples(
    power_w: Values,
    *,
    source: str,
    readings: Values,
    rate_hz: float | None = None,
    times_s: Values | None = None,
    notes: Sequence[str] = (),
) -> Trace:
    """Make a trace of samples, at a rate or with a time each; samples that are not numbers are missing.

    Raises:
        UsageError: too few samples, times that do not increase, or power that no meter reads.
    """
    if len(power_w) < MIN_SAMPLES:
        raise UsageError(f"the trace has {len(power_w)} samples; {MIN_SAMPLES} or more are needed")
    if times_s is None:
        assert rate_hz is not None
        times_s = np.asarray((np.arange(len(power_w)) + 0.5) / rate_hz, np.float64)
    valid = np.isfinite(power_w) & np.isfinite(times_s)
    return _of_numbers(times_s[valid], power_w[valid], readings[valid], source, tuple(notes))


def _of_numbers(times_s: Values, power_w: Values, readings: Values, source: str, notes: tuple[str, ...]) -> Trace:
    if len(power_w) < MIN_SAMPLES or np.abs(power_w).max() > 1e6 or np.abs(times_s).max() > MOST:
        raise UsageError(
            f"{len(power_w)} of the trace's samples are numbers, up to {np.abs(power_w).max(initial=0):.3g} W; name the right "
            "columns and units (--power COLUMN:mW, ...)"
        )
    spacing = np.diff(times_s)
    if spacing.min() <= 0:
        row = int(np.argmin(spacing > 0)) + 1
        raise UsageError(
            f"times do not increase at sample {row + 1} ({times_s[row - 1]:.6g} s, then {times_s[row]:.6g} s); sort the file, or "
            "give --rate HZ in place of its times"
        )
    cell_s = float(np.median(spacing))
    even = times_s[0] + np.arange(len(times_s)) * spacing.mean()
    if np.abs(times_s - even).max() < cell_s / 4:
        cell_s = float(spacing.mean())
        return Trace(
            power_w=power_w,
            known=np.ones(len(power_w), bool),
            cell_s=cell_s,
            start_s=float(times_s[0]) - cell_s / 2,
            exact=False,
            readings=readings,
            source=source,
            notes=notes,
        )
    return _on_a_grid(times_s, power_w, cell_s, source, readings, notes)


def _on_a_grid(times_s: Values, power_w: Values, cell_s: float, source: str, readings: Values, notes: tuple[str, ...]) -> Trace:
    """Spread uneven samples over cells: each stands for the time up to halfway its neighbours, but not into a gap."""
    spacing = np.diff(times_s)
    gap = spacing > GAP_SPACINGS * cell_s
    half = np.where(gap, cell_s, spacing) / 2
    left, right = times_s.copy(), times_s.copy()
    left[1:] -= half
    left[0] -= cell_s / 2
    right[:-1] += half
    right[-1] += cell_s / 2
    knots = np.column_stack([left, right]).ravel()
    covered = np.column_stack([np.zeros(len(left)), right - left]).ravel().cumsum()
    energy = np.column_stack([np.zeros(len(left)), power_w * (right - left)]).ravel().cumsum()
    edges = _edges(left[0], right[-1], cell_s, len(times_s))
    known_s = np.diff(np.interp(edges, knots, covered))
    known = known_s > cell_s / 2
    mean = np.diff(np.interp(edges, knots, energy)) / np.where(known, known_s, 1.0)
    places = np.arange(len(mean))
    missing = float(spacing[gap].sum() - gap.sum() * cell_s)
    more = (f"{int(gap.sum())} gaps, {1000 * missing:.0f} ms in all, in which nothing was measured",) if gap.any() else ()
    return Trace(
        power_w=np.interp(places, places[known], mean[known]),
        known=known,
        cell_s=cell_s,
        start_s=float(left[0]),
        exact=False,
        readings=readings,
        source=source,
        notes=(*notes, "sampled unevenly, so spread over equal cells", *more),
    )


def of_counters(
    rails: Sequence[tuple[Values, Values]],
    *,
    source: str,
    wrap_j: float | None,
    may_wrap: bool = True,
    notes: Sequence[str] = (),
) -> Trace:
    """Make a trace of cumulative counters, whose sum is meant.

    Args:
        rails: of each counter its times in seconds and what it showed, in joules.
        source: what the file is.
        wrap_j: at which energy they begin anew; None where they do not.
        may_wrap: whether there are such counters in this kind of file, so that the user may say it.
        notes: what was decided before.

    Raises:
        UsageError: too few values, times that do not increase, or a counter that falls.
    """
    more, unwrapped = list(notes), []
    for times_s, energy_j in rails:
        if len(times_s) < MIN_SAMPLES:
            raise UsageError(f"the counter has {len(times_s)} values; {MIN_SAMPLES} or more are needed")
        possible = (np.abs(times_s) < MOST).all() and (np.abs(energy_j) < MOST).all()  # what is no number is not either
        if not possible or np.diff(times_s).min() <= 0:
            raise UsageError("the times of a counter do not increase, or a value of it is no number; sort the file by time")
        step = np.diff(energy_j)
        falls = int((step < 0).sum())
        if falls and wrap_j is None:
            place = int(np.argmax(step < 0)) + 1
            cure = (
                "give --wrap JOULES if it begins anew there, or record without a restart"
                if may_wrap
                else "record without a restart"
            )
            raise UsageError(
                f"the counter falls from {energy_j[place - 1]:.6g} J to {energy_j[place]:.6g} J at {times_s[place]:.3f} s: {cure}"
            )
        if wrap_j is not None and (energy_j.min() < 0 or energy_j.max() > wrap_j):
            raise UsageError(
                f"--wrap {wrap_j:g}: the counter shows {energy_j.max():.6g} J; give the energy at which it begins anew"
            )
        more += [f"a counter began anew {falls} times"] if falls else []
        step = np.where(step < 0, step + (wrap_j or 0.0), step)
        unwrapped.append((times_s, np.concatenate([[0.0], step.cumsum()])))
    cell_s = max(float(np.median(np.diff(times_s))) for times_s, _ in unwrapped)
    samples = max(len(times) for times, _ in unwrapped)
    edges = _edges(max(times[0] for times, _ in unwrapped), min(times[-1] for times, _ in unwrapped), cell_s, samples)
    if len(edges) <= MIN_SAMPLES:
        raise UsageError("the counters have no time in common; record them in one trace")
    energy = sum(np.interp(edges, times_s, energy_j) for times_s, energy_j in unwrapped)
    power_w = np.diff(np.asarray(energy)) / cell_s
    return Trace(
        power_w=power_w,
        known=np.ones(len(power_w), bool),
        cell_s=cell_s,
        start_s=float(edges[0]),
        exact=True,
        readings=None,
        source=source,
        notes=tuple(more),
    )


def _edges(first_s: float, last_s: float, cell_s: float, samples: int) -> Values:
    count = int((last_s - first_s) / cell_s + 1e-6)
    if count > min(MAX_CELLS, max(FEW_CELLS, CELLS_PER_SAMPLE * samples)):
        raise UsageError(
            f"{samples} samples, most of them {cell_s:.3g} s apart, are spread over {last_s - first_s:.6g} s: times jump, "
            "or most are missing; record again, or cut what is beyond the jump out of the file"
        )
    return np.asarray(first_s + np.arange(max(count, 0) + 1) * cell_s, np.float64)
