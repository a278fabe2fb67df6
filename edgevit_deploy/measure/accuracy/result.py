"""What an evaluation found out: counts of pictures, and what follows from them. No interval is stored; each is computed anew."""

from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.measure.accuracy.gates import Gate
from edgevit_deploy.measure.accuracy.identity import Tools
from edgevit_deploy.measure.statistics import mcnemar_exact, paired_difference, wilson
from edgevit_deploy.spec import Preprocess, Size

Outputs = Literal["logits", "probabilities"]
FlipKind = Literal["right to wrong", "wrong to right", "wrong to another wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some of all pictures."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The proportion; 0 of nothing."""
        return self.count / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        return wilson(self.count, self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confused:
    """How many pictures of a class were taken for a class (perhaps the right one), both by their place in class order."""

    label: int
    seen: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How often one subject is right.

    Attributes:
        top1: pictures whose first class is the right one.
        top5: pictures whose first five classes have the right one; None where there are five classes or fewer.
        calibration_error: expected calibration error over 15 bins, of 0 to 1, of pictures with finite outputs; None without any.
        not_finite: pictures for which an output was NaN or infinite; they count as wrong.
        confusion: every cell with a picture in it, or for many classes only the largest of those that are wrong.
    """

    top1: Share
    top5: Share | None
    calibration_error: float | None
    not_finite: int
    confusion: tuple[Confused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A picture whose first class is another one than the network's.

    Attributes:
        file: its name in the folder.
        kind: what the change made of it.
        label: its class; this and the other two by name.
        network: the network's first class.
        bundle: the bundle's first class.
        margin: by how much the network's first class leads its second.
        difference: largest difference between the outputs of the two for this picture.
        position: of the picture in the folder's order.
    """

    file: str
    kind: FlipKind
    label: str
    network: str
    bundle: str
    margin: float
    difference: float
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A bundle against the network, picture by picture; counts of pictures, and differences in units of the outputs.

    Attributes:
        both_right: by the same class, so.
        right_to_wrong: the network is right, the bundle is not.
        wrong_to_right: the other way round.
        both_wrong_alike: by the same class.
        wrong_to_another: both are wrong, by another class.
        outputs: what differences and margins are of; probabilities where the bundle returns them.
        largest_difference: of any output of any picture; the largest float64 where one is not finite.
        mean_difference: over all outputs of all pictures.
        bound: that the bundle's parity was proven within; None where it was not proven.
        over_bound: pictures whose largest difference is beyond it.
        flips_within_bound: pictures with another first class whose largest difference is within the bound. Their margin is at
            most twice the bound: what is proven within it may decide either way.
        flips: the pictures with another first class, the widest margin first; the first of them where they are many.
    """

    both_right: int
    right_to_wrong: int
    wrong_to_right: int
    both_wrong_alike: int
    wrong_to_another: int
    outputs: Outputs
    largest_difference: float
    mean_difference: float
    bound: float | None
    over_bound: int | None
    flips_within_bound: int | None
    flips: tuple[Flip, ...]

    @property
    def pictures(self) -> int:
        """How many were compared."""
        return self.both_right + self.both_wrong_alike + self.flipped

    @property
    def flipped(self) -> int:
        """How many have another first class."""
        return self.right_to_wrong + self.wrong_to_right + self.wrong_to_another

    @property
    def agreement(self) -> Share:
        """How many have the same first class."""
        return Share(count=self.pictures - self.flipped, of=self.pictures)

    @property
    def drop(self) -> float:
        """By how much of all pictures the bundle is right less often."""
        return (self.right_to_wrong - self.wrong_to_right) / self.pictures if self.pictures else 0.0

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The 95 % interval of the drop."""
        return paired_difference(self.right_to_wrong, self.wrong_to_right, self.pictures)

    @property
    def mcnemar_p(self) -> float:
        """How likely so uneven a split of the flips is if neither of the two is better."""
        return mcnemar_exact(self.right_to_wrong, self.wrong_to_right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """One row: the network or a bundle.

    Attributes:
        label: what tables call it; a bundle's is its folder.
        kind: which of the two.
        status: not run is not passed.
        reason: why it did not run.
        runtime: what ran it.
        tools: names and versions of what ran it; of several versions, all of them.
        preprocess: of its pictures.
        image_size: (height, width) in pixels.
        identity: hash of the file, as `identity_of` gives it, or of the network's weights.
        accuracy: None where it did not run.
        network: label of the row that it is paired with.
        pairing: with that row; None without weights, and for the network.
        gates: what the user demanded of it.
        unjudged: flags of demands that nothing was compared for, because it or the network did not run; none of them is met.
        pictures_per_s: wall clock, decoding included.
        notes: what must be known to read the figures.
    """

    label: str
    kind: Literal["bundle", "network"]
    status: Literal["ran", "not run", "failed"]
    preprocess: Preprocess
    image_size: Size
    identity: str
    reason: str = ""
    runtime: str = ""
    tools: Tools = ()
    accuracy: Accuracy | None = None
    network: str = ""
    pairing: Pairing | None = None
    gates: tuple[Gate, ...] = ()
    unjudged: tuple[str, ...] = ()
    pictures_per_s: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ran and met every demand."""
        return self.status == "ran" and not self.unjudged and all(gate.ok for gate in self.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """Which pictures: names and numbers only, no path.

    Attributes:
        name: of the folder and of the one that holds it.
        digest: SHA-256 over classes, names and sizes of all pictures of the folder.
        pictures: in the folder.
        used: of them; a row has fewer where some of these are broken.
        broken: of these; no figure has them.
        seed: of the sample; None where all were used.
        classes: names in class order.
    """

    name: str
    digest: str
    pictures: int
    used: int
    broken: int
    seed: int | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that one evaluation found out.

    Attributes:
        data: which pictures.
        rows: the network, once for each size and preprocessing, then the bundles as they were given.
        broken: pictures that could not be decoded; no row has them.
        passed_over: what else lies in the folder.
        shards: how many there were.
        kept_shards: how many of them an earlier run had finished.
        other_shards: finished shards of other pictures, or of these before they changed, which were not used.
    """

    data: DataRecord
    rows: tuple[Evaluated, ...]
    broken: tuple[PassedOver, ...]
    passed_over: tuple[PassedOver, ...]
    shards: int
    kept_shards: int
    other_shards: int

    @property
    def bundles(self) -> tuple[Evaluated, ...]:
        """The rows of bundles."""
        return tuple(row for row in self.rows if row.kind == "bundle")

    @property
    def ok(self) -> bool:
        """Whether everything ran, the network too, and every bundle met every demand."""
        return all(row.ok for row in self.rows)
