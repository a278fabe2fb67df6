"""What an evaluation of detectors found out."""

from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.measure.detection.precision import Figures
from edgevit_deploy.spec import Preprocess, Size

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """By how much less a bundle finds than its network, on the same pictures.

    Attributes:
        value: average precision of the network less the bundle's.
        interval: 95 % of it over resampled pictures, the same for both.
        limit: what the user demands that the upper end be at most; None is no demand.
    """

    value: float
    interval: Interval
    limit: float | None

    @property
    def ok(self) -> bool:
        """Whether the demand is met by the whole interval."""
        return self.limit is None or self.interval[1] <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """One row: the network or a bundle.

    Attributes:
        label: what tables call it; a bundle's is its folder.
        kind: which of the two.
        status: not run is not passed.
        preprocess: of its pictures.
        image_size: (height, width) in pixels.
        reason: why it did not run.
        runtime: what ran it.
        boxes: how many it found in all pictures together.
        not_finite: pictures for which an output was NaN or infinite; where it was, nothing is found.
        figures: None where it did not run.
        interval: 95 % of the average precision over resampled pictures; None where no picture has a box.
        drop: against the network; None without weights, for the network, and where one of them did not run.
        unjudged: why a drop that is demanded says nothing, and the demand is not met; empty where it does, or there is none.
        pictures_per_s: wall clock, decoding included.
        notes: what must be known to read the figures.
    """

    label: str
    kind: Literal["bundle", "network"]
    status: Literal["ran", "not run", "failed"]
    preprocess: Preprocess
    image_size: Size
    reason: str = ""
    runtime: str = ""
    boxes: int = 0
    not_finite: int = 0
    figures: Figures | None = None
    interval: Interval | None = None
    drop: Drop | None = None
    unjudged: str = ""
    pictures_per_s: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ran and met what is demanded."""
        return self.status == "ran" and not self.unjudged and (self.drop is None or self.drop.ok)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionData:
    """Which pictures: names and numbers only, no path.

    Attributes:
        name: of the folder and of the one that holds it.
        pictures: in the annotations.
        used: of them, those in every figure.
        seed: of the sample; None where all were asked for.
        boxes: annotated in the used ones, crowds not counted.
        categories: names, in the order of their numbers.
    """

    name: str
    pictures: int
    used: int
    seed: int | None
    boxes: int
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionEvaluation:
    """Everything that one evaluation found out.

    Attributes:
        data: which pictures.
        rows: the network, once for each size, preprocessing and decoding, then the bundles as they were given.
        broken: pictures that could not be decoded or have another size than is annotated; no figure has them.
    """

    data: DetectionData
    rows: tuple[Detected, ...]
    broken: tuple[PassedOver, ...]

    @property
    def ok(self) -> bool:
        """Whether everything ran, the network too, and every bundle met what is demanded."""
        return all(row.ok for row in self.rows)
