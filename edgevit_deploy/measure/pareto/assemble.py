"""From records to series: which costs belong to which accuracies, and what cannot be compared is kept apart or left out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.measure.pareto.figures import Cost, Figure, Point
from edgevit_deploy.measure.pareto.front import Series
from edgevit_deploy.measure.pareto.published import IMAGENET, published
from edgevit_deploy.measure.pareto.records import AccuracyRecord, Record
from edgevit_deploy.measure.pareto.subjects import WHO_HAS, Subject, groups_of
from edgevit_deploy.outside.text import shortened

WORDNET = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000

SHOWN = 5
"""Labels that an error names."""

LEAST, MOST = 1e-6, 1e12
"""In milliseconds, millijoules or megabytes: what a file can cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandsFor:
    """Files whose label fits a pattern (`*`, `?`) have the architecture of a network, and take its published accuracy."""

    pattern: str
    network: str

    @classmethod
    def read(cls, text: str) -> "StandsFor":
        """Read `PATTERN=NETWORK`.

        Raises:
            UsageError: it is not of this form, or no accuracy of the network is published.
        """
        pattern, equals, network = text.rpartition("=")
        if not (pattern and equals):
            raise UsageError(f"--stands-for {shortened(text)}: expected PATTERN=NETWORK, as in 'build/xxs/*=EdgeViT-XXS'")
        if network not in published().networks:
            raise UsageError(f"--stands-for {shortened(text)}: no such network; {did_you_mean(network, published().networks)}")
        return cls(pattern=pattern, network=network)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is in a record and in no series, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """All series of one kind of cost, and what is in none."""

    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]


def assemble(records: Sequence[Record], cost: Cost, stands_for: Sequence[StandsFor]) -> Assembled:
    """Pair costs with accuracies.

    A file's accuracy is that of its own evaluation, by its hash or its label; else what is published of the network that it is
    named after or stands for. Accuracies on other pictures make another series, costs of another record too.

    Args:
        records: in any order.
        cost: which.
        stands_for: files of which networks.

    Raises:
        UsageError: a pattern fits nothing, or no record has this cost.
    """
    groups = groups_of(records, cost)
    if not groups:
        raise UsageError(f"--x {cost}: none of these records has it; {WHO_HAS[cost]}")
    for rule in stands_for:
        _check_rule(rule, [subject.label for group in groups for subject in group.subjects])
    accuracies = [record for record in records if isinstance(record, AccuracyRecord)]
    series: list[Series] = []
    left_out: dict[LeftOut, None] = {}  # each once, in their order
    for group in groups:
        points: dict[str, list[Point]] = {}
        for subject in group.subjects:
            found, reason = _points(subject, cost, stands_for, accuracies)
            if reason:
                left_out[LeftOut(name=f"{subject.label} of {group.name}", reason=reason)] = None
            for pictures, point in found:
                points.setdefault(pictures, []).append(point)
        benchmark = group.record.saved.benchmark if group.record is not None and cost == "latency" else None
        for pictures, some in points.items():
            once = _told_apart(_distinct(some) if cost == "macs" else some)
            series.append(Series(name=group.name, pictures=pictures, points=once, benchmark=benchmark))
    return Assembled(series=tuple(series), left_out=tuple(left_out))


def _check_rule(rule: StandsFor, labels: Sequence[str]) -> None:
    if not any(fnmatchcase(label, rule.pattern) for label in labels):
        some = ", ".join(list(dict.fromkeys(labels))[:SHOWN])
        raise UsageError(f"--stands-for {shortened(rule.pattern)}={rule.network}: no label fits, of {some}, ...")


def _points(
    subject: Subject, cost: Cost, stands_for: Sequence[StandsFor], accuracies: Sequence[AccuracyRecord]
) -> tuple[list[tuple[str, Point]], str]:
    """Return the points of a file, each with what pictures its accuracy is of; or none, and why."""
    network = _network_of(subject.label, stands_for)
    found, figure = _top1(subject, network, accuracies), _cost(subject, cost, network)
    if figure is None or not found:
        return [], _why_not(subject, cost, network, figure)
    points = []
    for pictures, top1, notes in found:
        name = _name(subject.label, network, top1, cost)
        point = Point(name=name, label=subject.label, network=network, cost=figure, top1=top1, result=subject.result, notes=notes)
        points.append((pictures, point))
    return points, ""


def _network_of(label: str, stands_for: Iterable[StandsFor]) -> str:
    """Return the network that a label stands for, or that it names, in another memory layout too (`NAME, channels-last`)."""
    for rule in stands_for:
        if fnmatchcase(label, rule.pattern):
            return rule.network
    name = label.partition(", ")[0]
    return name if name in published().networks else ""


_Top1 = tuple[str, Figure, tuple[str, ...]]
"""What pictures an accuracy is of, itself, and notes."""


def _top1(subject: Subject, network: str, accuracies: Sequence[AccuracyRecord]) -> list[_Top1]:
    """Return the accuracies of a file; the published one only where none was measured.

    Raises:
        UsageError: two records say otherwise of one file and the same pictures.
    """
    measured: dict[str, Figure] = {}
    for record in accuracies:
        for row in record.rows:
            if row.identity != subject.identity if subject.identity else row.label != subject.label:
                continue
            low, high = row.top1.interval
            figure = Figure(value=100 * row.top1.value, interval=(100 * low, 100 * high), origin="measured", source=record.name)
            known = measured.setdefault(_pictures_of(record), figure)
            if known.value != figure.value:
                raise UsageError(f"{known.source} and {record.name} say otherwise of {subject.label}; give one of them")
    if measured:
        return [(pictures, figure, ()) for pictures, figure in measured.items()]
    row_of = published().accuracy_of(network)
    if row_of is None:
        return []
    notes: tuple[str, ...] = ()
    if subject.image_size is not None and subject.image_size != (row_of.image_size,) * 2:
        used = " x ".join(map(str, subject.image_size))
        notes = (f"accuracy published for {row_of.image_size} x {row_of.image_size} pixels, cost of {used}",)
    return [(IMAGENET, published().top1_figure(row_of.top1, row_of.source), notes)]


def _pictures_of(record: AccuracyRecord) -> str:
    """Say which pictures: ImageNet's, where there are its thousand classes under their names, else by the folder and its hash.

    Of a sample also by its seed: another one draws other pictures of the same folder.
    """
    classes = record.data.classes
    if len(classes) == IMAGENET_CLASSES and all(map(WORDNET.fullmatch, classes)):
        return IMAGENET
    sample = "" if record.data.seed is None else f", seed {record.data.seed}"
    return f"{record.data.used} pictures of {record.data.name} ({record.data.digest[:8]}{sample})"


def _cost(subject: Subject, cost: Cost, network: str) -> Figure | None:
    if cost != "macs":
        usual = subject.cost is not None and all(LEAST <= end <= MOST for end in (subject.cost.value, *subject.cost.ends))
        return subject.cost if usual else None
    if not network or subject.image_size is None:
        return None
    return published().macs_figure(network, subject.image_size)


def _why_not(subject: Subject, cost: Cost, network: str, figure: Figure | None) -> str:
    if figure is None and cost != "macs":
        if cost == "energy" and subject.cost is not None and subject.cost.ends[0] < LEAST < subject.cost.ends[1]:
            low, high = subject.cost.ends
            return f"its energy is not told apart from none ({subject.cost.value:.4g} mJ, {low:.4g} to {high:.4g})"
        return f"its {cost} is no number that a file can have"
    if not network:
        return "no evaluation of it is given, and which network it is is not said (--stands-for PATTERN=NETWORK)"
    if subject.image_size is None:
        return f"the {cost} of {network} depend on the image size, and its is not fixed; give the record of `evaluate` itself"
    return f"the {cost} of {network} are not known at this image size"


def _name(label: str, network: str, top1: Figure, cost: Cost) -> str:
    """Name a point after its network; after its label where its own accuracy was measured, or the label tells a memory layout."""
    in_a_layout = label.startswith(f"{network}, ") and cost != "macs"
    return label if top1.origin == "measured" or in_a_layout else network


def _distinct(points: Sequence[Point]) -> list[Point]:
    """Return points of networks: what was timed on several runtimes is one network still."""
    return list({(point.network, point.cost.value, point.top1.value): point for point in points}.values())


def _told_apart(points: Sequence[Point]) -> tuple[Point, ...]:
    """Put their labels beside points that would have the same name."""
    names = [point.name for point in points]
    twice = {name for name in names if names.count(name) > 1}
    return tuple(replace(point, name=f"{point.name} ({point.label})") if point.name in twice else point for point in points)
