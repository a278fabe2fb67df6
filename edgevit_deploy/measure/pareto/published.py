"""Figures that others have published, shipped with their sources: `published.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from edgevit_deploy.measure.cost import network_cost
from edgevit_deploy.measure.pareto.figures import Figure, Point
from edgevit_deploy.measure.pareto.front import Series
from edgevit_deploy.model.variants import VARIANTS
from edgevit_deploy.parity.statistics import wilson
from edgevit_deploy.spec import Size

IMAGENET = "ImageNet-1k"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A page: its short name and title, its address (empty where it was read without one), and the place in it."""

    short: str
    title: str
    url: str
    place: str

    def __str__(self) -> str:
        return f"{self.title}, {self.place}" + (f" ({self.url})" if self.url else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-1 of a network in per cent, at an image size in pixels a side."""

    network: str
    top1: float
    image_size: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Macs:
    """Multiply-accumulates of networks at an image size."""

    source: str
    image_size: int
    networks: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRow:
    """A network's row in a table of latencies."""

    network: str
    top1: float
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTable:
    """Latencies of one device, each right within `within_ms`."""

    source: str
    device: str
    within_ms: float
    rows: tuple[TimedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The whole file; `pictures` is how many the accuracies are of."""

    pictures: int
    sources: dict[str, Source]
    accuracies: tuple[Accuracy, ...]
    macs: Macs
    tables: tuple[TimedTable, ...]

    def accuracy_of(self, network: str) -> Accuracy | None:
        """Return what is published of a network."""
        return next((row for row in self.accuracies if row.network == network), None)

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the names of the networks whose accuracy is published."""
        return tuple(row.network for row in self.accuracies)

    def top1_figure(self, top1: float, source: str) -> Figure:
        """Return an accuracy with the interval that so many pictures give it."""
        low, high = wilson(round(self.pictures * top1 / 100), self.pictures)
        return Figure(value=top1, interval=(100 * low, 100 * high), origin="published", source=str(self.sources[source]))

    def macs_figure(self, network: str, size: Size) -> Figure | None:
        """Return the multiply-accumulates of a network for one image, in millions; None where they are not known at that size."""
        spec = VARIANTS.get(network.lower().replace("-", "_"))
        if spec is not None:
            source = f"the formula of measure/cost.py at {size[0]} x {size[1]}"
            return Figure(value=network_cost(spec, size).macs / 1e6, interval=None, origin="counted", source=source)
        counted = self.macs.networks.get(network)
        if counted is None or size != (self.macs.image_size,) * 2:
            return None
        return Figure(value=counted / 1e6, interval=None, origin="counted", source=str(self.sources[self.macs.source]))


@cache
def published() -> Published:
    """Read the figures that are shipped."""
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), type=Published)


def published_latencies() -> tuple[Series, ...]:
    """Return each published table of latencies as a series of its own; no figure of it is of a run here."""
    known = published()
    return tuple(
        Series(
            name=f"{table.device} (published: {known.sources[table.source].short})",
            pictures=IMAGENET,
            points=tuple(_timed_point(known, table, row) for row in table.rows),
        )
        for table in known.tables
    )


def _timed_point(known: Published, table: TimedTable, row: TimedRow) -> Point:
    ends = row.latency_ms - table.within_ms, row.latency_ms + table.within_ms
    cost = Figure(value=row.latency_ms, interval=ends, origin="published", source=str(known.sources[table.source]))
    top1 = known.top1_figure(row.top1, table.source)
    return Point(name=row.network, label=row.network, network=row.network, cost=cost, top1=top1)
