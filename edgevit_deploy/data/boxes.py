"""From the raw outputs of a detector to boxes in the picture: anchors, decoding, non-maximum suppression, preprocessing undone.

Exact in NumPy, in float64, as `spec.detection.Decoding` says: the one implementation that `evaluate` uses and that apps follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import resized_size
from edgevit_deploy.spec import PADDED, Preprocess, Size
from edgevit_deploy.spec.detection import Decoding, Level

Boxes = NDArray[np.float64]
"""(n, 4): left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What was found in one picture, the largest score first.

    Attributes:
        boxes: float64 (n, 4): left, top, right, bottom.
        scores: float64 (n,), 0 to 1.
        classes: int64 (n,), by their place in class order.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]


def anchors_of(level: Level) -> Boxes:
    """Return the anchors (rows * columns * anchors, 4) of a level, in the order of its outputs' rows."""
    (rows, columns), (down, right) = level.grid, level.stride
    y, x = np.meshgrid(np.arange(rows) * down, np.arange(columns) * right, indexing="ij")
    centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    halves = np.array(level.anchors, dtype=np.float64)[None] / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1).reshape(-1, 4)


def decode_boxes(deltas: NDArray[Any], anchors: Boxes, scale_range: tuple[float | None, float]) -> Boxes:
    """Return the boxes that deltas (n, 4) make of anchors (n, 4)."""
    dx, dy, dw, dh = np.asarray(deltas, dtype=np.float64).T
    width, height = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    x, y = anchors[:, 0] + width / 2 + dx * width, anchors[:, 1] + height / 2 + dy * height
    halves = [np.exp(np.clip(scale, *scale_range)) * side / 2 for scale, side in ((dw, width), (dh, height))]
    return np.stack([x - halves[0], y - halves[1], x + halves[0], y + halves[1]], axis=1)


Region = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def clipped(boxes: Boxes, region: Region) -> Boxes:
    """Return boxes cut at the borders of a region."""
    left, top, right, bottom = region
    return np.clip(boxes, (left, top, left, top), (right, bottom, right, bottom))


def suppress(
    boxes: Boxes, scores: NDArray[np.float64], classes: NDArray[np.int64], iou_threshold: float, most: int | None = None
) -> NDArray[np.int64]:
    """Return the places of what stays after greedy non-maximum suppression in each class, the largest score first.

    Of equal scores, the earlier place comes first. A box goes where its overlap with a better one that stays is above the
    threshold, not at it. What is behind the first `most` boxes that stay is not looked at.
    """
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = np.ascontiguousarray(boxes[order].T)
    labels, areas = classes[order], (right - left) * (bottom - top)
    stays = np.ones(len(order), dtype=bool)
    kept: list[int] = []
    for place in range(len(order)):
        if len(kept) == most:
            break
        if not stays[place]:
            continue
        kept.append(int(order[place]))
        rest = slice(place + 1, None)
        width = np.minimum(right[place], right[rest]) - np.maximum(left[place], left[rest])
        height = np.minimum(bottom[place], bottom[rest]) - np.maximum(top[place], top[rest])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[place] + areas[rest] - common
        overlaps = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        stays[rest] &= (labels[rest] != labels[place]) | (overlaps <= iou_threshold)
    return np.array(kept, dtype=np.int64)


def decode(outputs: Mapping[str, NDArray[Any]], decoding: Decoding, regions: Sequence[Region]) -> list[Detections]:
    """Return what was found in each image of a batch, in pixels of the image (not of the picture that it was made from).

    Where a number of an anchor is not finite, or a box has no area left within its region, nothing is found.

    Args:
        outputs: of the detector, by name: logits (batch, anchors, classes) and deltas (batch, anchors, 4) of each level.
        decoding: of the bundle.
        regions: of each image, the part that shows its picture; boxes are cut at its borders.
    """
    anchors = [anchors_of(level) for level in decoding.levels]
    return [_of_one(outputs, decoding, anchors, region, row) for row, region in enumerate(regions)]


def _of_one(
    outputs: Mapping[str, NDArray[Any]], decoding: Decoding, anchors: list[Boxes], region: Region, row: int
) -> Detections:
    found = []
    for level, own in zip(decoding.levels, anchors, strict=True):
        logits = np.asarray(outputs[level.logits][row], dtype=np.float64)
        scores = np.where(np.isfinite(logits), _sigmoid(logits), 0).reshape(-1)
        places = np.flatnonzero(scores > decoding.score_threshold)
        places = places[np.argsort(-scores[places], kind="stable")[: decoding.candidates]]
        places = places[np.isfinite(outputs[level.deltas][row][places // logits.shape[1]]).all(axis=1)]
        rows, classes = np.divmod(places, logits.shape[1])
        boxes = clipped(decode_boxes(outputs[level.deltas][row][rows], own[rows], decoding.scale_range), region)
        there = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        found.append((boxes[there], scores[places][there], classes[there]))
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = suppress(boxes, scores, classes, decoding.iou_threshold, decoding.most)
    return Detections(boxes=boxes[kept], scores=scores[kept], classes=classes[kept])


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)))


def shown_in(size: Size, preprocess: Preprocess) -> Region:
    """Return the part of an image that shows the picture (height, width) it was made from; all of it where nothing is filled."""
    left, top = _corner(size, preprocess)
    height, width = resized_size(size, preprocess)
    bottom, right = min(preprocess.crop[0], top + height), min(preprocess.crop[1], left + width)
    return max(0, left), max(0, top), right, bottom


def in_picture(boxes: Boxes, size: Size, preprocess: Preprocess) -> Boxes:
    """Return boxes of an image in pixels of the upright picture (height, width) that it was made from, cut at its borders."""
    left, top = _corner(size, preprocess)
    height, width = resized_size(size, preprocess)
    scale = size[1] / width, size[0] / height
    return clipped((boxes - (left, top, left, top)) * (*scale, *scale), (0, 0, size[1], size[0]))


def _corner(size: Size, preprocess: Preprocess) -> tuple[int, int]:
    """Return where in the image the left top corner of the resized picture is; of a cropped one that is outside of it."""
    height, width = resized_size(size, preprocess)
    left_over = preprocess.crop[1] - width, preprocess.crop[0] - height
    if preprocess.fit == "pad":
        return 0, 0
    if preprocess.fit in PADDED:
        return left_over[0] // 2, left_over[1] // 2
    return -round(-left_over[0] / 2), -round(
        -left_over[1] / 2
    )  # the crop's corner in the resized picture, as it is rounded there
