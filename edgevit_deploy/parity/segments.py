"""From maps of classes to counts of pixels for each picture, and from those to mIoU with intervals over pictures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.masks import IGNORED

RESAMPLES = 2000
SEED = 0
AT_ONCE = 100
"""Resamples whose weights are in memory together: each has a number for every picture."""

Pixels = NDArray[np.int64]
"""(pictures, classes) or (pictures,)."""


@dataclass(slots=True, kw_only=True)
class PixelCounts:
    """Of one subject: for each picture, how many pixels of each class are so by the mask, by the subject, and by both.

    `agreeing` counts, of the `compared` pixels, those to which another subject gives the same class.
    """

    classes: int
    not_finite: int = 0
    _rows: list[tuple[Pixels, Pixels, Pixels, int, int]] = field(default_factory=list)

    def add(
        self, said: NDArray[np.signedinteger[Any]], mask: NDArray[np.uint8], other: NDArray[np.signedinteger[Any]] | None = None
    ) -> None:
        """Take one picture.

        Args:
            said: the class that the subject gives each pixel, -1 for none, (height, width).
            mask: the right class, 255 for none, (height, width).
            other: what another subject says, for `agreeing`.
        """
        judged = mask != IGNORED
        truth, own = mask[judged].astype(np.int64), said[judged]
        finite = own >= 0
        self.not_finite += int((~finite).sum())
        self._rows.append(
            (
                np.bincount(truth[truth == own], minlength=self.classes),
                np.bincount(truth, minlength=self.classes),
                np.bincount(own[finite], minlength=self.classes),
                0 if other is None else int(((own == other[judged]) & finite).sum()),
                len(own),
            )
        )

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def both(self) -> Pixels:
        """(pictures, classes)."""
        return np.array([row[0] for row in self._rows])

    @property
    def truth(self) -> Pixels:
        """(pictures, classes)."""
        return np.array([row[1] for row in self._rows])

    @property
    def said(self) -> Pixels:
        """(pictures, classes)."""
        return np.array([row[2] for row in self._rows])

    @property
    def agreeing(self) -> Pixels:
        """(pictures,)."""
        return np.array([row[3] for row in self._rows])

    @property
    def judged(self) -> Pixels:
        """(pictures,)."""
        return np.array([row[4] for row in self._rows])


Weights = NDArray[np.float64]
"""(resamples, pictures): how often each picture is drawn."""


def ious(counts: PixelCounts, weights: Weights) -> NDArray[np.float64]:
    """Return intersection over union of each class, (resamples, classes); not a number where a class is nowhere.

    Intersections and unions are summed over all pictures before they are divided, as is usual for segmentation.
    """
    both, either = weights @ counts.both, weights @ (counts.truth + counts.said - counts.both)
    with np.errstate(invalid="ignore"):
        return np.where(either > 0, both / np.where(either > 0, either, 1), np.nan)


def mean_iou(counts: PixelCounts, weights: Weights) -> NDArray[np.float64]:
    """Return the mean over the classes that are somewhere, by the mask or by the subject, (resamples,).

    It is not a number where none is: with nothing judged there is nothing to be right about.
    """
    found = ious(counts, weights)
    there = np.isfinite(found)
    return _shares(np.where(there, found, 0).sum(axis=1), there.sum(axis=1))


def pixel_accuracy(counts: PixelCounts, weights: Weights) -> NDArray[np.float64]:
    """Return the share of all judged pixels with the right class, (resamples,); not a number without any."""
    return _shares(weights @ counts.both.sum(axis=1), weights @ counts.judged)


def class_accuracy(counts: PixelCounts, weights: Weights) -> NDArray[np.float64]:
    """Return the share of each class's own pixels that are found, (resamples, classes); not a number without any."""
    truth = weights @ counts.truth
    return np.where(truth > 0, (weights @ counts.both) / np.where(truth > 0, truth, 1), np.nan)


def agreement(counts: PixelCounts, weights: Weights) -> NDArray[np.float64]:
    """Return the share of all judged pixels to which the other subject gives the same class, (resamples,).

    Not a number where none is judged.
    """
    return _shares(weights @ counts.agreeing, weights @ counts.judged)


def _shares(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan))


Statistic = Callable[[Weights], NDArray[np.float64]]


def value_of(statistic: Statistic, pictures: int) -> NDArray[np.float64]:
    """Return a statistic of all pictures, each once: () or (classes,)."""
    return np.asarray(statistic(np.ones((1, pictures)))[0])


def interval_of(statistic: Statistic, pictures: int) -> NDArray[np.float64]:
    """Return the 95 % interval of a statistic by the bootstrap over pictures, (2,) or (2, classes).

    Pixels of one picture are alike, so pictures are drawn, with replacement, and never pixels; the percentiles of 2000 such
    samples are the ends (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). The seed is fixed.
    """
    drawn = np.concatenate([statistic(weights) for weights in _resamples(pictures)])
    columns = drawn.reshape(len(drawn), -1)
    ends, there = np.full((2, columns.shape[1]), np.nan), np.isfinite(columns).any(axis=0)
    if there.any():
        ends[:, there] = np.nanpercentile(columns[:, there], [2.5, 97.5], axis=0)
    return ends.reshape(2, *drawn.shape[1:])


def _resamples(pictures: int) -> Iterator[Weights]:
    rng = np.random.default_rng(SEED)
    for _ in range(0, RESAMPLES, AT_ONCE):
        yield rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=AT_ONCE).astype(np.float64)
