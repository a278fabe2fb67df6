"""From the outputs of shards to counts: of each picture a few numbers are kept, however many classes there are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.image_folder import ImageFolder
from edgevit_deploy.measure.accuracy.result import Accuracy, Confused, Flip, FlipKind, Outputs, Pairing, Share
from edgevit_deploy.measure.accuracy.shards import Logits, ShardLogits
from edgevit_deploy.measure.statistics import expected_calibration_error
from edgevit_deploy.parity.gate import NOT_FINITE

FIRST = 5
"""Of top-5."""

WHOLE_CONFUSION = 30
"""Classes up to which every cell is kept; beyond, as many of the largest wrong ones."""

MOST_FLIPS = 500
"""That are named one by one; all are counted."""

NO_CLASS = -1
"""The first class of a picture whose outputs are not finite; no two of them agree."""

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was decided for some pictures: a value each; `margin` is by how much the first class leads the second."""

    first: NDArray[np.int64]
    among_five: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    margin: NDArray[np.float64]


def decide(outputs: Logits, targets: NDArray[np.int64], kind: Outputs) -> Decisions:
    """Return what outputs (n, classes) decide; a picture with one that is not finite is wrong, with no confidence and no lead."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=1))
    rows: Rows = np.where(finite[:, None], outputs, 0).astype(np.float64)
    own = np.take_along_axis(rows, targets[:, None], axis=1)
    lower = np.arange(rows.shape[1])[None] < targets[:, None]
    before = ((rows > own) | ((rows == own) & lower)).sum(axis=1)
    top = np.sort(rows, axis=1)
    likely = rows if kind == "probabilities" else softmax(rows)
    return Decisions(
        first=np.where(finite, rows.argmax(axis=1), NO_CLASS),
        among_five=finite & (before < FIRST),
        confidence=np.where(finite, np.clip(likely.max(axis=1), 0, 1), 0.0),
        margin=top[:, -1] - top[:, -2],
    )


def softmax(rows: Rows) -> Rows:
    """Return the probabilities of logits (n, classes)."""
    powers: Rows = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(slots=True, kw_only=True)
class AccuracyTally:
    """Adds up one subject's shards."""

    classes: int
    outputs: Outputs
    seconds: float = 0.0
    _parts: list[tuple[NDArray[np.int64], Decisions]] = field(default_factory=list)

    def add(self, result: ShardLogits, targets: NDArray[np.int64]) -> None:
        """Take a shard; `targets` are of the whole folder."""
        self.seconds += result.seconds
        if len(result.positions):
            own = targets[result.positions]
            self._parts.append((own, decide(result.logits, own, self.outputs)))

    @property
    def pictures(self) -> int:
        """How many there are."""
        return sum(len(targets) for targets, _ in self._parts)

    def accuracy(self) -> Accuracy:
        """Return what they come to; there must be one picture at least."""
        targets = np.concatenate([targets for targets, _ in self._parts])
        first = np.concatenate([decisions.first for _, decisions in self._parts])
        among_five = np.concatenate([decisions.among_five for _, decisions in self._parts])
        confidence = np.concatenate([decisions.confidence for _, decisions in self._parts])
        right, finite = first == targets, first != NO_CLASS
        return Accuracy(
            top1=Share(count=int(right.sum()), of=len(targets)),
            top5=Share(count=int(among_five.sum()), of=len(targets)) if self.classes > FIRST else None,
            calibration_error=expected_calibration_error(confidence[finite], right[finite]) if finite.any() else None,
            not_finite=int((~finite).sum()),
            confusion=_confusion(targets, first, self.classes),
        )


def _confusion(targets: NDArray[np.int64], first: NDArray[np.int64], classes: int) -> tuple[Confused, ...]:
    pairs = Counter(zip(targets.tolist(), first.tolist(), strict=True))
    cells = [Confused(label=label, seen=seen, pictures=count) for (label, seen), count in pairs.items() if seen != NO_CLASS]
    if classes <= WHOLE_CONFUSION:
        return tuple(sorted(cells, key=lambda cell: (cell.label, cell.seen)))
    wrong = [cell for cell in cells if cell.label != cell.seen]
    return tuple(sorted(wrong, key=lambda cell: (-cell.pictures, cell.label, cell.seen))[:WHOLE_CONFUSION])


@dataclass(slots=True, kw_only=True)
class PairingTally:
    """Adds up the shards of a bundle and of the network, the same pictures of both."""

    folder: ImageFolder
    outputs: Outputs
    bound: float | None
    _counts: Counter[str] = field(default_factory=Counter)
    _largest: float = 0.0
    _sum: float = 0.0
    _values: int = 0
    _flips: list[Flip] = field(default_factory=list)

    def add(self, network: ShardLogits, bundle: ShardLogits) -> None:
        """Take one shard of each; only pictures that both have are compared."""
        common, ours, theirs = np.intersect1d(network.positions, bundle.positions, return_indices=True)
        if not len(common):
            return
        exact, actual = network.logits[ours].astype(np.float64), bundle.logits[theirs].astype(np.float64)
        if self.outputs == "probabilities":
            exact[~np.isfinite(exact).all(axis=1)] = np.nan  # minus infinity would have a probability: 0
            exact = softmax(exact)
        with np.errstate(invalid="ignore"):
            errors = np.abs(actual - exact)
        errors[~np.isfinite(errors)] = NOT_FINITE
        worst = errors.max(axis=1)
        self._largest = max(self._largest, float(worst.max()))
        self._sum += float(errors[errors < NOT_FINITE].sum())
        self._values += errors.size
        self._counts["over bound"] += int((worst > self.bound).sum()) if self.bound is not None else 0
        targets = self.folder.targets[common]
        before, after = (decide(rows.astype(np.float32), targets, self.outputs) for rows in (exact, actual))
        same = (before.first == after.first) & (before.first != NO_CLASS)
        self._counts["both right"] += int((same & (before.first == targets)).sum())
        self._counts["both wrong"] += int((same & (before.first != targets)).sum())
        rows = np.flatnonzero(~same).tolist()
        flips = [self._flip(int(common[row]), before, after, row, float(worst[row])) for row in rows]
        self._counts.update(flip.kind for flip in flips)
        self._counts["within bound"] += sum(self.bound is not None and flip.difference <= self.bound for flip in flips)
        self._flips = widest([*self._flips, *flips])

    def _flip(self, position: int, before: Decisions, after: Decisions, row: int, difference: float) -> Flip:
        target = int(self.folder.targets[position])
        kind: FlipKind = "wrong to another wrong"
        if before.first[row] == target:
            kind = "right to wrong"
        elif after.first[row] == target:
            kind = "wrong to right"
        return Flip(
            file=self.folder.files[position],
            kind=kind,
            label=self._name(target),
            network=self._name(int(before.first[row])),
            bundle=self._name(int(after.first[row])),
            margin=float(before.margin[row]),
            difference=difference,
            position=position,
        )

    def _name(self, place: int) -> str:
        return "not finite" if place == NO_CLASS else self.folder.classes[place]

    def pairing(self) -> Pairing:
        """Return what they come to."""
        counts = self._counts
        return Pairing(
            both_right=counts["both right"],
            right_to_wrong=counts["right to wrong"],
            wrong_to_right=counts["wrong to right"],
            both_wrong_alike=counts["both wrong"],
            wrong_to_another=counts["wrong to another wrong"],
            outputs=self.outputs,
            largest_difference=self._largest,
            mean_difference=NOT_FINITE if self._largest == NOT_FINITE else self._sum / max(1, self._values),
            bound=self.bound,
            over_bound=None if self.bound is None else counts["over bound"],
            flips_within_bound=None if self.bound is None else counts["within bound"],
            flips=tuple(self._flips),
        )


def widest(flips: Sequence[Flip]) -> list[Flip]:
    """Return at most `MOST_FLIPS` of some flips, the widest margin first."""
    return sorted(flips, key=lambda flip: (-flip.margin, flip.position))[:MOST_FLIPS]
