"""From raw outputs to boxes: anchors and decoding against torchvision's own, suppression against brute force."""

import itertools
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgevit_deploy.data.boxes import Detections, Region, anchors_of, decode, decode_boxes, in_picture, shown_in, suppress
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.spec.detection import MAX_CANDIDATES, Decoding, decoding_objections, decoding_of, level_sizes

SIZES = [(128, 128), (96, 160), (512, 512), (64, 32)]


@pytest.mark.parametrize("size", SIZES)
def test_anchors_are_those_that_torchvision_makes(size: tuple[int, int]) -> None:
    make_torchvision_importable()
    pytest.importorskip("torchvision")
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.retinanet import _default_anchorgen

    maps = [torch.zeros(1, 1, *grid) for grid in level_sizes(size)]
    (theirs,) = _default_anchorgen()(ImageList(torch.zeros(1, 3, *size), [size]), maps)
    ours = np.concatenate([anchors_of(level) for level in decoding_of("torchvision", size).levels])
    np.testing.assert_array_equal(ours, theirs.double().numpy())


def test_anchors_of_mmdetection_are_its_formula() -> None:
    """AnchorGenerator with octave_base_scale 4, three scales an octave, ratios 0.5, 1, 2: written out position by position."""
    for level, stride in zip(decoding_of("mmdet", (96, 160)).levels, (8, 16, 32, 64, 128), strict=True):
        expected = [
            (x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2)
            for y, x in itertools.product(range(-(-96 // stride)), range(-(-160 // stride)))
            for ratio in (0.5, 1, 2)
            for i in range(3)
            for w, h in [(stride * 4 * 2 ** (i / 3) / math.sqrt(ratio), stride * 4 * 2 ** (i / 3) * math.sqrt(ratio))]
        ]
        np.testing.assert_allclose(anchors_of(level), expected, rtol=1e-12)


def test_the_two_rules_differ() -> None:
    """Negative control: anchors of the other library would be seen."""
    ours, theirs = (anchors_of(decoding_of(rule, (96, 96)).levels[3]) for rule in ("torchvision", "mmdet"))
    assert np.abs(ours - theirs).max() > 10, "torchvision's sixth level has a stride of 48 there, not 64"


def test_decoding_is_that_of_torchvision() -> None:
    make_torchvision_importable()
    pytest.importorskip("torchvision")
    from torchvision.models.detection._utils import BoxCoder

    level = decoding_of("torchvision", (128, 128)).levels[2]
    anchors = anchors_of(level)
    deltas = np.random.default_rng(0).normal(size=(len(anchors), 4)) * 3  # some beyond the largest scale
    theirs = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(torch.from_numpy(deltas), torch.from_numpy(anchors))
    np.testing.assert_allclose(decode_boxes(deltas, anchors, (None, math.log(1000 / 16))), theirs.numpy(), rtol=1e-12, atol=1e-9)
    swapped = decode_boxes(deltas[:, [1, 0, 3, 2]], anchors, (None, math.log(1000 / 16)))
    assert np.abs(swapped - theirs.numpy()).max() > 1, "negative control: x and y swapped"


def test_mmdetection_cuts_small_scales_too() -> None:
    anchors = np.array([[0.0, 0, 100, 100]])
    deltas = np.array([[0.0, 0, -9, 9]])
    ((left, top, right, bottom),) = decode_boxes(deltas, anchors, decoding_of("mmdet", (64, 64)).scale_range)
    assert right - left == pytest.approx(100 * 16 / 1000)
    assert bottom - top == pytest.approx(100 * 1000 / 16)


def brute_force(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float) -> list[int]:
    """What stays, box by box: no better one of its class that stays covers it by more than the threshold."""
    kept: list[int] = []
    for place in sorted(range(len(boxes)), key=lambda place: (-scores[place], place)):
        if all(classes[place] != classes[other] or overlap(boxes[place], boxes[other]) <= threshold for other in kept):
            kept.append(place)
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = (min(a[2 + axis], b[2 + axis]) - max(a[axis], b[axis]) for axis in (0, 1))
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


@pytest.mark.parametrize("seed", range(20))
def test_suppression_is_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, size=(40, 2)).astype(float)
    boxes = np.concatenate([corners, corners + rng.integers(0, 9, size=(40, 2))], axis=1)  # some without area, many alike
    scores, classes = rng.integers(0, 6, size=40) / 6, rng.integers(0, 3, size=40)
    for threshold in (0.0, 0.3, 0.5, 1.0):
        assert suppress(boxes, scores, classes, threshold).tolist() == brute_force(boxes, scores, classes, threshold)
        assert suppress(boxes, scores, classes, threshold, 3).tolist() == brute_force(boxes, scores, classes, threshold)[:3]


def test_an_overlap_at_the_threshold_stays() -> None:
    boxes = np.array([[0.0, 0, 2, 2], [0, 0, 2, 1]])  # half of the union
    scores, classes = np.array([0.9, 0.8]), np.array([0, 0])
    assert suppress(boxes, scores, classes, 0.5).tolist() == [0, 1]
    assert suppress(boxes, scores, classes, 0.49).tolist() == [0]
    assert suppress(boxes, scores, np.array([0, 1]), 0.0).tolist() == [0, 1], "classes do not suppress each other"
    assert suppress(boxes[:0], scores[:0], classes[:0], 0.5).tolist() == []


def outputs_for(decoding: Decoding, classes: int, *, value: float = -20.0) -> dict[str, np.ndarray]:
    outputs = {}
    for level in decoding.levels:
        count = level.grid[0] * level.grid[1] * len(level.anchors)
        outputs[level.logits] = np.full((1, count, classes), value, dtype=np.float32)
        outputs[level.deltas] = np.zeros((1, count, 4), dtype=np.float32)
    return outputs


def found_at(level: int, anchor: int, label: int, region: Region = (0, 0, 256, 256)) -> Detections:
    decoding = decoding_of("mmdet", (256, 256))
    outputs = outputs_for(decoding, classes=5)
    outputs[decoding.levels[level].logits][0, anchor, label] = 3.0
    (found,) = decode(outputs, decoding, [region])
    return found


def test_one_large_logit_is_one_box_of_its_anchor() -> None:
    level = decoding_of("mmdet", (256, 256)).levels[1]
    row, column, anchor = 5, 7, 3  # ratio 1, octave 0: 64 x 64, centred on (112, 80)
    found = found_at(1, (row * level.grid[1] + column) * 9 + anchor, label=4)
    np.testing.assert_allclose(found.boxes, [[112 - 32, 80 - 32, 112 + 32, 80 + 32]])
    assert found.classes.tolist() == [4]
    assert found.scores == pytest.approx([1 / (1 + math.exp(-3))])
    assert found_at(2, 8, label=0).boxes[0, 0] == 0, "cut at the border of what is shown"
    assert len(found_at(1, (row * level.grid[1] + column) * 9 + anchor, label=4, region=(0, 0, 256, 48)).boxes) == 0, (
        "all below it"
    )


def test_a_score_at_the_threshold_and_numbers_that_are_none_are_no_boxes() -> None:
    decoding = decoding_of("mmdet", (64, 64))
    outputs = outputs_for(decoding, classes=2)
    outputs["logits_p3"][0, 0, 0] = math.log(0.05 / 0.95) - 1e-3
    outputs["logits_p3"][0, 1, 0] = np.nan
    outputs["logits_p4"][0, 0, 1] = 9.0
    outputs["deltas_p4"][0, 0, 0] = np.inf
    (found,) = decode(outputs, decoding, [(0, 0, 64, 64)])
    assert len(found.boxes) == 0


def test_at_most_so_many_boxes_and_candidates() -> None:
    decoding = decoding_of("mmdet", (256, 256))
    outputs = outputs_for(decoding, classes=40)
    outputs["logits_p3"][:] = np.random.default_rng(0).normal(size=outputs["logits_p3"].shape)
    (found,) = decode(outputs, decoding, [(0, 0, 256, 256)])
    assert len(found.boxes) == decoding.most == 100
    assert (np.diff(found.scores) <= 0).all()


def test_the_most_that_a_manifest_may_ask_for_takes_seconds_not_minutes() -> None:
    """Boxes that do not touch, so that none goes: as many as five levels may give."""
    rng, count = np.random.default_rng(0), 5 * MAX_CANDIDATES
    corners = np.stack([np.arange(count) * 2.0, np.zeros(count)], axis=1)
    boxes = np.concatenate([corners, corners + 1], axis=1)
    start = time.process_time()
    kept = suppress(boxes, rng.random(count), np.zeros(count, np.int64), 0.5, MAX_CANDIDATES)
    assert len(kept) == MAX_CANDIDATES
    assert time.process_time() - start < 10


@pytest.mark.parametrize("fit", ["cover", "stretch", "letterbox", "pad"])
@pytest.mark.parametrize("picture", [(90, 40), (40, 90), (61, 200)])
def test_a_box_is_put_back_where_the_picture_has_it(fit: str, picture: tuple[int, int], tmp_path: Path) -> None:
    """A white rectangle is drawn, the picture prepared as for a network, the rectangle found there and put back."""
    height, width = picture
    rectangle = (width // 2 - 12, height // 2 - 8, width // 2 + 9, height // 2 + 11)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[rectangle[1] : rectangle[3], rectangle[0] : rectangle[2]] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    resize = (128, 128) if fit != "cover" else (160, 160)
    preprocess = Preprocess(resize=resize, crop=(128, 128), fit=fit, mean=(0.0, 0.0, 0.0), interpolation="bilinear")  # type: ignore[arg-type]
    rows, columns = np.nonzero(read_pixels(tmp_path / "a.png", preprocess)[..., 0] > 127)
    seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=np.float64)
    left, top, right, bottom = shown_in(picture, preprocess)
    assert (left, top) <= (columns.min(), rows.min()), "all of it is in what is shown"
    assert (right, bottom) >= (columns.max() + 1, rows.max() + 1)
    if fit in ("letterbox", "pad"):
        white = np.full((*picture, 3), 255, np.uint8)
        Image.fromarray(white).save(tmp_path / "white.png")
        there = np.nonzero(read_pixels(tmp_path / "white.png", preprocess)[..., 0])
        assert (left, top, right, bottom) == (there[1].min(), there[0].min(), there[1].max() + 1, there[0].max() + 1)
    else:
        assert (left, top, right, bottom) == (0, 0, 128, 128)
    back = in_picture(seen, picture, preprocess)
    pixel = max(height, width) / 128 + 0.5
    assert np.abs(back - rectangle).max() <= pixel, (back, rectangle)
    other = preprocess if fit == "pad" else Preprocess(resize=(128, 128), crop=(128, 128), fit="pad")
    wrong = in_picture(seen, picture[::-1] if fit == "pad" else picture, other)
    assert np.abs(wrong - rectangle).max() > pixel, "negative control: another way to prepare"


def test_a_decoding_from_outside_is_checked() -> None:
    from dataclasses import replace

    good = decoding_of("torchvision", (128, 128))
    level = good.levels[0]
    assert not list(decoding_objections(good))
    for bad in (
        replace(good, levels=()),
        replace(good, levels=(*good.levels, replace(level, logits="logits_p8", deltas="deltas_p8"))),
        replace(good, levels=(level,) * 2),
        replace(good, levels=good.levels * 8000),
        replace(good, levels=(replace(level, logits="both", deltas="both"),)),
        replace(good, candidates=4097),
        replace(good, most=4097),
        replace(good, candidates=0),
        replace(good, score_threshold=math.nan),
        replace(good, scale_range=(None, math.inf)),
        replace(good, levels=(replace(level, anchors=((0.0, 1.0),)),)),
        replace(good, levels=(replace(level, grid=(0, 4)),)),
    ):
        assert list(decoding_objections(bad)), bad
