"""Figures and points: what is known of a file or a network, how surely, and who says so."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edgevit_deploy.measure.result import BenchmarkResult

Cost = Literal["latency", "energy", "size", "macs"]
Origin = Literal["measured", "counted", "published"]
Mark = Literal["measured", "published", "mixed"]
Relation = Literal["better", "worse", "equal", "tied"]

COSTS: tuple[Cost, ...] = get_args(Cost)
UNITS: dict[Cost, str] = {"latency": "ms", "energy": "mJ", "size": "MB", "macs": "million MACs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number.

    Attributes:
        value: in its unit; accuracies in per cent.
        interval: 95 %, or how far the digits that are given reach; None where the number is exact.
        origin: who has it: a run here, a count here, or somebody's page.
        source: the record, or the page and the place in it.
    """

    value: float
    interval: tuple[float, float] | None
    origin: Origin
    source: str

    @property
    def ends(self) -> tuple[float, float]:
        """Return the interval; of an exact number it is the number."""
        return self.interval or (self.value, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is known of one file or network.

    Attributes:
        name: that tables and the plot call it.
        label: of it in its record; a published table has only names.
        network: the network that it is, or stands for; empty where that is not said.
        cost: to be low.
        top1: to be high, in per cent.
        result: the timed runs that the cost is the median of; None for other costs.
        notes: what must be known to read it.
    """

    name: str
    label: str
    network: str
    cost: Figure
    top1: Figure
    result: BenchmarkResult | None = None
    notes: tuple[str, ...] = ()

    @property
    def mark(self) -> Mark:
        """Say whether both figures are of runs and counts here, both published, or one of each."""
        published = [figure.origin == "published" for figure in (self.cost, self.top1)]
        return "published" if all(published) else "mixed" if any(published) else "measured"


def compared(value: Figure, other: Figure, *, smaller_is_better: bool) -> Relation:
    """Say whether a figure is better than another one, as far as their intervals decide.

    The interval of the difference is made of the two (G. Y. Zou and A. Donner, Construction of confidence limits about effect
    measures, Statistics in Medicine 27, 2008), as if the figures were independent. Of accuracies on the same pictures that is
    too wide, so a tie may be decided by an evaluation that pairs them.
    """
    difference = value.value - other.value
    if difference == 0:
        return "equal"
    (low, high), (other_low, other_high) = value.ends, other.ends
    lowest = difference - math.hypot(value.value - low, other_high - other.value)
    highest = difference + math.hypot(high - value.value, other.value - other_low)
    if lowest <= 0 <= highest:
        return "tied"
    return "better" if (difference < 0) == smaller_is_better else "worse"
