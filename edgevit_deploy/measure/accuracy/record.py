"""`evaluation.json`: what an evaluation found out about one bundle, put into the bundle, and read back with distrust."""

import io
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec

from edgevit_deploy.bundle.folder import EVALUATION_NAME, open_bundle, read_recorded, record_file, write_manifest
from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.bundle.place import staged_bundle
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.accuracy.result import Accuracy, DataRecord, Evaluated, Evaluation, Pairing, Share
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import MAX_CLASSES, Preprocess
from edgevit_deploy.workbench import Step, quiet

RECORD_VERSION: Literal[1] = 1
MAX_EVALUATION_BYTES = 16 * 2**20

MOST_THUMBNAILS = 24
"""Flipped pictures that are kept as pictures; the widest margins."""

SIDE = 96
"""Of a thumbnail, in pixels."""

MOST_PICTURES = 10**7
"""Of any data set; with more, the tests of recorded counts would take long."""

JPEG_START = b"\xff\xd8\xff"
JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord:
    """What is known of one bundle's accuracy; no path and no time is in it.

    Attributes:
        version: of this form.
        identity: hash of the bundle that it is about, as `identity_of` gives it.
        data: which pictures.
        runtime: what ran the bundle.
        tools: names and versions of what ran it.
        accuracy: of the bundle.
        network_runtime: what ran the network, if it was run.
        network_tools: names and versions of that.
        network: its accuracy.
        pairing: of the two, with at most `MOST_THUMBNAILS` of the flips.
        thumbnails: of these flips, JPEG, as the bundle saw them; empty where a picture was gone.
        notes: what must be known to read the figures.
    """

    version: Literal[1]
    identity: str
    data: DataRecord
    runtime: str
    tools: dict[str, str]
    accuracy: Accuracy
    network_runtime: str = ""
    network_tools: dict[str, str] = field(default_factory=dict)
    network: Accuracy | None = None
    pairing: Pairing | None = None
    thumbnails: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()


def records_of(evaluation: Evaluation, data: Path) -> dict[str, EvaluationRecord]:
    """Return the record of each bundle that ran, by its label.

    Args:
        evaluation: finished.
        data: the folder of its pictures, for the thumbnails.
    """
    networks = {row.label: row for row in evaluation.rows if row.kind == "network"}
    return {
        row.label: record
        for row in evaluation.bundles
        if (record := _record(row, networks.get(row.network), evaluation.data, data)) is not None
    }


def _record(row: Evaluated, network: Evaluated | None, used: DataRecord, data: Path) -> EvaluationRecord | None:
    if row.accuracy is None:
        return None
    pairing = None if row.pairing is None else replace(row.pairing, flips=row.pairing.flips[:MOST_THUMBNAILS])
    return EvaluationRecord(
        version=RECORD_VERSION,
        identity=row.identity,
        data=used,
        runtime=row.runtime,
        tools=dict(row.tools),
        accuracy=row.accuracy,
        network_runtime="" if network is None else network.runtime,
        network_tools={} if network is None else dict(network.tools),
        network=None if network is None else network.accuracy,
        pairing=pairing,
        thumbnails=() if pairing is None else tuple(thumbnail(data / flip.file, row.preprocess) for flip in pairing.flips),
        notes=row.notes,
    )


def thumbnail(path: Path, preprocess: Preprocess) -> bytes:
    """Return what a network sees of a picture, at most `SIDE` pixels a side, as JPEG; nothing where it cannot be read."""
    from PIL import Image

    try:
        picture = Image.fromarray(read_pixels(path, preprocess))
    except UsageError:
        return b""
    picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=JPEG_QUALITY)
    return written.getvalue()


def check_recordable(bundles: Iterable[Path]) -> None:
    """Prove, before anything is computed, that a record can be put into each of some bundles.

    Raises:
        UsageError: one is no bundle, or its place cannot be written.
    """
    for bundle in bundles:
        read_manifest(bundle)
        with staged_bundle(real_path(bundle)):
            pass


def record_in_bundles(evaluation: Evaluation, data: Path, step: Step = quiet) -> None:
    """Put into each bundle that ran what was found out about it.

    Args:
        evaluation: finished.
        data: the folder of its pictures, for the thumbnails.
        step: told which bundle it is.

    Raises:
        UsageError: a place cannot be written, or a bundle is not the one that was evaluated.
        BundleError: one is damaged.
    """
    for label, record in records_of(evaluation, data).items():
        step(f"recording in {label}")
        write_record(Path(label), record)


def write_record(bundle: Path, record: EvaluationRecord) -> None:
    """Put a record into a bundle, in place of an earlier one; the bundle is replaced as a whole.

    Raises:
        UsageError: its place cannot be written, or it is not the bundle that was evaluated.
        BundleError: it is damaged.
    """
    place = real_path(bundle)
    with staged_bundle(place) as staged:
        manifest = open_bundle(place)
        if identity_of(manifest) != record.identity:
            raise UsageError(
                f"{bundle} is not what it was when it was evaluated, so nothing is recorded in it; evaluate it again"
            )
        kept = [file for file in manifest.files if file.path != EVALUATION_NAME]
        for file in kept:
            (staged.folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place / file.path, staged.folder / file.path)
        (staged.folder / EVALUATION_NAME).write_bytes(json_bytes(record))
        files = sorted([*kept, record_file(staged.folder, EVALUATION_NAME)], key=lambda file: file.path)
        write_manifest(staged.folder, replace(manifest, files=tuple(files)))
        staged.publish_changed()


def read_record(bundle: Path, manifest: Manifest) -> EvaluationRecord | None:
    """Return what is recorded in a bundle; None where nothing is.

    Raises:
        BundleError: something else is.
    """
    if all(file.path != EVALUATION_NAME for file in manifest.files):
        return None
    data = read_recorded(bundle, manifest, EVALUATION_NAME, MAX_EVALUATION_BYTES)
    try:
        record = msgspec.json.decode(data, type=EvaluationRecord)
        objection = next(_objections(record, identity_of(manifest)), "")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        objection = str(error)
    if objection:
        raise BundleError(f"{bundle / EVALUATION_NAME}: not a valid evaluation ({objection}); evaluate again with --record")
    return record


def _objections(record: EvaluationRecord, identity: str) -> Iterator[str]:
    """Yield what is wrong with a record whose fields have the right types, in a bundle of some identity."""
    if record.identity != identity:
        yield "it is about another file"
    classes = len(record.data.classes)
    if not 1 <= classes <= MAX_CLASSES:
        yield f"{classes} classes"
    if not 0 <= record.data.broken <= record.data.used:
        yield f"{record.data.broken} of {record.data.used} pictures that cannot be decoded"
    for accuracy in filter(None, (record.accuracy, record.network)):
        for share in filter(None, (accuracy.top1, accuracy.top5)):
            yield from _share(share)
        if accuracy.calibration_error is not None and not 0 <= accuracy.calibration_error <= 1:
            yield f"a calibration error of {accuracy.calibration_error}"
        for cell in accuracy.confusion:
            if not (0 <= cell.label < classes and 0 <= cell.seen < classes and 0 <= cell.pictures <= accuracy.top1.of):
                yield "a confusion that is not of its classes and pictures"
    if record.pairing is not None:
        yield from _pairing(record.pairing)
        if len(record.thumbnails) != len(record.pairing.flips) or len(record.thumbnails) > MOST_THUMBNAILS:
            yield f"{len(record.thumbnails)} thumbnails of {len(record.pairing.flips)} pictures"
    if any(data and not data.startswith(JPEG_START) for data in record.thumbnails):
        yield "a thumbnail that is no JPEG"


def _share(share: Share) -> Iterator[str]:
    if not 0 <= share.count <= share.of <= MOST_PICTURES or share.of < 1:
        yield f"{share.count} of {share.of} pictures"


def _pairing(pairing: Pairing) -> Iterator[str]:
    counts = (
        pairing.both_right,
        pairing.right_to_wrong,
        pairing.wrong_to_right,
        pairing.both_wrong_alike,
        pairing.wrong_to_another,
    )
    if min(counts) < 0 or not 1 <= sum(counts) <= MOST_PICTURES:
        yield f"pairs of {sum(counts)} pictures"
    numbers = [pairing.largest_difference, pairing.mean_difference, *(flip.margin for flip in pairing.flips)]
    if not all(map(math.isfinite, numbers)):
        yield "a difference that is not finite"
