"""Whether a trace can say what an inference takes: every reason to refuse it, and by how much its figure may be wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.levels import Levels, runs_of
from edgevit_deploy.measure.energy.regions import Regions
from edgevit_deploy.measure.energy.trace import Trace, Values

UNEVEN_HIGH, UNEVEN_LOW = 1.75, 0.5
"""An inference that takes so many times the usual energy is two, or half of one."""

OUTLIER_SIGMAS, OUTLIER_SHARE = 6.0, 0.25
"""So far from the usual energy, by the scatter of the others and by a share of it, is something else or not whole."""

FEW_RUNS = 5
"""The scatter of so few says little of itself; twice as many sigmas are then let pass."""

LOST_SHARE = 0.9
"""A gap of so much of the usual inference may have swallowed one."""

IDLE_SIGMAS, IDLE_SHARE, BESIDE = 6.0, 0.03, 4
"""Two levels of idle are so many sigmas of a pause apart, and such a share of the step, by so many pauses beside."""

MOST_INCOMPLETE = 0.1
"""Share of inferences that may be left out because samples are missing in them."""

CLIPPED_SHARE, CLIPPED_COUNT = 0.005, 8
"""So many readings of the upper level at the very largest value are a limit of the meter, unless values are coarse everywhere."""

PHASES_DIFFER = 0.3
"""Cells by which the distances between inferences must scatter, for edges to fall anywhere between two samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """By how much the mean energy may be wrong for one reason, as a share of it, two standard deviations; and the cure."""

    share: float
    reason: str
    cure: str


def refuse_wrong_count(trace: Trace, levels: Levels, runs: int) -> None:
    """Refuse another number of inferences than was run.

    Raises:
        UsageError: saying what was found and how to go on.
    """
    found, bursts = len(levels.spans), len(levels.bursts)
    if found == runs:
        return
    less = found < runs
    why = (
        "two ran without a pause between them, or one is too weak or fell into a gap: make pauses longer than --pause-ms, or "
        "shorten --pause-ms"
        if less
        else "something else drew power as well (warm-up, loading, another app), or one has pauses inside: cut that off with "
        "--start and --end, or raise --pause-ms"
    )
    small = f" and {bursts} bursts that are too small" if bursts else ""
    raise UsageError(
        f"{found} inferences{small} are in the trace{_where(trace, levels)}, and --runs says {runs}; {why}; "
        f"or give --runs {found} if that is how many were run"
    )


def _where(trace: Trace, levels: Levels) -> str:
    """Say where the inferences are, and which of them is longest, if it stands out."""
    spans = levels.spans
    if not len(spans):
        return ""
    first_s, last_s = trace.start_s + trace.cell_s * spans[0, 0], trace.start_s + trace.cell_s * spans[-1, 1]
    lengths = spans[:, 1] - spans[:, 0]
    longest, ratio = int(lengths.argmax()), float(lengths.max() / np.median(lengths))
    at_s = trace.start_s + trace.cell_s * spans[longest, 0]
    stands_out = f" (the one at {at_s:.3f} s is {ratio:.1f} times as long as usual)" if ratio > UNEVEN_HIGH else ""
    return f", from {first_s:.3f} s to {last_s:.3f} s{stands_out}"


def objections(trace: Trace, regions: Regions, *, uneven: bool) -> Iterator[str]:
    """Yield why nothing can be said, one line each with the cure."""
    runs = len(regions.spans)
    if limit := clipped(trace):
        yield limit
    incomplete = int((~regions.whole).sum())
    if incomplete > MOST_INCOMPLETE * runs:
        yield (
            f"samples are missing in {incomplete} of {runs} inferences; record again, at a lower rate or to a faster disk "
            "(short gaps in pauses do no harm)"
        )
    yield from _lost(trace, regions)
    energy = regions.energy_j
    usual = float(np.median(energy))
    if usual <= 0:
        yield "the inferences take no energy above the background; see whether the right columns were named"
    elif not uneven:
        low, high = _usual_range(energy / usual, trace.cell_s / float(np.median(regions.duration_s)))
        for place in (int(np.argmax(energy)), int(np.argmin(energy))):
            ratio = energy[place] / usual
            if not low <= ratio <= high:
                at_s = trace.start_s + regions.spans[place, 0] * trace.cell_s
                yield (
                    f"inference {place + 1}, at {at_s:.3f} s, has {ratio:.2f} times the usual energy, and {low:.2f} to "
                    f"{high:.2f} is what their scatter allows: two without a pause, a part of one, or a warm-up in place of one; "
                    "look at the picture, cut it off with --start and --end, or give --uneven if it is one"
                )


def _usual_range(ratios: Values, edges: float) -> tuple[float, float]:
    """Return how far from the usual an inference may be.

    By how the middle half scatters, so that an outlier does not excuse itself; what its edges leave open is added.
    """
    sigma = 1.4826 * float(np.median(np.abs(ratios - 1)))
    away = max(OUTLIER_SHARE, OUTLIER_SIGMAS * (1 + FEW_RUNS / len(ratios)) * sigma) + edges
    return max(UNEVEN_LOW, 1 - away), min(UNEVEN_HIGH, 1 + away)


def _lost(trace: Trace, regions: Regions) -> Iterator[str]:
    """Yield that a gap may hold a whole inference, which another one would then stand for in the count."""
    usual_s = float(np.median(regions.duration_s))
    for first, last in runs_of(~trace.known):
        lasts_s = float(last - first) * trace.cell_s
        if lasts_s >= LOST_SHARE * usual_s:
            yield (
                f"samples are missing for {1000 * lasts_s:.0f} ms from {trace.start_s + first * trace.cell_s:.3f} s, and an "
                f"inference has {1000 * usual_s:.0f} ms: one may be lost there; record again, or cut there with --start and "
                "--end and give --runs"
            )
            return


def second_idle(levels: Levels, regions: Regions) -> str:
    """Say that power outside of all inferences is another than in the pauses between them; nothing where it is not.

    A drift goes on past the pauses beside, and both ends are not on the same side of it.
    """
    power, centres = regions.pause_w, regions.pauses.mean(axis=1)
    inner = power[1:-1]
    if len(inner) < BESIDE or not np.isfinite(power).all():
        return ""
    least_w = max(IDLE_SIGMAS * _scatter(inner), IDLE_SHARE * levels.step_w)
    ends = [(0, slice(1, 1 + BESIDE)), (-1, slice(-1 - BESIDE, -1))]
    away_w = []
    for end, beside in ends:
        drift = np.polyfit(centres[beside] - centres[end], power[beside], 1)
        away_w.append(float(power[end] - np.polyval(drift, 0.0)))
    if not (min(away_w) > least_w or max(away_w) < -least_w):
        return ""
    return (
        f"before the first inference and after the last the background is {power[0]:.3g} W and {power[-1]:.3g} W, and between "
        f"them {float(inner.mean()):.3g} W: what draws the difference counts as background here, and not for an inference"
    )


def clipped(trace: Trace) -> str:
    """Say that readings stop at a limit of the meter; nothing where they do not.

    A meter of coarse steps repeats every value, so the most frequent value of the other level is what a pile is held against.
    """
    readings = trace.readings
    if readings is None:
        return ""
    middle = (np.percentile(readings, 2) + np.percentile(readings, 98)) / 2
    upper, lower = readings[readings > middle], readings[readings <= middle]
    sides = ((upper, lower, float(readings.max()), "largest"), (lower, upper, float(readings.min()), "smallest"))
    for side, other, limit, word in sides:
        if not len(side) or not len(other):
            continue
        piled = int((side == limit).sum())
        usual = float(np.unique(other, return_counts=True)[1].max()) / len(other)
        share = piled / len(side)
        if piled >= CLIPPED_COUNT and share > CLIPPED_SHARE and share > 4 * usual:
            return (
                f"{piled} readings ({share:.1%} of that level) are exactly the {word} value, {limit:.6g}: the meter's range ends "
                "there and the energy beyond it is lost; choose a wider range and record again"
            )
    return ""


def doubts(trace: Trace, levels: Levels, regions: Regions) -> tuple[Doubt, ...]:
    """Return by how much the mean energy may be wrong, by what the trace itself shows, which is not a wrong scale."""
    runs = len(regions.spans)
    mean_j = float(regions.energy_j.mean())
    length_s = float((regions.spans[:, 1] - regions.spans[:, 0]).mean()) * trace.cell_s
    pause_s = float((regions.pauses[:, 1] - regions.pauses[:, 0]).mean()) * trace.cell_s
    scatter_w = _scatter(regions.pause_w)
    beneath = length_s * scatter_w * np.sqrt(1 / len(regions.pauses) + pause_s / max(length_s, 1e-12) / runs)
    falling = length_s * _fall(trace, regions)
    edges = 0.0 if trace.exact else 0.5 * trace.cell_s * levels.step_w / np.sqrt(runs if _phases_differ(levels) else 1)
    longer = "make pauses longer"
    return (
        Doubt(
            share=float(2 * beneath / mean_j),
            reason="noise, and a restless background",
            cure="stop other apps, or run more inferences",
        ),
        Doubt(share=float(falling / mean_j), reason="power still falls at the end of the pauses", cure=longer),
        Doubt(
            share=float(2 * edges / mean_j),
            reason=f"{length_s / trace.cell_s:.0f} samples are in an inference, which leaves its edges open",
            cure="sample faster, or run more inferences in each region (--per-region)",
        ),
    )


def _scatter(pause_w: Values) -> float:
    """Return the standard deviation of a pause's mean power about the line through its neighbours."""
    there = pause_w[np.isfinite(pause_w)]
    if len(there) < 4:
        return float(np.std(there, ddof=1)) if len(there) > 1 else 0.0
    bend = there[1:-1] - (there[:-2] + there[2:]) / 2
    return float(np.sqrt(np.mean(bend**2) / 1.5))


def _fall(trace: Trace, regions: Regions) -> float:
    """Return by how many watts more than its own drift explains the pauses' power falls, where that is beyond its noise."""
    falls = []
    centres, means = regions.pauses.mean(axis=1), regions.pause_w
    for place in range(1, len(regions.pauses) - 1):
        first, last = regions.pauses[place]
        third = (last - first) // 3
        if third < 1 or not np.isfinite(means[place - 1 : place + 2]).all() or not trace.known[first:last].all():
            continue
        drift = (means[place + 1] - means[place - 1]) / (centres[place + 1] - centres[place - 1])
        begins, ends = trace.power_w[first : first + third].mean(), trace.power_w[last - third : last].mean()
        falls.append(begins - ends + drift * (last - first - third))
    if len(falls) < 4:
        return 0.0
    fall, error = abs(float(np.mean(falls))), float(np.std(falls, ddof=1) / np.sqrt(len(falls)))
    return fall if fall > 3 * error else 0.0


def _phases_differ(levels: Levels) -> bool:
    """Say whether inferences begin anywhere between two samples, and not always at the same place."""
    distances = np.diff(levels.spans[:, 0])
    return len(distances) > 3 and float(np.std(distances)) > PHASES_DIFFER
