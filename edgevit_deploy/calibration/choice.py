"""What a user says of calibration, and of the pictures on which the result is judged."""

from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.decisions import MIN_AGREEMENT

SYNTHETIC = "synthetic"
"""What `--calibration` says for drawn pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationChoice:
    """What a user says of calibration; at most one of the first two.

    Attributes:
        pictures: a folder, or `synthetic`.
        ranges: a `calibration.json` that an earlier run wrote.
        percentile: leave out the share of values beyond it on either side; None leaves out none.

    Raises:
        UsageError: both are given, or a percentile that is none or has nothing to apply to.
    """

    pictures: Path | str | None = None
    ranges: Path | None = None
    percentile: float | None = None

    def __post_init__(self) -> None:
        if self.pictures is not None and self.ranges is not None:
            raise UsageError("--calibration observes ranges and --ranges has them; drop one of the two")
        if self.percentile is not None and not 50 < self.percentile < 100:
            raise UsageError(f"--percentile {self.percentile:g}: expected a number above 50 and below 100, for example 99.99")
        if self.percentile is not None and self.pictures is None:
            raise UsageError("--percentile says how ranges are observed; add --calibration DIR, or drop it")

    @property
    def synthetic(self) -> bool:
        """Whether the pictures are to be drawn."""
        return str(self.pictures) == SYNTHETIC

    @property
    def given(self) -> bool:
        """Whether there is anything to take ranges from."""
        return self.pictures is not None or self.ranges is not None


NO_CALIBRATION = CalibrationChoice()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeChoice:
    """Pictures on which a quantised file must decide as its network does.

    Attributes:
        pictures: a folder, or a tree of labelled ones.
        min_agreement: what the lower end of the 95 % interval of the agreement must reach.

    Raises:
        UsageError: a bound that is no share.
    """

    pictures: Path | str
    min_agreement: float = MIN_AGREEMENT

    def __post_init__(self) -> None:
        if not 0 < self.min_agreement < 1:
            raise UsageError(f"--min-agreement {self.min_agreement:g}: expected a share above 0 and below 1, for example 0.98")
