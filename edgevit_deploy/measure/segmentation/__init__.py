"""How well segmenters find the class of each pixel, and what a bundle has lost against the network that it was made from.

A mask goes through the same geometry as its picture, to the nearest pixel, so that all is judged at the size of the network's own
output. Every subject is given the same pixels, as many pictures a run as it takes; only counts are kept.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.masks import MaskFolder, nothing_to_judge, open_mask_folder
from edgevit_deploy.data.pictures import PassedOver, named
from edgevit_deploy.errors import MissingError, RunError, UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy import Sample, check_run
from edgevit_deploy.measure.accuracy.contestants import Field, Way, read_field
from edgevit_deploy.measure.accuracy.shards import Opened, Subject, open_subject
from edgevit_deploy.measure.segmentation.result import ClassScore, Estimate, PixelPairing, SegmentationEvaluation, SegmentationRow
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.parity import segments as of
from edgevit_deploy.parity.segments import PixelCounts
from edgevit_deploy.workbench import Step, quiet

NO_CLASS = -1
Maps = NDArray[np.int16]
"""The class of each pixel, (pictures, height, width)."""

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A picture, (height, width, 3), and its mask, (height, width)."""

TOGETHER = 64
"""Pictures held at a time so that runs of several sizes are full; more only where one run has more."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """A subject while pictures go through it; `network` is the place of the one that it is paired with."""

    label: str
    subject: Subject
    counts: PixelCounts
    network: int | None = None
    opened: Opened | None = None
    failure: SegmentationRow | None = None
    seconds: float = 0.0


def evaluate_segmenters(
    bundles: Sequence[Path],
    host: ThisHost,
    data: Path,
    *,
    weights: Path | None = None,
    labels: Path | None = None,
    sample: Sample = Sample(),  # noqa: B008 - frozen
    way: Way = Way(),  # noqa: B008 - frozen
    strict: bool = False,
    step: Step = quiet,
) -> SegmentationEvaluation:
    """Evaluate bundles that give each pixel a class, and the network that they were made from, on pictures with masks.

    The network's pictures are prepared as each bundle prepares its own, so that pixels can be paired.

    Args:
        bundles: the folders.
        host: finds runtimes.
        data: a folder with `images` and `masks`.
        weights: the checkpoint that the bundles were made from.
        labels: file with the names of the classes in class order.
        sample: which pictures.
        way: how they are run.
        strict: refuse what cannot be read, and everything else in the folder.
        step: told how far it is.

    Raises:
        UsageError: refused arguments, no such folder, masks without any class, bundles that are no segmenters or of several
            sizes, or with `strict` a file that cannot be used.
        BundleError: a damaged bundle.
    """
    check_run(weights, sample, way)
    step("reading the bundles")
    entrants = _read(bundles, weights, labels, way, host)
    classes = entrants.classes
    step("listing the pictures")
    folder = open_mask_folder(data)
    if strict and folder.passed_over:
        raise UsageError(f"--strict: {len(folder.passed_over)} files of {data} passed over: {named(folder.passed_over)}")
    positions = np.arange(len(folder)) if sample.limit is None else folder.sample(sample.limit, sample.seed)
    digest = folder.digest()
    folder.check_labelled(positions.tolist(), len(classes))
    running = _subjects(entrants)
    broken = _run(running, folder, positions.tolist(), len(classes), strict=strict, step=step)
    step("drawing samples of pictures for the intervals")
    real = real_path(data)
    return SegmentationEvaluation(
        data=f"{real.parent.name}/{real.name}",
        digest=digest,
        pictures=len(folder),
        used=len(positions),
        seed=sample.seed if len(positions) < len(folder) else None,
        classes=classes,
        rows=tuple(_row(each, None if each.network is None else running[each.network], classes) for each in running),
        broken=tuple(broken),
        passed_over=folder.passed_over,
    )


def _read(bundles: Sequence[Path], weights: Path | None, labels: Path | None, way: Way, host: ThisHost) -> Field:
    """Open the bundles; all must see the same pixels."""
    entrants = read_field(bundles, weights, labels, way, host, task="segment")
    first, *others = entrants.contestants
    for other in others:
        if other.subject.preprocess != first.subject.preprocess:
            raise UsageError(
                f"{other.label} prepares pictures in another way than {first.label}, so their pixels are no pairs; evaluate them "
                "in runs of their own"
            )
    return entrants


def _subjects(entrants: Field) -> list[_Running]:
    """Return each network, then the bundles, each with the place of the network that it was made from."""
    labels, classes = entrants.network_labels(), len(entrants.classes)
    places = {network: place for place, network in enumerate(labels)}
    networks = [_Running(label=label, subject=subject, counts=PixelCounts(classes=classes)) for subject, label in labels.items()]
    return networks + [
        _Running(
            label=each.label,
            subject=each.subject,
            counts=PixelCounts(classes=classes),
            network=None if each.network is None else places[each.network],
        )
        for each in entrants.contestants
    ]


def _run(
    running: list[_Running], folder: MaskFolder, positions: list[int], classes: int, *, strict: bool, step: Step
) -> list[PassedOver]:
    """Run every picture through every subject that can be opened, and count."""
    broken: list[PassedOver] = []
    tell = now_and_then(step)

    def pairs() -> Iterator[Pair]:
        for done, position in enumerate(positions):
            tell(f"{done} of {len(positions)} pictures")
            try:
                yield folder.read(position, running[0].subject.preprocess, classes)
            except UsageError as error:
                if strict:
                    raise UsageError(f"--strict: {error}") from error
                broken.append(PassedOver(file=folder.images[position], why=folder.why_not(error, position)))

    with ExitStack() as stack:
        for each in running:
            _attempt(each, partial(_open, each, stack))
        for some in _groups(pairs(), _together([each.subject.batch for each in running])):
            said = [_said(each, np.stack([pixels for pixels, _ in some])) for each in running]
            for each, own in zip(running, said, strict=True):
                if own is None:
                    continue
                other = None if each.network is None else said[each.network]
                for place, (_, mask) in enumerate(some):
                    each.counts.add(own[place], mask, None if other is None else other[place])
    ran = [each.counts for each in running if each.failure is None]
    if not any(map(len, ran)) and len(broken) == len(positions):
        raise UsageError(f"none of the pictures of {folder.root} can be used: {named(broken)}; look at one of them")
    if any(not counts.judged.sum() for counts in ran):
        raise UsageError(nothing_to_judge(folder.root))
    return broken


def _together(batches: Sequence[int]) -> int:
    """Return how many pictures fill whole runs of every subject, where that is not too many."""
    whole = math.lcm(*batches)
    return whole if whole <= TOGETHER else max(batches)


def _groups(pairs: Iterator[Pair], size: int) -> Iterator[list[Pair]]:
    while some := list(islice(pairs, size)):
        yield some


def _said(each: _Running, pixels: NDArray[np.uint8]) -> Maps | None:
    """Return the class of each pixel of some pictures, -1 where an output is not finite; None where the subject does not run."""
    if each.failure is not None or each.opened is None:
        return None
    run, batch, found = each.opened.run, each.subject.batch, list[Maps]()

    def work() -> None:
        for start in range(0, len(pixels), batch):
            started = time.perf_counter()
            scores = run(pixels[start : start + batch])
            each.seconds += time.perf_counter() - started
            found.append(np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), NO_CLASS).astype(np.int16))

    _attempt(each, work)
    return np.concatenate(found) if each.failure is None else None


def _open(each: _Running, stack: ExitStack) -> None:
    each.opened = stack.enter_context(open_subject(each.subject))


def _attempt(each: _Running, work: Callable[[], object]) -> None:
    try:
        work()
    except MissingError as error:
        each.failure = _failed(each, "not run", error)
    except RunError as error:
        each.failure = _failed(each, "failed", error)


def _failed(each: _Running, status: str, error: Exception) -> SegmentationRow:
    return SegmentationRow(
        label=each.label,
        kind=each.subject.kind,
        status="not run" if status == "not run" else "failed",
        image_size=each.subject.image_size,
        reason=str(error),
    )


def _row(each: _Running, network: _Running | None, classes: tuple[str, ...]) -> SegmentationRow:
    if each.failure is not None or each.opened is None:
        assert each.failure is not None
        return each.failure
    counts, pictures = each.counts, len(each.counts)
    pairing = None
    if network is not None and network.failure is None:
        theirs = network.counts
        pairing = PixelPairing(
            agreement=_estimate(partial(of.agreement, counts), pictures),
            drop=_estimate(lambda weights: of.mean_iou(theirs, weights) - of.mean_iou(counts, weights), pictures),
        )
    return SegmentationRow(
        label=each.label,
        kind=each.subject.kind,
        status="ran",
        image_size=each.subject.image_size,
        runtime=each.opened.runtime,
        miou=_estimate(partial(of.mean_iou, counts), pictures),
        pixel_accuracy=_estimate(partial(of.pixel_accuracy, counts), pictures),
        classes=tuple(_classes(counts, classes)),
        not_finite=counts.not_finite,
        network="" if network is None else network.label,
        pairing=pairing,
        pictures_per_s=pictures / each.seconds,
    )


def _classes(counts: PixelCounts, names: tuple[str, ...]) -> list[ClassScore]:
    pictures, pixels = len(counts), counts.truth.sum(axis=0)
    iou, iou_ends = (find(partial(of.ious, counts), pictures) for find in (of.value_of, of.interval_of))
    accuracy, accuracy_ends = (find(partial(of.class_accuracy, counts), pictures) for find in (of.value_of, of.interval_of))
    return [
        ClassScore(
            name=name,
            pixels=int(pixels[place]),
            iou=_of_class(iou[place], iou_ends[:, place]),
            accuracy=_of_class(accuracy[place], accuracy_ends[:, place]),
        )
        for place, name in enumerate(names)
    ]


def _of_class(value: float, ends: NDArray[np.float64]) -> Estimate | None:
    return Estimate(value=float(value), low=float(ends[0]), high=float(ends[1])) if np.isfinite(value) else None


def _estimate(statistic: of.Statistic, pictures: int) -> Estimate:
    low, high = of.interval_of(statistic, pictures)
    return Estimate(value=float(of.value_of(statistic, pictures)), low=float(low), high=float(high))
