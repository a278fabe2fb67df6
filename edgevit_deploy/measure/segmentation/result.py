"""What an evaluation of segmenters found out: shares of pixels, each with its interval over pictures."""

from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.data.masks import absent
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.spec import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share, or a difference of shares, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class.

    Attributes:
        name: of the class.
        pixels: that are of it by the masks.
        iou: intersection over union; None where neither a mask nor the subject has it.
        accuracy: share of its own pixels that are found; None where no mask has it.
    """

    name: str
    pixels: int
    iou: Estimate | None
    accuracy: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPairing:
    """A bundle against the network, on the same pixels.

    Attributes:
        agreement: share of the judged pixels to which both give the same class.
        drop: by how much the bundle's mIoU is below the network's; its interval is of the difference.
    """

    agreement: Estimate
    drop: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationRow:
    """The network or a bundle.

    Attributes:
        label: what tables call it; a bundle's is its folder.
        kind: which of the two.
        status: not run is not passed.
        reason: why it did not run.
        runtime: what ran it.
        image_size: (height, width) in pixels, in which masks are judged.
        miou: mean IoU over the classes that are somewhere; None where it did not run.
        pixel_accuracy: share of judged pixels with the right class.
        classes: each of them.
        not_finite: judged pixels with an output that is NaN or infinite; they count as wrong.
        network: label of the network that it was made from; empty without weights, and for a network.
        pairing: with that network; None without weights.
        pictures_per_s: wall clock of the runs alone.
    """

    label: str
    kind: Literal["bundle", "network"]
    status: Literal["ran", "not run", "failed"]
    image_size: Size
    reason: str = ""
    runtime: str = ""
    miou: Estimate | None = None
    pixel_accuracy: Estimate | None = None
    classes: tuple[ClassScore, ...] = ()
    not_finite: int = 0
    network: str = ""
    pairing: PixelPairing | None = None
    pictures_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationEvaluation:
    """Everything that one evaluation found out.

    Attributes:
        data: name of the folder and of the one that holds it.
        digest: SHA-256 over names and sizes of its files.
        pictures: in the folder.
        used: of them.
        seed: of the sample; None where all were used.
        classes: names in class order.
        rows: the network first where it was run, once for each variant and its weights, then the bundles as they were given.
        broken: pictures and masks that could not be read; no figure has them.
        passed_over: what else lies in the folder.
    """

    data: str
    digest: str
    pictures: int
    used: int
    seed: int | None
    classes: tuple[str, ...]
    rows: tuple[SegmentationRow, ...]
    broken: tuple[PassedOver, ...]
    passed_over: tuple[PassedOver, ...]

    @property
    def judged(self) -> int:
        """How many pictures the figures have."""
        return self.used - len(self.broken)

    @property
    def absent(self) -> str:
        """Which classes no mask has; empty where each is in one, or nothing ran."""
        ran = next((row.classes for row in self.rows if row.status == "ran"), ())
        return absent([score.pixels for score in ran], [score.name for score in ran])

    @property
    def ok(self) -> bool:
        """Whether everything ran."""
        return all(row.status == "ran" for row in self.rows)
