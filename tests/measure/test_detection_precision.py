"""Average precision: pycocotools' figures on cases that can be counted by hand, and our own sums against its."""

from dataclasses import replace

import numpy as np
import pytest

from edgevit_deploy.data.boxes import Detections
from edgevit_deploy.data.coco import Annotation
from edgevit_deploy.measure.detection.precision import Matches, count, interval
from tests.helpers.coco import CATEGORIES, coco_document

pytest.importorskip("pycocotools")

Found = dict[int, Detections]


def annotations_of(document: dict) -> list[Annotation]:
    return [
        Annotation(
            picture=box["image_id"],
            category=box["category_id"],
            box=tuple(box["bbox"]),
            area=box["area"],
            crowd=bool(box["iscrowd"]),
        )
        for box in document["annotations"]
    ]


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return Detections(boxes=table[:, :4], scores=table[:, 4], classes=table[:, 5].astype(np.int64))


def noisy(annotations: list[Annotation], pictures: list[int], seed: int) -> Found:
    """Each box found somewhere near, most of them; some of another class, and some of nothing."""
    rng = np.random.default_rng(seed)
    classes = list(CATEGORIES)
    rows: dict[int, list[tuple[float, ...]]] = {picture: [] for picture in pictures}
    for each in annotations:
        x, y, w, h = each.box
        if rng.random() < 0.85:
            dx, dy, dw, dh = rng.normal(size=4) * 0.08 * np.array([w, h, w, h])
            label = classes.index(each.category) if rng.random() < 0.9 else int(rng.integers(3))
            box = (x + dx, y + dy, x + dx + max(1, w + dw), y + dy + max(1, h + dh))
            rows[each.picture].append((*box, rng.random(), label))
    for picture in pictures:
        x, y = rng.integers(0, 30, size=2)
        rows[picture].append((x, y, x + 20, y + 20, rng.random() / 2, int(rng.integers(3))))
    return {picture: detections(*own) for picture, own in rows.items()}


@pytest.fixture(scope="module")
def case() -> tuple[list[Annotation], list[int], Found]:
    document = coco_document(14, seed=3, largest=200)
    annotations, pictures = annotations_of(document), [image["id"] for image in document["images"]]
    return annotations, pictures, noisy(annotations, pictures, seed=0)


def test_what_is_found_whole_is_one() -> None:
    truth = [Annotation(picture=1, category=3, box=(10, 10, 20, 20), area=400, crowd=False)]
    figures, matches = count(truth, {1: detections((10, 10, 30, 30, 0.9, 0))}, [1], (3,))
    assert [figures.ap, figures.ap50, figures.ap75, figures.small, matches.average_precision()] == pytest.approx([1] * 5)
    assert figures.medium is None
    assert figures.large is None


def test_a_box_that_overlaps_by_six_tenths_counts_at_three_thresholds() -> None:
    truth = [Annotation(picture=1, category=3, box=(0, 0, 10, 10), area=100, crowd=False)]
    figures, matches = count(truth, {1: detections((0, 0, 10, 6.2, 0.9, 0))}, [1], (3,))
    assert [figures.ap, matches.average_precision()] == pytest.approx([0.3] * 2), "0.5, 0.55 and 0.6"
    assert (figures.ap50, figures.ap75) == (pytest.approx(1), 0)


def test_nothing_found_is_none_of_it_and_another_class_is_wrong() -> None:
    truth = [Annotation(picture=1, category=3, box=(0, 0, 10, 10), area=100, crowd=False)]
    for found in ({}, {1: detections()}, {1: detections((0, 0, 10, 10, 0.9, 1))}):
        figures, matches = count(truth, found, [1], (3, 7))
        assert figures.ap == matches.average_precision() == 0


def test_a_class_without_category_counts_nowhere() -> None:
    truth = [Annotation(picture=1, category=3, box=(0, 0, 10, 10), area=100, crowd=False)]
    figures, _ = count(truth, {1: detections((0, 0, 10, 10, 0.5, 0), (0, 0, 10, 10, 0.9, 1))}, [1], (3, 0))
    assert figures.ap == pytest.approx(1)


def test_without_any_annotation_there_is_no_figure() -> None:
    figures, matches = count([], {1: detections((0, 0, 10, 10, 0.9, 0))}, [1], (3,))
    assert figures.ap is None
    assert matches.average_precision() is None
    assert interval(matches.spread) is None


@pytest.mark.parametrize("coarse", [False, True])
def test_our_sums_are_those_of_pycocotools(case: tuple[list[Annotation], list[int], Found], coarse: bool) -> None:
    """Also where many scores are equal."""
    annotations, pictures, found = case
    if coarse:
        found = {number: replace(each, scores=np.round(each.scores, 1)) for number, each in found.items()}
    figures, matches = count(annotations, found, pictures, tuple(CATEGORIES))
    assert figures.ap is not None
    assert 0.2 < figures.ap < 0.8, "neither all nor nothing"
    assert matches.average_precision() == pytest.approx(figures.ap, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_a_picture_that_is_there_so_many_times(case: tuple[list[Annotation], list[int], Found], seed: int) -> None:
    annotations, pictures, found = case
    weights = np.random.default_rng(seed).multinomial(len(pictures), np.full(len(pictures), 1 / len(pictures)))
    _, matches = count(annotations, found, pictures, tuple(CATEGORIES))
    copies = {10_000 * copy + picture: picture for picture, times in zip(pictures, weights, strict=True) for copy in range(times)}
    repeated = [replace(each, picture=new) for new, old in copies.items() for each in annotations if each.picture == old]
    figures, _ = count(repeated, {new: found[old] for new, old in copies.items()}, list(copies), tuple(CATEGORIES))
    assert matches.average_precision(weights) == pytest.approx(figures.ap, abs=1e-12)
    assert matches.average_precision(np.ones_like(weights)) != pytest.approx(figures.ap, abs=1e-6), "negative control"


def test_the_interval_is_around_the_figure_and_the_same_each_time(case: tuple[list[Annotation], list[int], Found]) -> None:
    annotations, pictures, found = case
    figures, matches = count(annotations, found, pictures, tuple(CATEGORIES))
    span = interval(matches.spread)
    assert span is not None
    assert span[0] < figures.ap < span[1]  # type: ignore[operator]
    again = Matches(pictures=matches.pictures, categories=matches.categories)
    np.testing.assert_array_equal(again.spread, matches.spread)
    np.testing.assert_array_equal(again.spread - matches.spread, 0), "the same sets of pictures: a pairing"
