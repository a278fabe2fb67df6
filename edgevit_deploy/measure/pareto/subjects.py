"""What records hold of one cost, in groups within which it may be compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgevit_deploy.measure.pareto.figures import Cost, Figure
from edgevit_deploy.measure.pareto.records import AccuracyRecord, BenchRecord, EnergyRecord, Record
from edgevit_deploy.measure.result import BenchmarkResult
from edgevit_deploy.spec import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file in a record: label, hash ("" where the record has none), image size where it is known, and its cost."""

    label: str
    identity: str
    image_size: Size | None
    cost: Figure | None
    result: BenchmarkResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Subjects whose costs may be compared."""

    name: str
    subjects: tuple[Subject, ...]
    record: BenchRecord | None = None


WHO_HAS: dict[Cost, str] = {
    "latency": "`bench --output DIR` writes latencies",
    "size": "`bench --output DIR` writes sizes",
    "energy": "`energy TRACE --output DIR` and `bench --energy --output DIR` write energies",
    "macs": "give a record of bench or evaluate",
}


def groups_of(records: Sequence[Record], cost: Cost) -> list[Group]:
    """Return every file with this cost: of a record together, energies of traces by device, MACs of all records."""
    if cost == "macs":
        subjects = [subject for record in records if not isinstance(record, EnergyRecord) for subject in _without_cost(record)]
        return [Group(name="multiply-accumulates of the networks", subjects=tuple(subjects))] if subjects else []
    if cost == "energy":
        return [
            *_traced(records),
            *(group for record in records if isinstance(record, BenchRecord) for group in _counted(record)),
        ]
    return [
        Group(name=_bench_name(record), subjects=tuple(_timed(record, cost)), record=record)
        for record in records
        if isinstance(record, BenchRecord)
    ]


def _without_cost(record: BenchRecord | AccuracyRecord) -> Iterator[Subject]:
    if isinstance(record, AccuracyRecord):
        for row in record.rows:
            yield Subject(label=row.label, identity=row.identity, image_size=row.image_size, cost=None)
        return
    for result in record.saved.results:
        identity = record.saved.bundles.get(result.label, "")
        yield Subject(label=result.label, identity=identity, image_size=result.image_size, cost=None)


def _traced(records: Sequence[Record]) -> list[Group]:
    by_device: dict[str, list[Subject]] = {}
    for record in records:
        if isinstance(record, EnergyRecord):
            cost = Figure(value=record.mean_mj, interval=record.interval_mj, origin="measured", source=record.file)
            subject = Subject(label=record.name, identity=record.identity, image_size=None, cost=cost)
            by_device.setdefault(record.device, []).append(subject)
    return [
        Group(name=f"energy of an inference{f' on {device}' if device else ''}", subjects=tuple(some))
        for device, some in by_device.items()
    ]


def _counted(record: BenchRecord) -> list[Group]:
    sizes = {result.label: result.image_size for result in record.saved.results}
    by_meter: dict[str, list[Subject]] = {}
    for energy in record.energies:
        cost = Figure(value=energy.mean_mj, interval=energy.interval_mj, origin="measured", source=record.name)
        identity = record.saved.bundles.get(energy.name, "")
        subject = Subject(label=energy.name, identity=identity, image_size=sizes.get(energy.name), cost=cost)
        by_meter.setdefault(energy.meter, []).append(subject)
    machine = record.saved.machine.cpu
    return [Group(name=f"{meter}, {machine} ({record.name})", subjects=tuple(some)) for meter, some in by_meter.items()]


def _timed(record: BenchRecord, cost: Cost) -> Iterator[Subject]:
    for result in record.saved.results:
        if cost == "latency":
            value, interval = result.median_ms, result.median_interval_ms
        else:
            value, interval = result.size_bytes / 1e6, None
        yield Subject(
            label=result.label,
            identity=record.saved.bundles.get(result.label, ""),
            image_size=result.image_size,
            cost=Figure(value=value, interval=interval, origin="measured", source=record.name),
            result=result if cost == "latency" else None,
        )


def _bench_name(record: BenchRecord) -> str:
    first = record.saved.results[0]
    runtimes = list(dict.fromkeys(result.runtime for result in record.saved.results))
    where = runtimes[0] if len(runtimes) == 1 else f"{len(runtimes)} runtimes"
    threads = "" if first.threads is None else f", {first.threads} thread{'s' if first.threads > 1 else ''}"
    return f"{where}{threads}, {record.saved.machine.cpu} ({record.name})"
