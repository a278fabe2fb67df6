"""What a page says about the accuracy of bundles: plain text and numbers, made of records that may come from anyone."""

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.measure.accuracy.record import EvaluationRecord
from edgevit_deploy.measure.accuracy.result import Pairing, Share
from edgevit_deploy.measure.accuracy.tally import WHOLE_CONFUSION
from edgevit_deploy.outside.text import figure

MOST_PAIRS = 12
"""Of classes that are taken for each other, in the list that stands for a matrix of many classes."""

JPEG_URL = "data:image/jpeg;base64,"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a confusion matrix; `strength` is 0 to 1, by its share of the pictures of its row."""

    text: str
    title: str
    kind: Literal["hit", "miss"]
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A confusion matrix: the classes, and for each a row of cells."""

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One flipped picture; `url` is empty where there is no thumbnail."""

    url: str
    file: str
    kind: str
    label: str
    network: str
    bundle: str
    margin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyView:
    """What a page says about the accuracy of one bundle; a figure that there is not is "-"."""

    anchor: str
    label: str
    data: str
    top1: str
    top1_interval: str
    top5: str
    network_top1: str
    agreement: str
    agreement_interval: str
    flips: str
    p: str
    largest: str
    calibration: str
    sentences: tuple[str, ...]
    matrix: Matrix | None
    confused: tuple[tuple[str, str, int], ...]
    pictures: tuple[Picture, ...]


def accuracy_view(anchor: str, label: str, record: EvaluationRecord) -> AccuracyView:
    """Return what a page says about one record."""
    accuracy, pairing, network = record.accuracy, record.pairing, record.network
    whole = len(record.data.classes) <= WHOLE_CONFUSION
    return AccuracyView(
        anchor=anchor,
        label=label,
        data=_data(record),
        top1=f"{accuracy.top1.value:.2%}",
        top1_interval=_interval(accuracy.top1),
        top5="-" if accuracy.top5 is None else f"{accuracy.top5.value:.2%}",
        network_top1="-" if network is None else f"{network.top1.value:.2%}",
        agreement="-" if pairing is None else f"{pairing.agreement.value:.2%}",
        agreement_interval="" if pairing is None else _interval(pairing.agreement),
        flips="-" if pairing is None else f"{pairing.right_to_wrong} / {pairing.wrong_to_right}",
        p="-" if pairing is None else f"{pairing.mcnemar_p:.2g}",
        largest="-" if pairing is None else figure(pairing.largest_difference),
        calibration="-" if accuracy.calibration_error is None else f"{accuracy.calibration_error:.4f}",
        sentences=tuple(_sentences(record)),
        matrix=_matrix(record) if whole else None,
        confused=() if whole else _most_confused(record),
        pictures=() if pairing is None else _pictures(record, pairing),
    )


def _data(record: EvaluationRecord) -> str:
    data = record.data
    sample = "" if data.seed is None else f", a sample of {data.pictures} (seed {data.seed})"
    broken = f", without {data.broken} that cannot be decoded" if data.broken else ""
    return f"{record.accuracy.top1.of} pictures of {data.name}{sample}{broken}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.2%} to {high:.2%}"


def _sentences(record: EvaluationRecord) -> list[str]:
    ran = f"It ran on {record.runtime}"
    sentences = [f"{ran}, the network on {record.network_runtime}." if record.network else f"{ran}; the network was not run."]
    sentences += [f"Note: {note}." for note in record.notes]
    if record.accuracy.not_finite:
        sentences.append(f"Outputs of {record.accuracy.not_finite} pictures are not finite, and count as wrong.")
    if record.pairing is None:
        return sentences
    pairing = record.pairing
    low, high = pairing.drop_interval
    sentences.append(f"Top-1 drops by {pairing.drop:.2%} (95 %: {low:.2%} to {high:.2%}) against the network.")
    if pairing.flipped and pairing.bound is not None:
        sentences.append(
            f"{pairing.flipped} pictures have another first class; {pairing.flips_within_bound} of them differ from the network "
            f"by no more than the bound {figure(pairing.bound)}, so files within that bound may decide them either way."
        )
    if pairing.over_bound:
        sentences.append(f"{pairing.over_bound} pictures differ from the network by more than the bound.")
    return sentences


def _matrix(record: EvaluationRecord) -> Matrix:
    classes = record.data.classes
    counts = Counter({(cell.label, cell.seen): cell.pictures for cell in record.accuracy.confusion})
    rows = []
    for label, name in enumerate(classes):
        total = sum(counts[label, seen] for seen in range(len(classes)))
        rows.append((name, tuple(_cell(classes, label, seen, counts[label, seen], total) for seen in range(len(classes)))))
    return Matrix(classes=classes, rows=tuple(rows))


def _cell(classes: tuple[str, ...], label: int, seen: int, count: int, total: int) -> Cell:
    share = count / total if total else 0.0
    return Cell(
        text=str(count) if count else "",
        title=f"{count} of {total} pictures of {classes[label]} taken for {classes[seen]}",
        kind="hit" if label == seen else "miss",
        strength=round(share**0.5 * 0.8, 3),  # by the root, so that a few in a hundred can still be seen
    )


def _most_confused(record: EvaluationRecord) -> tuple[tuple[str, str, int], ...]:
    classes = record.data.classes
    wrong = [cell for cell in record.accuracy.confusion if cell.label != cell.seen]
    largest = sorted(wrong, key=lambda cell: -cell.pictures)[:MOST_PAIRS]
    return tuple((classes[cell.label], classes[cell.seen], cell.pictures) for cell in largest)


def _pictures(record: EvaluationRecord, pairing: Pairing) -> tuple[Picture, ...]:
    return tuple(
        Picture(
            url=jpeg_url(data),
            file=flip.file,
            kind=flip.kind,
            label=flip.label,
            network=flip.network,
            bundle=flip.bundle,
            margin=figure(flip.margin),
        )
        for flip, data in zip(pairing.flips, record.thumbnails, strict=True)
    )


def jpeg_url(data: bytes) -> str:
    """Return a picture as an address that holds it; nothing of nothing."""
    return f"{JPEG_URL}{base64.b64encode(data).decode()}" if data else ""


def accuracy_line(record: EvaluationRecord) -> str:
    """Return in one line what a record says."""
    pairing = record.pairing
    paired = "" if pairing is None else f"; {pairing.agreement.count} of {pairing.pictures} decided as by the network"
    return f"top-1 {record.accuracy.top1.value:.2%} (95 %: {_interval(record.accuracy.top1)}) on {_data(record)}{paired}"


def accuracy_views(records: Mapping[str, EvaluationRecord]) -> tuple[AccuracyView, ...]:
    """Return what a page of its own says about each record, by the bundle's label."""
    return tuple(accuracy_view(f"bundle-{number}", label, record) for number, (label, record) in enumerate(records.items(), 1))
