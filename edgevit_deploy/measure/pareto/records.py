"""Records of `bench`, `evaluate` and `energy`, read back with distrust: which of them a file is, it says itself."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevit_deploy.bundle.folder import EVALUATION_NAME
from edgevit_deploy.bundle.manifest import MANIFEST_NAME, read_manifest
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.accuracy.record import read_record
from edgevit_deploy.measure.accuracy.result import Accuracy, DataRecord, Share
from edgevit_deploy.measure.saved import DOCUMENT_NAME, MAX_DOCUMENT_BYTES, MAX_RESULTS, SavedBench, read_bench
from edgevit_deploy.outside.files import is_folder, is_regular, read_bounded
from edgevit_deploy.outside.text import shortened
from edgevit_deploy.spec import PROGRAM, Size, task_of

ENERGY_NAME = "energy.json"
MOST_PICTURES = 10**7
MOST_ROWS = MAX_RESULTS
MOST_METERS = 8
"""Of one machine, each with an energy of every file; every one makes a series."""

LONGEST_TEXT = 500
"""Characters of a label or a name: every point names the others that are better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """A benchmark, the name that was given for it, and the energies that `bench --energy` adds."""

    name: str
    saved: SavedBench
    energies: "tuple[CountedEnergy, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEnergy:
    """What a run of one file takes above idle, by one counter of the machine."""

    name: str
    meter: str
    mean_mj: float
    interval_mj: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """How often one file is right: its label and hash, and the size of its pictures where the record says it."""

    label: str
    identity: str
    top1: Share
    image_size: Size | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRecord:
    """An evaluation, whole or as it was put into a bundle, and the name that was given for it."""

    name: str
    data: DataRecord
    rows: tuple[AccuracyRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRecord:
    """What one inference takes.

    Attributes:
        file: the name that was given for the record.
        name: of what was measured.
        identity: hash of the bundle, empty where it is not known.
        mean_mj: for an inference.
        interval_mj: of the mean, by chance and by what may be wrong with the measurement.
        device: where it was measured, empty where it is not said.
    """

    file: str
    name: str
    identity: str
    mean_mj: float
    interval_mj: tuple[float, float]
    device: str


Record = BenchRecord | AccuracyRecord | EnergyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class _EvaluatedRow:
    label: str
    identity: str
    accuracy: Accuracy | None
    image_size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    data: DataRecord
    rows: tuple[_EvaluatedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Energy:
    name: str
    mean_mj: float
    interval_mj: tuple[float, float]
    error_share: float = 0.0
    bundle: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergyDocument:
    energy: _Energy


def read_records(place: Path) -> list[Record]:
    """Read a record, or those that lie in a folder, or the one that was put into a bundle.

    Args:
        place: a JSON file that `bench`, `evaluate` or `energy` has written or printed, a folder of theirs, or a bundle.

    Raises:
        UsageError: nothing of the kind is there, or it says what no record can.
        BundleError: a bundle is damaged.
    """
    if not is_folder(place):
        return [_read_file(place)]
    if is_bundle(place):
        return [_read_bundle(place)]
    found = [path for name in (DOCUMENT_NAME, EVALUATION_NAME, ENERGY_NAME) if is_regular(path := place / name)]
    if not found:
        raise UsageError(f"{place}: no {DOCUMENT_NAME}, {EVALUATION_NAME} or {ENERGY_NAME} is in this folder; {_AGAIN}")
    return [_read_file(path) for path in found]


def is_bundle(place: Path) -> bool:
    """Say whether a place is a bundle's folder."""
    return is_regular(place / MANIFEST_NAME)


_AGAIN = f"`{PROGRAM} bench --output DIR`, `evaluate --output DIR` and `energy --output DIR` write them"

_CLASSIFIERS = "pareto's fronts are of top-1, which classifiers alone have; leave it out"


def _read_file(path: Path) -> Record:
    try:
        document = msgspec.json.decode(read_bounded(path, MAX_DOCUMENT_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{path}: no JSON document ({error}); {_AGAIN}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: no record of bench, evaluate or energy; {_AGAIN}")
    try:
        if "regime" in document:
            return _bench(path, msgspec.convert(document.get("energy", []), type=tuple[CountedEnergy, ...]))
        if "energy" in document:
            return _energy(path, msgspec.convert(document, type=_EnergyDocument).energy)
        if (task := document.get("task", "classify")) != "classify":
            raise UsageError(f"{path}: an evaluation of --task {shortened(str(task))}; {_CLASSIFIERS}")
        if "rows" in document and "data" in document:
            return _evaluation(path, msgspec.convert(document, type=_Evaluation))
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: no record of this version ({error}); {_AGAIN}") from error
    raise UsageError(f"{path}: no record of bench, evaluate or energy; {_AGAIN}")


def _bench(path: Path, energies: tuple[CountedEnergy, ...]) -> BenchRecord:
    saved = read_bench(path, flag="RESULT", earlier=True)
    for objection in (*_endless(_texts_of(saved)), *_counted_objections(energies, {result.label for result in saved.results})):
        raise UsageError(f"{path}: no benchmark has {objection}; {_AGAIN}")
    return BenchRecord(name=str(path), saved=saved, energies=energies)


def _texts_of(saved: SavedBench) -> Iterator[str]:
    yield saved.machine.cpu
    for result in saved.results:
        yield from (result.label, result.runtime)


def _counted_objections(energies: tuple[CountedEnergy, ...], labels: set[str]) -> Iterator[str]:
    """Yield what is wrong with a machine's counts: there is one of each file by each meter, and each has an interval."""
    meters = {energy.meter for energy in energies}
    if len(meters) > MOST_METERS:
        yield f"{len(meters)} meters, expected at most {MOST_METERS}"
    if len({(energy.name, energy.meter) for energy in energies}) < len(energies):
        yield "two energies of one file by one meter"
    yield from _endless(meters)
    for energy in energies:
        (low, high), mean = energy.interval_mj, energy.mean_mj
        if energy.name not in labels:
            yield f"an energy of {shortened(energy.name)}, which it has not timed"
        if not -math.inf < low <= mean <= high < math.inf:
            yield f"{mean} mJ ({low} to {high})"


def _endless(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if len(text) > LONGEST_TEXT:
            yield f"a name of {len(text)} characters, expected at most {LONGEST_TEXT}"


def _energy(path: Path, energy: _Energy) -> EnergyRecord:
    for objection in _endless((energy.name, energy.device, energy.bundle)):
        raise UsageError(f"{path}: no energy has {objection}; {_AGAIN}")
    (low, high), mean = energy.interval_mj, energy.mean_mj
    if not (0 < low <= mean <= high < math.inf and 0 <= energy.error_share < 1):
        raise UsageError(f"{path}: {mean} mJ ({low} to {high}) is no energy of an inference; {_AGAIN}")
    wrong = energy.error_share * mean
    ends = max(0.0, mean - math.hypot(mean - low, wrong)), mean + math.hypot(high - mean, wrong)
    return EnergyRecord(
        file=str(path), name=energy.name, identity=energy.bundle, mean_mj=mean, interval_mj=ends, device=energy.device
    )


def _evaluation(path: Path, evaluation: _Evaluation) -> AccuracyRecord:
    if len(evaluation.rows) > MOST_ROWS:
        raise UsageError(f"{path}: {len(evaluation.rows)} rows, expected at most {MOST_ROWS}")
    rows = tuple(
        AccuracyRow(label=row.label, identity=row.identity, top1=row.accuracy.top1, image_size=row.image_size)
        for row in evaluation.rows
        if row.accuracy is not None
    )
    for objection in (*_endless([evaluation.data.name, *(row.label for row in rows)]), *_objections(rows)):
        raise UsageError(f"{path}: no evaluation has {objection}; {_AGAIN}")
    return AccuracyRecord(name=str(path), data=evaluation.data, rows=rows)


def _objections(rows: tuple[AccuracyRow, ...]) -> Iterator[str]:
    for row in rows:
        if not (0 <= row.top1.count <= row.top1.of <= MOST_PICTURES and row.top1.of >= 1):
            yield f"{row.top1.count} of {row.top1.of} pictures"


def _read_bundle(bundle: Path) -> AccuracyRecord:
    manifest = read_manifest(bundle)
    if (task := task_of(manifest.conversion.returns)) != "classify":
        raise UsageError(f"{bundle}: a bundle of --task {task}; {_CLASSIFIERS}")
    record = read_record(bundle, manifest)
    if record is None:
        raise UsageError(
            f"{bundle}: no evaluation is recorded in this bundle; `{PROGRAM} evaluate {bundle} --record` puts one in"
        )
    for objection in _endless([record.data.name]):
        raise UsageError(f"{bundle}: no evaluation has {objection}; `{PROGRAM} evaluate {bundle} --record` makes it anew")
    size = manifest.conversion.image_size
    row = AccuracyRow(
        label=str(bundle),
        identity=identity_of(manifest),
        top1=record.accuracy.top1,
        image_size=None if size == "dynamic" else size,
    )
    return AccuracyRecord(name=str(bundle), data=record.data, rows=(row,))
