"""Average precision as COCO counts it, by pycocotools, and its spread over other pictures of the same kind.

pycocotools matches boxes and gives the figures. Its matches, picture by picture, are then added up again for pictures drawn with
repetition (a bootstrap): the same sums, by NumPy, since pycocotools takes a minute for what is needed hundreds of times.
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.boxes import Detections
from edgevit_deploy.data.coco import NO_CATEGORY, Annotation
from edgevit_deploy.errors import MissingError
from edgevit_deploy.registry import requires

LIBRARY, EXTRA = "pycocotools", "detect"

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)
MOST = 100
"""Boxes of one picture and category that count."""

RESAMPLES = 300
"""Sets of pictures that are drawn for an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Average precision, 0 to 1; None where no box of the annotations has that size.

    Attributes:
        ap: the mean over overlaps (IoU) from 0.5 to 0.95 and over categories.
        ap50: at an overlap of 0.5.
        ap75: at an overlap of 0.75.
        small: as `ap`, of boxes of less than 32 x 32 pixels.
        medium: of 32 x 32 up to 96 x 96.
        large: of more.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Category:
    """The matches of one category, the largest score first.

    Attributes:
        pictures: of each box found, its place among all pictures, (boxes,).
        right: matched with an annotation at each threshold, (thresholds, boxes).
        wrong: matched with none, likewise; what matches a crowd is neither.
        positives: annotations to be found in each picture, (pictures,).
    """

    pictures: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    positives: NDArray[np.int64]

    def precision(self, weights: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return the mean precision over recalls, (thresholds,), where each picture is there so many times; None of nothing."""
        total = int(self.positives @ weights)
        if not total:
            return None
        times = weights[self.pictures]
        right, wrong = (np.cumsum(np.where(kind, times, 0), axis=1) for kind in (self.right, self.wrong))
        precision = right / np.maximum(right + wrong, 1)
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([best_from_here, np.zeros((len(precision), 1))], axis=1)
        recall = right / total
        return np.array([padded[row, np.searchsorted(recall[row], RECALLS, side="left")].mean() for row in range(len(precision))])


@dataclass(frozen=True)
class Matches:
    """What was matched in each picture, and so the average precision of any choice of them."""

    pictures: int
    categories: tuple[_Category, ...]

    def average_precision(self, weights: NDArray[np.int64] | None = None) -> float | None:
        """Return the mean over thresholds and categories, where each picture is there as many times as its weight says."""
        weights = np.ones(self.pictures, np.int64) if weights is None else weights
        found = [precision for category in self.categories if (precision := category.precision(weights)) is not None]
        return float(np.mean(found)) if found else None

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """The average precision of `RESAMPLES` sets of as many pictures, drawn with repetition, the same sets for any matches."""
        draws = np.random.default_rng(0).multinomial(self.pictures, np.full(self.pictures, 1 / self.pictures), size=RESAMPLES)
        values = [self.average_precision(weights) for weights in draws.astype(np.int64)]
        return np.array([math.nan if value is None else value for value in values])


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return from where to where the middle 95 % of resampled values reach; None where there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def check_library() -> None:
    """Refuse where pycocotools is not installed.

    Raises:
        MissingError: saying how to install it.
    """
    available = requires(LIBRARY, extra=EXTRA)
    if not available.ok:
        raise MissingError(f"average precision is counted by {LIBRARY}: {available.detail}; {available.fix}")


def count(
    annotations: Sequence[Annotation],
    found: Mapping[int, Detections],
    pictures: Sequence[int],
    categories: Sequence[int],
) -> tuple[Figures, Matches]:
    """Compare what was found with annotations.

    Args:
        annotations: of these pictures and of others.
        found: number of a picture -> what was found in it, in pixels of the picture.
        pictures: the numbers of those that count.
        categories: of each class, in class order.

    Raises:
        MissingError: pycocotools is not installed.
    """
    check_library()
    from pycocotools.cocoeval import COCOeval

    wanted = set(pictures)
    truth = [_entry(each) for each in annotations if each.picture in wanted]
    with contextlib.redirect_stdout(io.StringIO()):
        numbers = sorted({each.category for each in annotations} | set(categories) - {NO_CATEGORY})
        evaluation = COCOeval(
            _index(truth, pictures, numbers), _index(list(_results(found, wanted, categories)), pictures, numbers), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75, small, medium, large = (None if value < 0 else float(value) for value in evaluation.stats[:6])
    figures = Figures(ap=ap, ap50=ap50, ap75=ap75, small=small, medium=medium, large=large)
    return figures, _matches(evaluation, sorted(wanted))


def _entry(annotation: Annotation) -> dict[str, Any]:
    return {
        "image_id": annotation.picture,
        "category_id": annotation.category,
        "bbox": list(annotation.box),
        "area": annotation.area,
        "iscrowd": int(annotation.crowd),
    }


def _results(found: Mapping[int, Detections], wanted: set[int], categories: Sequence[int]) -> Iterator[dict[str, Any]]:
    for picture, detections in found.items():
        rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True)
        for (left, top, right, bottom), score, label in rows:
            if picture in wanted and categories[label] != NO_CATEGORY:
                width, height = right - left, bottom - top
                yield {
                    "image_id": picture,
                    "category_id": categories[label],
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": score,
                }


def _index(entries: list[dict[str, Any]], pictures: Sequence[int], categories: Sequence[int]) -> Any:
    """Return pycocotools' index of annotations or results; their own numbers count from 1, since it takes 0 for no match."""
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": number} for number in pictures],
        "categories": [{"id": number} for number in categories],
        "annotations": [{**entry, "id": place} for place, entry in enumerate(entries, start=1)],
    }
    index.createIndex()
    return index


def _matches(evaluation: Any, pictures: Sequence[int]) -> Matches:
    """Return the matches of boxes of any size: the first area of each category in pycocotools' list."""
    places = {number: place for place, number in enumerate(pictures)}
    areas, count_ = len(evaluation.params.areaRng), len(evaluation.params.imgIds)
    categories = []
    for number in range(len(evaluation.params.catIds)):
        start = number * areas * count_
        parts = [part for part in evaluation.evalImgs[start : start + count_] if part is not None]
        positives = np.zeros(len(pictures), np.int64)
        for part in parts:
            positives[places[part["image_id"]]] = int((part["gtIgnore"] == 0).sum())
        categories.append(_category(parts, places, positives))
    return Matches(pictures=len(pictures), categories=tuple(categories))


def _category(parts: list[dict[str, Any]], places: Mapping[int, int], positives: NDArray[np.int64]) -> _Category:
    scores = np.array([score for part in parts for score in part["dtScores"]], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    owners = [places[part["image_id"]] for part in parts for _ in part["dtScores"]]
    none = np.zeros((len(THRESHOLDS), 0))
    matched = np.concatenate([none, *(part["dtMatches"] for part in parts)], axis=1)[:, order] > 0
    ignored = np.concatenate([none, *(part["dtIgnore"] for part in parts)], axis=1)[:, order] > 0
    return _Category(
        pictures=np.array(owners, dtype=np.int64)[order],
        right=matched & ~ignored,
        wrong=~matched & ~ignored,
        positives=positives,
    )
