"""From stretches of higher power to energies: how far each reaches, and the background beneath it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.levels import Levels, Spans, moving_mean
from edgevit_deploy.measure.energy.trace import Trace, Values

SETTLED = 0.01
"""An inference reaches until what is left of it, on average over all, is below this share of the step."""

TAIL_SHARE, LEAD_SHARE = 0.5, 0.25
"""How much of the shortest pause may belong to the inference before it and after it."""

FEW_CELLS = 3
"""Of a coarse trace an inference may take so many before it, if that is a third of a pause at most."""

QUIET = (0.6, 0.9)
"""The part of a pause that is surely background, for a first estimate."""

CLIPPED = 0.2
"""Of the step: what one inference at most adds to the mean, where the question is only whether that is near nothing."""

SIGMAS = 4.0
HOLD_WINDOWS = 2
"""Power is back when so many windows in a row say so; noise alone exceeds a limit somewhere in every long pause."""

LONGEST_ENDS = 3.0
"""How many usual pauses of the trace's beginning and end are background; what is further off may be another one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """The inferences of a trace, and the pauses around them.

    Attributes:
        spans: the cells of each, tails and margins included.
        energy_j: of each, above its background.
        duration_s: of each, above half of the step.
        background_w: beneath each.
        whole: whether all of its cells were measured.
        pauses: the cells of the pause before each and after the last.
        pause_w: mean power of each pause; NaN where nothing was measured.
        lead_s: how long before its core an inference begins to draw power, on average.
        tail_s: how long after its core it goes on.
    """

    spans: Spans
    energy_j: Values
    duration_s: Values
    background_w: Values
    whole: NDArray[np.bool_]
    pauses: Spans
    pause_w: Values
    lead_s: float
    tail_s: float


def measure_regions(trace: Trace, levels: Levels) -> Regions:
    """Measure each inference above its own background, which is a line between the mean power of the pauses beside it.

    What wakes up at random besides is in the pauses as often as in the inferences, so means are subtracted, not medians.

    Raises:
        UsageError: the trace begins or ends within an inference, or power does not come back to the background in the pauses.
    """
    cores, cells = levels.spans, len(trace.power_w)
    if cores[0, 0] == 0 or cores[-1, 1] == cells:
        raise UsageError(
            "the trace begins or ends within an inference; record some pauses before the first and after the last, or cut there "
            "with --start and --end"
        )
    lead, tail = _reach(trace, levels)
    margin = max(2 if trace.exact else 1, -(-levels.window // 2))
    spans = np.column_stack(
        [np.maximum(cores[:, 0] - lead - margin, 0), np.minimum(cores[:, 1] + tail + margin, cells)],
    )
    if np.any(spans[1:, 0] - spans[:-1, 1] < 1):
        raise UsageError(_short_pauses(trace, levels))
    pauses = _pauses(spans, cells)
    known = np.concatenate([[0], trace.known.cumsum()])
    total = np.concatenate([[0.0], np.where(trace.known, trace.power_w, 0.0).cumsum()])
    measured = known[pauses[:, 1]] - known[pauses[:, 0]]
    pause_w = np.where(measured > 0, (total[pauses[:, 1]] - total[pauses[:, 0]]) / np.maximum(measured, 1), np.nan)
    there = np.isfinite(pause_w)
    if not there.any():
        raise UsageError(_short_pauses(trace, levels))
    background_w = np.interp(spans.mean(axis=1), pauses.mean(axis=1)[there], pause_w[there])
    every = np.concatenate([[0.0], trace.power_w.cumsum()])
    length = spans[:, 1] - spans[:, 0]
    return Regions(
        spans=spans,
        energy_j=(every[spans[:, 1]] - every[spans[:, 0]] - background_w * length) * trace.cell_s,
        duration_s=np.asarray((cores[:, 1] - cores[:, 0]) * trace.cell_s, np.float64),
        background_w=background_w,
        whole=known[spans[:, 1]] - known[spans[:, 0]] == length,
        pauses=pauses,
        pause_w=pause_w,
        lead_s=lead * trace.cell_s,
        tail_s=tail * trace.cell_s,
    )


def _pauses(spans: Spans, cells: int) -> Spans:
    """Return what lies between regions, before the first and after the last, those two no longer than a few others."""
    pauses = np.column_stack([np.concatenate([[0], spans[:, 1]]), np.concatenate([spans[:, 0], [cells]])])
    usual = np.median(pauses[1:-1, 1] - pauses[1:-1, 0]) if len(pauses) > 2 else cells
    longest = int(LONGEST_ENDS * usual) + 1
    pauses[0, 0] = max(pauses[0, 0], pauses[0, 1] - longest)
    pauses[-1, 1] = min(pauses[-1, 1], pauses[-1, 0] + longest)
    return pauses


def _reach(trace: Trace, levels: Levels) -> tuple[int, int]:
    """Return how many cells before and after its core an inference draws power, by the mean over all of them.

    The mean over fifty inferences has a seventh of the noise of one, so that it shows a tail that no single one does.

    Raises:
        UsageError: the tail is longer than half of the shortest pause.
    """
    cores = levels.spans
    starts, ends = np.concatenate([cores[1:, 0], [len(trace.power_w)]]), np.concatenate([[0], cores[:-1, 1]])
    after, before = starts - cores[:, 1], cores[:, 0] - ends
    inner = np.concatenate([after[:-1], before[1:]])
    shortest = int(inner.min()) if len(inner) else int(min(after.min(), before.min()))
    lengths = np.minimum(after, 2 * shortest)
    parts = [trace.power_w[_quiet(end, end + length)] for end, length in zip(cores[:, 1].tolist(), lengths.tolist(), strict=True)]
    quiet = np.array([part.mean() for part in parts])
    most_w = CLIPPED * levels.step_w + SIGMAS * levels.noise_w
    restless_w = float(np.sqrt(np.mean([np.clip(part - np.median(part), -most_w, most_w).var() for part in parts])))
    longest_lead = max(int(LEAD_SHARE * shortest), min(FEW_CELLS, shortest // 3))
    enough = after >= shortest
    tails = _mean_profile(trace.power_w, cores[enough, 1], range(int(TAIL_SHARE * shortest)), quiet[enough], most_w)
    enough = before >= shortest
    leads = _mean_profile(trace.power_w, cores[enough, 0], range(-1, -longest_lead - 1, -1), quiet[enough], most_w)
    noise = max(levels.noise_w, restless_w) / np.sqrt(len(cores))
    tail, lead = _settles(tails, levels.step_w, noise), _settles(leads, levels.step_w, noise)
    if tail is None or lead is None:
        raise UsageError(
            "power does not come back to the background within half of the shortest pause "
            f"({1000 * shortest * trace.cell_s:.0f} ms), so the background cannot be seen; make pauses longer"
        )
    return lead, tail


def _quiet(first: int, last: int) -> slice:
    length = last - first
    return slice(first + int(QUIET[0] * length), first + max(int(QUIET[1] * length), int(QUIET[0] * length) + 1))


def _mean_profile(power_w: Values, anchors: NDArray[np.int64], offsets: range, quiet_w: Values, most_w: float) -> Values:
    """Return the mean power above the background at some distances from the edges of all inferences.

    A burst that happens to be there once counts for `most_w` at most, so that it does not pass for a tail of all.
    """
    places = np.clip(anchors[:, None] + np.array(offsets, int)[None, :], 0, len(power_w) - 1)
    return np.asarray(np.clip(power_w[places] - quiet_w[:, None], -most_w, most_w).mean(axis=0))


def _settles(profile: Values, step_w: float, noise_w: float) -> int | None:
    """Return after how many cells a mean profile is back at the background; None where it is not within its length."""
    if not len(profile):
        return 0
    window = int(np.clip((SIGMAS * noise_w / (SETTLED * step_w)) ** 2, 1, max(1, len(profile) // 3)))
    limit = max(SETTLED * step_w, SIGMAS * noise_w / np.sqrt(window))
    calm = moving_mean(profile, window) <= limit
    hold = max(1, min(HOLD_WINDOWS * window, len(calm) // 2))
    held = np.convolve(calm, np.ones(hold), "valid") > hold - 0.5
    return int(np.argmax(held)) if held.any() else None


def _short_pauses(trace: Trace, levels: Levels) -> str:
    pause_ms = 1000 * trace.cell_s * float(np.min(levels.spans[1:, 0] - levels.spans[:-1, 1], initial=len(trace.power_w)))
    return (
        f"the shortest pause has {pause_ms:.1f} ms, in which no background can be seen beside the edges of the inferences; make "
        "pauses longer, or sample faster"
    )
