"""How well segmenters find the class of each pixel, and what a bundle has lost against the network that it was made from.

A mask goes through the same geometry as its picture, to the nearest pixel, so that all is judged at the size of the network's own
output. Every subject is given the same pixels, one picture at a time; only counts are kept.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.masks import MaskFolder, open_mask_folder
from edgevit_deploy.data.pictures import PassedOver, in_short, named
from edgevit_deploy.errors import MissingError, RunError, UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy import Sample, check_run
from edgevit_deploy.measure.accuracy.contestants import Contestant, Way, read_field
from edgevit_deploy.measure.accuracy.shards import Opened, Subject, open_subject
from edgevit_deploy.measure.segmentation.result import ClassScore, Estimate, PixelPairing, SegmentationEvaluation, SegmentationRow
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.parity import segments as of
from edgevit_deploy.parity.segments import PixelCounts
from edgevit_deploy.workbench import Step, quiet

NO_CLASS = -1
NETWORK_BATCH = 1


@dataclass(slots=True, kw_only=True)
class _Running:
    """A subject while pictures go through it."""

    label: str
    subject: Subject
    counts: PixelCounts
    opened: Opened | None = None
    failure: SegmentationRow | None = None
    seconds: float = 0.0
    said: dict[int, NDArray[np.int64]] = field(default_factory=dict)


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
        UsageError: refused arguments, no such folder, bundles that are no segmenters or of several sizes, or with `strict` a
            file that cannot be used.
        BundleError: a damaged bundle.
    """
    check_run(weights, sample, way)
    step("reading the bundles")
    contestants, classes = _read(bundles, weights, labels, way, host)
    step("listing the pictures")
    folder = open_mask_folder(data)
    if strict and folder.passed_over:
        raise UsageError(f"--strict: {len(folder.passed_over)} files of {data} passed over: {named(folder.passed_over)}")
    positions = np.arange(len(folder)) if sample.limit is None else folder.sample(sample.limit, sample.seed)
    network = contestants[0].network
    subjects = [("network", network)] if network is not None else []
    subjects += [(each.label, each.subject) for each in contestants]
    running = [_Running(label=label, subject=subject, counts=PixelCounts(classes=len(classes))) for label, subject in subjects]
    broken = _run(running, folder, positions.tolist(), len(classes), strict=strict, paired=network is not None, step=step)
    step("drawing samples of pictures for the intervals")
    real = real_path(data)
    return SegmentationEvaluation(
        data=f"{real.parent.name}/{real.name}",
        digest=folder.digest(),
        pictures=len(folder),
        used=len(positions),
        seed=sample.seed if len(positions) < len(folder) else None,
        classes=classes,
        rows=tuple(_row(each, running[0] if network is not None else None, classes) for each in running),
        broken=tuple(broken),
        passed_over=folder.passed_over,
    )


def _read(
    bundles: Sequence[Path], weights: Path | None, labels: Path | None, way: Way, host: ThisHost
) -> tuple[tuple[Contestant, ...], tuple[str, ...]]:
    """Open the bundles; all must see the same pixels."""
    entrants = read_field(bundles, weights, labels, way, host, task="segment")
    first, *others = entrants.contestants
    for other in others:
        if other.subject.preprocess != first.subject.preprocess:
            raise UsageError(
                f"{other.label} prepares pictures in another way than {first.label}, so their pixels are no pairs; evaluate them "
                "in runs of their own"
            )
    return entrants.contestants, entrants.classes


def _run(
    running: list[_Running],
    folder: MaskFolder,
    positions: list[int],
    classes: int,
    *,
    strict: bool,
    paired: bool,
    step: Step,
) -> list[PassedOver]:
    """Run every picture through every subject that can be opened, and count."""
    broken: list[PassedOver] = []
    preprocess, tell = running[0].subject.preprocess, now_and_then(step)
    with ExitStack() as stack:
        for each in running:
            _attempt(each, partial(_open, each, stack))
        for done, position in enumerate(positions):
            tell(f"{done} of {len(positions)} pictures")
            try:
                pixels, mask = folder.read(position, preprocess, classes)
            except UsageError as error:
                if strict:
                    raise UsageError(f"--strict: {error}") from error
                broken.append(PassedOver(file=folder.images[position], why=in_short(error, folder.root / folder.masks[position])))
                continue
            said = [_said(each, pixels) for each in running]
            for each, own in zip(running, said, strict=True):
                if own is not None:
                    each.counts.add(own, mask, said[0] if paired else None)
    if not any(len(each.counts) for each in running if each.failure is None) and len(broken) == len(positions):
        raise UsageError(f"none of the pictures of {folder.root} can be used: {named(broken)}; look at one of them")
    return broken


def _said(each: _Running, pixels: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """Return the class of each pixel of one picture, -1 where an output is not finite; None where the subject does not run."""
    if each.failure is not None or each.opened is None:
        return None
    opened, started = each.opened, time.perf_counter()
    found: list[NDArray[np.float32]] = []
    _attempt(each, lambda: found.append(opened.run(pixels[None])[0]))
    if not found:
        return None
    each.seconds += time.perf_counter() - started
    (scores,) = found
    return np.where(np.isfinite(scores).all(axis=0), scores.argmax(axis=0), NO_CLASS).astype(np.int64)


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
    if network is not None and network is not each and network.failure is None:
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
