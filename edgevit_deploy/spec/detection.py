"""How the raw outputs of a detector become boxes: what a manifest says of it, since anchors and their order are in no file."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from edgevit_deploy.spec.preprocess import Size

LEVELS = (3, 4, 5, 6, 7)
"""Of the pyramid: positions of level P are about 2**P pixels apart; P3 to P5 belong to stages 2 to 4."""

SIZES = (32, 64, 128, 256, 512)
"""Sides in pixels of the smallest square anchor of each level (RetinaNet, section 4)."""

OCTAVES = (0, 1 / 3, 2 / 3)
RATIOS = (0.5, 1.0, 2.0)
"""Height / width."""

ANCHORS = len(OCTAVES) * len(RATIOS)
"""At each position."""

DELTAS = 4
"""Numbers of each anchor: dx, dy, dw, dh."""

AnchorRule = Literal["torchvision", "mmdet"]
"""Whose anchors and decoding a detector was trained with; nothing of them is in its tensors."""

LARGEST_SCALE = math.log(1000 / 16)
"""Of the logarithm of a side by its anchor's; beyond, it is cut (torchvision's BoxCoder, mmdetection's DeltaXYWHBBoxCoder)."""

MAX_CANDIDATES = 4096
"""Of one level, and boxes of one picture: the libraries have 1000, and 100 or 300."""

MAX_ANCHOR_SIDE = 2.0**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of the pyramid in a bundle.

    Attributes:
        logits: name of the output with one number a class for each anchor; their sigmoids are the scores.
        deltas: name of the output with the four numbers (dx, dy, dw, dh) of each anchor.
        grid: rows and columns of positions.
        stride: pixels of the image from one row to the next, and from one column to the next.
        anchors: (width, height) in pixels of each anchor at a position; all are centred on (column * stride, row * stride).
    """

    logits: str
    deltas: str
    grid: Size
    stride: Size
    anchors: tuple[tuple[float, float], ...]

    @property
    def rows(self) -> int:
        """Of either output, for one image."""
        return self.grid[0] * self.grid[1] * len(self.anchors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How the outputs of a detector become boxes.

    The rows of an output are anchors: row by row of the grid, in each position by position, in each anchor by anchor. With an
    anchor's centre (x, y), width w and height h, the box is centred on (x + dx * w, y + dy * h), w * exp(dw) wide and
    h * exp(dh) high.

    Attributes:
        levels: of the pyramid, the finest first.
        scale_range: dw and dh are cut to it; None is no end.
        score_threshold: only pairs of box and class with a larger score are candidates.
        candidates: of one level, those with the largest scores.
        iou_threshold: a candidate that covers a better one of its class by more than it (intersection over union) is dropped.
        most: boxes of one picture, those with the largest scores.
    """

    levels: tuple[Level, ...]
    scale_range: tuple[float | None, float]
    score_threshold: float
    candidates: int
    iou_threshold: float
    most: int


def level_sizes(size: Size) -> tuple[Size, ...]:
    """Return (rows, columns) of each level for an image (height, width): the strided convolutions of P6 and P7 round up."""
    sizes = [(size[0] // 2**level, size[1] // 2**level) for level in LEVELS[:3]]
    for _ in LEVELS[3:]:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return tuple(sizes)


def detection_outputs(size: Size | None, num_classes: int) -> dict[str, tuple[int | str, int]]:
    """Return the name of each output and its axes behind the batch: the logits of all levels, then their deltas."""
    counts: list[int | str] = [f"anchors_p{level}" for level in LEVELS]
    if size is not None:
        counts = [rows * columns * ANCHORS for rows, columns in level_sizes(size)]
    logits, deltas = zip(*map(output_names, LEVELS), strict=True)
    return dict(zip(logits, ((count, num_classes) for count in counts), strict=True)) | dict(
        zip(deltas, ((count, DELTAS) for count in counts), strict=True)
    )


def output_names(level: int) -> tuple[str, str]:
    """Return what the two outputs of a level are called."""
    return f"logits_p{level}", f"deltas_p{level}"


def decoding_of(rule: AnchorRule, size: Size) -> Decoding:
    """Return how a detector is decoded that was trained by one of the two libraries, for its image size.

    torchvision (models/detection/retinanet.py, anchor_utils.py) rounds the sides of anchors down and then their corners to whole
    pixels, and its strides are the image's sides by those of the grid, rounded down. mmdetection (AnchorGenerator with
    octave_base_scale 4) does neither; it cuts dw and dh at both ends, and keeps 100 boxes where torchvision keeps 300.
    """
    levels = []
    for level, side, grid in zip(LEVELS, SIZES, level_sizes(size), strict=True):
        logits, deltas = output_names(level)
        stride = (size[0] // grid[0], size[1] // grid[1]) if rule == "torchvision" else (2**level, 2**level)
        levels.append(Level(logits=logits, deltas=deltas, grid=grid, stride=stride, anchors=tuple(_anchors(rule, side))))
    return Decoding(
        levels=tuple(levels),
        scale_range=(None if rule == "torchvision" else -LARGEST_SCALE, LARGEST_SCALE),
        score_threshold=0.05,
        candidates=1000,
        iou_threshold=0.5,
        most=300 if rule == "torchvision" else 100,
    )


def _anchors(rule: AnchorRule, side: int) -> Iterator[tuple[float, float]]:
    """Yield (width, height) of the anchors of a level: the ratios one after the other, in each the octaves."""
    for ratio in RATIOS:
        for octave in OCTAVES:
            scale = side * 2**octave
            if rule == "torchvision":
                scale = int(scale)
                yield 2.0 * round(scale / math.sqrt(ratio) / 2), 2.0 * round(scale * math.sqrt(ratio) / 2)
            else:
                yield scale / math.sqrt(ratio), scale * math.sqrt(ratio)


def decoding_objections(decoding: Decoding) -> Iterator[str]:
    """Yield what is wrong with a decoding whose fields have the right types; it may have been read from anyone's manifest."""
    numbers = [decoding.score_threshold, decoding.iou_threshold, decoding.scale_range[1]]
    if not all(map(math.isfinite, numbers)) or not 0 <= decoding.score_threshold < 1 or not 0 <= decoding.iou_threshold <= 1:
        yield "a threshold of the decoding is not between 0 and 1"
    if not 0 < decoding.scale_range[1] <= 20 or not math.isfinite(decoding.scale_range[0] or 0):
        yield f"scale_range {decoding.scale_range}, expected an end from 0 to 20"
    if not 1 <= decoding.candidates <= MAX_CANDIDATES or not 1 <= decoding.most <= MAX_CANDIDATES:
        yield f"counts of boxes, expected 1 to {MAX_CANDIDATES}"
    if not 1 <= len(decoding.levels) <= len(LEVELS):
        yield f"{len(decoding.levels)} levels, expected 1 to {len(LEVELS)}"
        return
    names = [name for level in decoding.levels for name in (level.logits, level.deltas)]
    if len(set(names)) < len(names):
        yield "an output is decoded twice"
    for level in decoding.levels:
        if not all(1 <= each <= MAX_ANCHOR_SIDE for each in (*level.grid, *level.stride)):
            yield f"{level.logits!r}: a grid {level.grid} with strides {level.stride}, expected 1 and more"
        if not level.anchors or not all(0 < side <= MAX_ANCHOR_SIDE for anchor in level.anchors for side in anchor):
            yield f"{level.logits!r}: an anchor with a side of 0, or none"


def same_geometry(one: Decoding, other: Decoding) -> bool:
    """Say whether two decodings make the same boxes of the same numbers; which of them are kept may differ.

    Sides of anchors come through powers and logarithms, whose last bit another machine may have otherwise.
    """
    if len(one.levels) != len(other.levels) or not _near(_scales(one), _scales(other)):
        return False
    return all(
        replace(mine, anchors=()) == replace(theirs, anchors=())
        and len(mine.anchors) == len(theirs.anchors)
        and all(map(_near, mine.anchors, theirs.anchors))
        for mine, theirs in zip(one.levels, other.levels, strict=True)
    )


def _scales(decoding: Decoding) -> tuple[float, float]:
    low, high = decoding.scale_range
    return (-math.inf if low is None else low), high


def _near(some: tuple[float, float], others: tuple[float, float]) -> bool:
    return all(math.isclose(one, other, rel_tol=1e-12) for one, other in zip(some, others, strict=True))
