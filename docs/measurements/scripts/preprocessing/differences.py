"""What the ways' pixels cost a network, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.spec import Size
from preprocessing.ways import OURS, Job, Pixels

BEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a way differs from the yardstick on some pictures.

    Attributes:
        read: of `pictures`, those that the way reads; all else is of these.
        worst: of a pixel's channel, of 255.
        mean: likewise, over all pixels.
        logit: the largest; None where no network takes these pixels, and so the others.
        top1: of how many the first class is another one.
        top5: of how many the first five classes are others, or in another order.
        right: of how many the first class is the picture's label; None without labels.
    """

    pictures: int
    read: int
    worst: int
    mean: float
    logit: float | None = None
    top1: int | None = None
    top5: int | None = None
    right: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found of each job, and the logits of the pixels, where a network takes them."""

    jobs: Sequence[Job]
    found: Mapping[str, Sequence[Pixels | str]]
    logits: Mapping[str, Sequence[NDArray[np.float64] | None]]
    classes: Sequence[str]

    def difference(
        self, way: str, group: str | None = None, crop: Size | None = None, kind: str | None = None
    ) -> Difference | None:
        """Return how a way differs on the pictures of a group or kind, at a size; nothing where it reads none of them."""
        places = [
            place
            for place, job in enumerate(self.jobs)
            if group in (None, job.picture.group) and kind in (None, job.picture.kind) and crop in (None, job.preprocess.crop)
        ]
        read = [place for place in places if not isinstance(self.found[way][place], str)]
        if not read:
            return None
        apart = [np.abs(self._pixels(way, place) - self._pixels(OURS, place)) for place in read]
        counts = Difference(
            pictures=len(places),
            read=len(read),
            worst=max(int(one.max()) for one in apart),
            mean=float(np.mean([one.mean() for one in apart])),
        )
        return self._decided(way, read, counts)

    def _pixels(self, way: str, place: int) -> NDArray[np.int32]:
        pixels = self.found[way][place]
        assert not isinstance(pixels, str)
        return pixels.astype(np.int32)

    def _decided(self, way: str, read: Sequence[int], counts: Difference) -> Difference:
        pairs = [(self.logits[way][place], self.logits[OURS][place]) for place in read]
        both = [(logits, own) for logits, own in pairs if logits is not None and own is not None]
        if len(both) < len(pairs):
            return counts
        ranked = [(_ranked(logits), _ranked(own)) for logits, own in both]
        labels = [self.jobs[place].picture.label for place in read]
        right = sum(self.classes[order[0]] == label for (order, _), label in zip(ranked, labels, strict=True))
        return Difference(
            **{
                **asdict(counts),
                "logit": max(float(np.abs(logits - own).max()) for logits, own in both),
                "top1": sum(order[0] != other[0] for order, other in ranked),
                "top5": sum(order[:BEST] != other[:BEST] for order, other in ranked),
                "right": None if None in labels else right,
            }
        )

    def left(self) -> list[str]:
        """Return what is left of a difference in our own ways, a line each."""
        lines = []
        for way in filter(lambda name: name.startswith("ours"), self.found):
            for kind in dict.fromkeys(job.picture.kind for job in self.jobs):
                of_kind = [found for found, job in zip(self.found[way], self.jobs, strict=True) if job.picture.kind == kind]
                refused = [found for found in of_kind if isinstance(found, str)]
                difference = self.difference(way, kind=kind)
                if refused:
                    lines.append(f"{way}, {kind}: not read ({refused[0]})")
                elif difference and difference.worst:
                    lines.append(f"{way}, {kind}: up to {difference.worst} of 255, {difference.mean:.2g} in the mean")
        return lines


def _ranked(logits: NDArray[np.float64]) -> list[int]:
    return [int(place) for place in np.argsort(-logits, kind="stable")]
