"""How well bundles of detectors find what is in pictures, and what each has lost against its network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from edgevit_deploy.bundle.folder import read_labels
from edgevit_deploy.data.coco import CocoFolder, classes_of, open_coco_folder
from edgevit_deploy.data.pictures import PassedOver, named, picture_size, why_not
from edgevit_deploy.errors import MissingError, RunError, UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy import Sample, check_run
from edgevit_deploy.measure.accuracy.contestants import Way
from edgevit_deploy.measure.detection.precision import Figures, Matches, check_library, count, interval
from edgevit_deploy.measure.detection.result import Detected, DetectionData, DetectionEvaluation, Drop
from edgevit_deploy.measure.detection.subjects import (
    Contestant,
    Found,
    Opened,
    find_boxes,
    open_file,
    open_network,
    read_contestants,
)
from edgevit_deploy.model.loading import read_labels_file
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.outside.text import writable
from edgevit_deploy.parity.statistics import FEW_PICTURES, few
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.spec.detection import Decoding
from edgevit_deploy.workbench import Step, quiet


def evaluate_detectors(
    bundles: Sequence[Path],
    host: ThisHost,
    data: Path,
    *,
    weights: Path | None = None,
    labels: Path | None = None,
    sample: Sample = Sample(),  # noqa: B008 - frozen
    way: Way = Way(),  # noqa: B008 - frozen
    max_drop: float | None = None,
    strict: bool = False,
    step: Step = quiet,
) -> DetectionEvaluation:
    """Evaluate bundles, and the network that they were made from, on the same pictures with boxes.

    Args:
        bundles: the folders.
        host: finds runtimes.
        data: a folder in COCO's layout, or its file of annotations.
        weights: the checkpoint that the bundles were made from.
        labels: file with the names of the classes in class order, by which the categories are named.
        sample: which pictures.
        way: how they are run; the pictures are prepared as each bundle says.
        max_drop: what the upper end of the interval of the loss must not exceed.
        strict: refuse pictures that cannot be used.
        step: told how far it is.

    Raises:
        MissingError: pycocotools is not installed.
        UsageError: refused arguments, annotations or bundles, or no picture that can be used.
        BundleError: a damaged bundle.
    """
    _check(weights, max_drop)
    check_run(weights, sample, way)
    check_library()
    step("reading the bundles")
    contestants = read_contestants(bundles, weights)
    step("reading the annotations")
    folder = open_coco_folder(data)
    subjects = list(_subjects(contestants, folder, labels, way, host))
    positions, unusable = _usable(folder, _drawn(folder, sample))
    found = {subject.label: _found(subject, folder, positions, way, step) for subject in subjects}
    broken = unusable | {place: why for each in found.values() for place, why in each.undecoded.items()}
    passed_over = tuple(PassedOver(file=writable(folder.pictures[place].file), why=writable(broken[place])) for place in broken)
    used = [folder.pictures[place].id for place in positions if place not in broken]
    if passed_over and (strict or not used):
        why = "--strict: pictures that cannot be used" if strict else f"--data {data}: none of its pictures can be used"
        raise UsageError(f"{why}: {named(passed_over)}")
    step("counting")
    counted = {
        subject.label: count(folder.annotations, found[subject.label].detections, used, subject.categories)
        for subject in subjects
        if found[subject.label].status == "ran"
    }
    step("resampling the pictures")
    wanted = set(used)
    return DetectionEvaluation(
        data=DetectionData(
            name=f"{real_path(data).parent.name}/{real_path(data).name}",
            pictures=len(folder.pictures),
            used=len(used),
            seed=sample.seed if sample.limit is not None and sample.limit < len(folder.pictures) else None,
            boxes=sum(each.picture in wanted and not each.crowd for each in folder.annotations),
            categories=tuple(folder.categories.values()),
        ),
        rows=tuple(_row(subject, found[subject.label], counted, max_drop, len(used)) for subject in subjects),
        broken=passed_over,
    )


def _check(weights: Path | None, max_drop: float | None) -> None:
    if max_drop is not None and not 0 < max_drop < 1:
        raise UsageError(f"--max-drop {max_drop}: a share between 0 and 1, for example 0.01, and no end of it")
    if max_drop is not None and weights is None:
        raise UsageError("--max-drop compares with the network; add --weights FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is run: the network, or a bundle that may be paired with it."""

    label: str
    kind: Literal["bundle", "network"]
    opened: Callable[[], AbstractContextManager[Opened]]
    categories: tuple[int, ...]
    preprocess: Preprocess
    network: str = ""
    notes: tuple[str, ...] = ()


def _subjects(
    contestants: Sequence[Contestant], folder: CocoFolder, labels: Path | None, way: Way, host: ThisHost
) -> Iterator[_Subject]:
    """Yield the network, once for each size, preprocessing and decoding, then the bundles."""
    networks: dict[tuple[int, Decoding], str] = {}
    different = {(id(each.network), each.decoding): each for each in contestants if each.network is not None}
    for number, (key, each) in enumerate(different.items(), start=1):
        assert each.network is not None
        networks[key] = "network" if len(different) == 1 else f"network {number}"
        yield _Subject(
            label=networks[key],
            kind="network",
            opened=partial(open_network, each.network, each.decoding, way),
            categories=_categories(each, folder, labels),
            preprocess=each.network.spec.preprocess,
        )
    for each in contestants:
        yield _Subject(
            label=str(each.bundle),
            kind="bundle",
            opened=partial(open_file, each, way, host),
            categories=_categories(each, folder, labels),
            preprocess=each.manifest.preprocess,
            network=networks.get((id(each.network), each.decoding), ""),
            notes=(f"it {each.manifest.failure}",) if each.manifest.failure else (),
        )


def _categories(contestant: Contestant, folder: CocoFolder, labels: Path | None) -> tuple[int, ...]:
    """Return the category of each class: by the names of --labels, the checkpoint's, or the bundle's own, else by their order."""
    manifest, names = contestant.manifest, None
    classes = manifest.model.num_classes
    if labels is not None:
        names = read_labels_file(labels, classes)
    elif contestant.network is not None and not contestant.network.labels_are_placeholders:
        names = contestant.network.labels
    elif not manifest.labels.placeholders:
        names = read_labels(contestant.bundle, manifest)
    return classes_of(folder.categories, names, classes, f"{contestant.bundle} and {folder.source.name}")


def _drawn(folder: CocoFolder, sample: Sample) -> list[int]:
    """Return the places of all pictures, or of a sample without regard to what is in them."""
    everything = len(folder.pictures)
    if sample.limit is None or sample.limit >= everything:
        return list(range(everything))
    return sorted(np.random.default_rng(sample.seed).permutation(everything)[: sample.limit].tolist())


def _usable(folder: CocoFolder, positions: Sequence[int]) -> tuple[list[int], dict[int, str]]:
    """Return the places of pictures that have the size that is annotated, and why each other one cannot be used."""
    unusable: dict[int, str] = {}
    for place in positions:
        size, annotated = picture_size(folder.path(place)), folder.pictures[place].size
        if size is None:
            unusable[place] = why_not(folder.path(place))
        elif size != annotated:
            unusable[place] = f"{size[1]} x {size[0]} pixels, annotated as {annotated[1]} x {annotated[0]}"
    return [place for place in positions if place not in unusable], unusable


def _found(subject: _Subject, folder: CocoFolder, positions: Sequence[int], way: Way, step: Step) -> Found:
    try:
        with subject.opened() as opened:
            return find_boxes(opened, folder, positions, way.workers, subject.label, step)
    except MissingError as error:
        return Found(status="not run", detections={}, undecoded={}, reason=str(error))
    except RunError as error:
        return Found(status="failed", detections={}, undecoded={}, reason=str(error))


def _row(
    subject: _Subject, found: Found, counted: Mapping[str, tuple[Figures, Matches]], max_drop: float | None, pictures: int
) -> Detected:
    own, other = counted.get(subject.label), counted.get(subject.network)
    drop = None if own is None or other is None else _drop(other, own, max_drop)
    return Detected(
        label=subject.label,
        kind=subject.kind,
        status=found.status,
        preprocess=subject.preprocess,
        image_size=subject.preprocess.crop,
        reason=found.reason,
        runtime=found.runtime,
        boxes=sum(len(each.boxes) for each in found.detections.values()),
        not_finite=found.not_finite,
        figures=own[0] if own else None,
        interval=interval(own[1].spread) if own else None,
        drop=drop,
        unjudged="" if max_drop is None or subject.kind == "network" else _why_unjudged(drop, other, max_drop, pictures),
        pictures_per_s=found.pictures_per_s,
        notes=subject.notes,
    )


def _why_unjudged(drop: Drop | None, network: tuple[Figures, Matches] | None, limit: float, pictures: int) -> str:
    """Say why a drop says nothing about what is demanded of it; nothing where it does."""
    if drop is None or network is None or network[0].ap is None:
        return "nothing could be compared with the network"
    if network[0].ap <= limit:
        return (
            f"the network's own AP is {network[0].ap:.4f}, so no file of it could lose more; give pictures that it was made for"
        )
    return few(pictures) if pictures < FEW_PICTURES else ""


def _drop(network: tuple[Figures, Matches], bundle: tuple[Figures, Matches], limit: float | None) -> Drop | None:
    (before, theirs), (after, ours) = network, bundle
    span = interval(theirs.spread - ours.spread)
    if before.ap is None or after.ap is None or span is None:
        return None
    return Drop(value=before.ap - after.ap, interval=span, limit=limit)
