"""What a trace says about the energy of an inference, and the rules of `convert.py energy`."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.judge import Doubt, doubts, objections, refuse_wrong_count, second_idle
from edgevit_deploy.measure.energy.levels import Levels, find_levels
from edgevit_deploy.measure.energy.regions import Regions, measure_regions
from edgevit_deploy.measure.energy.trace import Trace, Values

DEFAULT_RUNS = 50
"""The paper averages 50 forward passes (EdgeViTs, ECCV 2022, section 4)."""

DEFAULT_PAUSE_MS = 20.0
DEFAULT_MAX_ERROR = 0.01
MIN_RUNS, MAX_RUNS = 5, 10_000
MAX_PER_REGION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What one inference takes above the background.

    Attributes:
        runs: inferences that were found, as many as were expected.
        used: of them; the others have missing samples.
        per_region: how many ran without a pause in each of what counts as one above.
        energies_mj: of each that was used.
        durations_ms: of each.
        background_w: mean power beneath them.
        doubts: by how much the mean may be wrong, by the trace itself.
        notes: what must be known to read the figures.
    """

    runs: int
    used: int
    per_region: int
    energies_mj: tuple[float, ...]
    durations_ms: tuple[float, ...]
    background_w: float
    doubts: tuple[Doubt, ...]
    notes: tuple[str, ...]

    @property
    def mean_mj(self) -> float:
        """The mean energy, which the paper reports."""
        return float(np.mean(self.energies_mj))

    @property
    def std_mj(self) -> float:
        """Standard deviation from one inference to the next, the noise of the measurement included."""
        return float(np.std(self.energies_mj, ddof=1))

    @property
    def interval_mj(self) -> tuple[float, float]:
        """95 % interval of the mean."""
        return mean_interval(np.array(self.energies_mj))

    @property
    def mean_w(self) -> float:
        """Energy over duration, of all together: mean power above the background."""
        return sum(self.energies_mj) / sum(self.durations_ms)

    @property
    def std_w(self) -> float:
        """Standard deviation of that from one inference to the next."""
        return float(np.std(np.array(self.energies_mj) / np.array(self.durations_ms), ddof=1))

    @property
    def mean_ms(self) -> float:
        """Mean duration above half of the step of power."""
        return float(np.mean(self.durations_ms))

    @property
    def error_share(self) -> float:
        """By how much the mean may be wrong, as a share of it, all reasons together."""
        return math.hypot(*(doubt.share for doubt in self.doubts))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A trace, what was found in it, and either the energy or why it cannot be said.

    Attributes:
        trace: that was read.
        levels: None where there are none.
        regions: None where they could not be measured.
        energy: None where it cannot be said.
        refusal: why, in one line; empty where it can be said.
    """

    trace: Trace
    levels: Levels | None
    regions: Regions | None
    energy: Energy | None
    refusal: str


def read_energy(
    trace: Trace,
    *,
    runs: int = DEFAULT_RUNS,
    pause_ms: float = DEFAULT_PAUSE_MS,
    max_error: float = DEFAULT_MAX_ERROR,
    uneven: bool = False,
    per_region: int = 1,
) -> Reading:
    """Find the inferences of a trace and what one of them takes; what cannot be said is refused, with all that was found.

    Args:
        trace: of inferences with pauses between them.
        runs: how many were run.
        pause_ms: a pause is at least so long; power that falls for less is still the same inference.
        max_error: by how much the mean may be wrong, as a share of it.
        uneven: let inferences differ by any factor.
        per_region: inferences without a pause between them that each region holds.

    Raises:
        UsageError: settings out of range.
    """
    if not MIN_RUNS <= runs <= MAX_RUNS:
        raise UsageError(f"--runs {runs}: an interval needs {MIN_RUNS} to {MAX_RUNS} inferences; the paper runs {DEFAULT_RUNS}")
    if not 0 < pause_ms < 1e6:
        raise UsageError(f"--pause-ms {pause_ms:g}: give milliseconds, more than 0; the default is {DEFAULT_PAUSE_MS:g}")
    if not 0 < max_error < 1:
        raise UsageError(f"--max-error {max_error:g}: give a share between 0 and 1; the default is {DEFAULT_MAX_ERROR:g}")
    if not 1 <= per_region <= MAX_PER_REGION:
        raise UsageError(f"--per-region {per_region}: give 1 to {MAX_PER_REGION}, the inferences of each region")
    levels: Levels | None = None
    regions: Regions | None = None
    try:
        levels = find_levels(trace, runs, pause_ms / 1000)
        refuse_wrong_count(trace, levels, runs)
        regions = measure_regions(trace, levels)
        if objection := next(objections(trace, regions, uneven=uneven), ""):
            raise UsageError(objection)
        energy = _energy(trace, levels, regions, per_region)
        _refuse_doubt(energy, max_error)
    except UsageError as refusal:
        return Reading(trace=trace, levels=levels, regions=regions, energy=None, refusal=str(refusal))
    return Reading(trace=trace, levels=levels, regions=regions, energy=energy, refusal="")


def _energy(trace: Trace, levels: Levels, regions: Regions, per_region: int) -> Energy:
    whole, notes = regions.whole, list(trace.notes)
    if left_out := int((~whole).sum()):
        notes.append(f"{left_out} inferences are left out of the mean, because samples are missing in them")
    if len(levels.bursts):
        notes.append(f"{len(levels.bursts)} short bursts of something else are counted as background")
    if idle := second_idle(levels, regions):
        notes.append(idle)
    if per_region > 1:
        notes.append(f"each region holds {per_region} inferences, and whatever else ran in it; figures are a share of it")
    return Energy(
        runs=len(whole),
        used=int(whole.sum()),
        per_region=per_region,
        energies_mj=tuple((1000 * regions.energy_j[whole] / per_region).tolist()),
        durations_ms=tuple((1000 * regions.duration_s[whole] / per_region).tolist()),
        background_w=float(regions.background_w[whole].mean()),
        doubts=doubts(trace, levels, regions),
        notes=tuple(notes),
    )


def _refuse_doubt(energy: Energy, max_error: float) -> None:
    if energy.error_share <= max_error:
        return
    worst = max(energy.doubts, key=lambda doubt: doubt.share)
    raise UsageError(
        f"the mean of {energy.mean_mj:.4g} mJ may be wrong by {energy.error_share:.1%}, more than --max-error {max_error:g}: "
        f"{worst.reason}; {worst.cure}, or allow more with --max-error {math.ceil(1000 * energy.error_share) / 1000:g}"
    )


def mean_interval(values: Values) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t; neighbours that go together widen it, for they share a background."""
    count, mean = len(values), float(values.mean())
    rest = values - mean
    variance = float(rest @ rest) / (count - 1)
    together = max(0.0, float(rest[1:] @ rest[:-1]) / (count - 1))
    half = student_975(count - 1) * math.sqrt((variance + 2 * together) / count)
    return mean - half, mean + half


def student_975(freedom: float) -> float:
    """Return the 97.5 percentile of Student's t, by the expansion in 1/freedom (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * freedom**4)
    )
