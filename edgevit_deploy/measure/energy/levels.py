"""Where a trace is above its background: the two levels of power, and the stretches of the upper one."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.trace import Trace, Values

SEPARATION = 10.0
"""Levels are told apart when they lie so many standard deviations of the smoothed noise apart: five to the threshold between."""

BASE_PERCENTILE = 10
BLOCK_PERIODS = 1.5
MIN_PERIOD = 4.0
"""Cells of an inference and its pause, below which nothing could be seen."""

HISTOGRAM_BINS = 256

DIP = 0.15
"""Power this close above the background, as a share of the step, is a pause, if it lasts; above it an inference goes on."""

TRIM_SHARE = 0.1
"""Of an inference's energy: a part at its end with less than this, further off than it is long, is something else's."""

BURST_SHARE = 0.25
"""Regions with less than this share of the usual energy are something else's and belong to the background."""

Spans = NDArray[np.int64]
"""Rows of (first cell, one after the last)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """What was found.

    Attributes:
        spans: of each inference the cells above half of the step.
        bursts: the same of what is too small to be one.
        base_w: the lower level in each cell, roughly; it may drift.
        step_w: between the levels.
        noise_w: standard deviation of one cell.
        window: cells that were averaged to tell the levels apart.
    """

    spans: Spans
    bursts: Spans
    base_w: Values
    step_w: float
    noise_w: float
    window: int


def find_levels(trace: Trace, runs: int, pause_s: float) -> Levels:
    """Tell two levels of power apart, and find the stretches of the upper one.

    The window of the moving mean is the shortest that tells them apart, so that nothing depends on how long an inference takes.

    Args:
        trace: in which inferences are separated by pauses.
        runs: how many there should be; only how far a drift of the background may be followed depends on it.
        pause_s: a pause is at least so long.

    Raises:
        UsageError: there are no two levels.
    """
    power = trace.power_w
    noise_w = float(1.4826 * np.median(np.abs(np.diff(power))) / np.sqrt(2))
    period = max(len(power) / runs, MIN_PERIOD)
    window, separation = 1, 0.0
    while window <= max(1.0, period / 4):
        smooth = moving_mean(power, window)
        base = _base(smooth, period)
        above = smooth - base
        threshold = otsu(above)
        lower, upper = above[above <= threshold], above[above > threshold]
        low = float(np.median(lower)) if len(lower) else 0.0
        step_w = float(np.median(upper)) - low if len(lower) and len(upper) else 0.0
        spread = noise_w / np.sqrt(window)
        if step_w > SEPARATION * spread and step_w > 0:
            pause = max(2 if not trace.exact else 1, round(pause_s / trace.cell_s))
            spans = _spans(above - low, step_w, pause)
            spans, bursts = _without_bursts(spans, above - low, runs)
            return Levels(spans=spans, bursts=bursts, base_w=base + low, step_w=step_w, noise_w=noise_w, window=window)
        separation = max(separation, step_w / max(spread, 1e-300))
        window = 2 * window + 1
    raise UsageError(
        f"no inferences stand out of this trace: two levels of power are at most {separation:.1f} standard deviations of noise "
        f"apart, {SEPARATION:.0f} are needed; make pauses as long as the inferences, run more inferences in each region "
        "(--per-region), or use a more exact meter"
    )


def moving_mean(values: Values, window: int) -> Values:
    """Return the mean of each value and its neighbours, as many values as before; the ends repeat."""
    if window == 1:
        return values
    padded = np.pad(values, (window // 2, (window - 1) // 2), mode="edge")
    total = np.concatenate([[0.0], padded.cumsum()])
    return np.asarray((total[window:] - total[:-window]) / window)


def _base(smooth: Values, period: float) -> Values:
    """Return the lower level over time: in each block somewhat longer than a period, what a tenth of it stays below."""
    blocks = max(1, int(len(smooth) / (BLOCK_PERIODS * period)))
    edges = np.linspace(0, len(smooth), blocks + 1).astype(int)
    lows = [float(np.percentile(smooth[first:last], BASE_PERCENTILE)) for first, last in pairwise(edges)]
    return np.asarray(np.interp(np.arange(len(smooth)), (edges[:-1] + edges[1:]) / 2, lows))


def otsu(values: Values) -> float:
    """Return the threshold that splits values into the two most compact classes.

    Source: N. Otsu, A Threshold Selection Method from Gray-Level Histograms (IEEE SMC 9, 1979).
    """
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    sums = (counts * centres).cumsum()
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_above - mean_below) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # all thresholds of an empty stretch are as good
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


def _spans(above: Values, step_w: float, pause: int) -> Spans:
    """Return the stretches above half of the step, joined where power does not fall to the background for a whole pause."""
    spans = runs_of(above > step_w / 2)
    if len(spans) < 2:
        return spans
    quiet = np.concatenate([[0], np.cumsum(above < DIP * step_w)])
    apart = quiet[spans[1:, 0]] - quiet[spans[:-1, 1]] >= pause
    firsts, lasts = np.concatenate([[True], apart]), np.concatenate([apart, [True]])
    total = np.concatenate([[0.0], above.cumsum()])
    groups = zip(np.flatnonzero(firsts), np.flatnonzero(lasts) + 1, strict=True)
    return np.array([_trimmed(spans[first:last], total) for first, last in groups])


def _trimmed(parts: Spans, total: Values) -> tuple[int, int]:
    """Join the parts of one inference, without what is small and stands apart at its ends: a burst that came just then.

    Left on, bursts near an inference would count for it, and none would count against it.
    """
    energy = total[parts[:, 1]] - total[parts[:, 0]]
    first, last = 0, len(parts) - 1
    while last > first:
        ends = {first: parts[first + 1, 0] - parts[first, 1], last: parts[last, 0] - parts[last - 1, 1]}
        small = [
            end for end, gap in ends.items() if energy[end] < TRIM_SHARE * energy.sum() and gap > parts[end, 1] - parts[end, 0]
        ]
        if not small:
            break
        first, last = (first + 1, last) if small[0] == first else (first, last - 1)
    return int(parts[first, 0]), int(parts[last, 1])


def runs_of(flags: NDArray[np.bool_]) -> Spans:
    """Return the stretches of true values."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return changes.reshape(-1, 2).astype(np.int64)


def _without_bursts(spans: Spans, above: Values, runs: int) -> tuple[Spans, Spans]:
    if not len(spans):
        return spans, spans
    total = np.concatenate([[0.0], above.cumsum()])
    energies = total[spans[:, 1]] - total[spans[:, 0]]
    usual = float(np.median(np.sort(energies)[-runs:]))
    small = energies < BURST_SHARE * usual
    return spans[~small], spans[small]
