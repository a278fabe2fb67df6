"""Which points of a series are on the front, which are dominated and by whom, and which the intervals leave open."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.measure.pareto.figures import Point, Relation, compared
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison, interval_95

Standing = Literal["front", "dominated", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that may be compared: of one run, one record or one table, with accuracies on the same pictures.

    Attributes:
        name: where the costs come from.
        pictures: what the accuracies are of.
        points: two or more, or one that has nobody beside it.
        benchmark: the run, where costs are its latencies: they are then compared as `bench` compares them, pair by pair.
    """

    name: str
    pictures: str
    points: tuple[Point, ...]
    benchmark: Benchmark | None = None

    def cost_relation(self, point: Point, other: Point) -> Relation:
        """Compare what two points cost."""
        if self.benchmark is None or point.result is None or other.result is None:
            return compared(point.cost, other.cost, smaller_is_better=True)
        if point.result is other.result:
            return "equal"
        verdict = Comparison(
            label=point.name,
            ratio=point.result.median_ms / other.result.median_ms,
            interval=interval_95(self._medians(point.result) / self._medians(other.result)),
            control_spread=self._control_spread,
        ).verdict
        relations: dict[str, Relation] = {"faster": "better", "slower": "worse"}
        return relations.get(verdict, "tied")

    def top1_relation(self, point: Point, other: Point) -> Relation:
        """Compare how often two points are right."""
        return compared(point.top1, other.top1, smaller_is_better=False)

    def _medians(self, result: BenchmarkResult) -> NDArray[np.float64]:
        if id(result) not in self._resampled:
            self._resampled[id(result)] = result.resampled_medians()
        return self._resampled[id(result)]

    @cached_property
    def _resampled(self) -> dict[int, NDArray[np.float64]]:
        return {}  # by the object: a record from elsewhere may have one label twice

    @cached_property
    def _control_spread(self) -> float:
        assert self.benchmark is not None
        return self.benchmark.control_spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A point and how it stands among the others.

    Attributes:
        point: itself.
        standing: `dominated`: another one is better by one figure and better or equal by the other. `undecided`: it is not, but
            another one is better by one figure, and by the other the intervals do not tell them apart. `front`: neither.
        by: the names of those others, those on the front first.
        ties: names of points that neither figure tells apart from it.
    """

    point: Point
    standing: Standing
    by: tuple[str, ...]
    ties: tuple[str, ...]


def judge(series: Series) -> tuple[Judged, ...]:
    """Say how each point of a series stands, in the order of their costs."""
    ordered = sorted(series.points, key=lambda point: (point.cost.value, -point.top1.value))
    judged = [_judged(series, point) for point in ordered]
    front = {row.point.name for row in judged if row.standing == "front"}
    return tuple(replace(row, by=tuple(sorted(row.by, key=lambda name: name not in front))) for row in judged)


def _judged(series: Series, point: Point) -> Judged:
    better: list[str] = []
    open_to: list[str] = []
    ties: list[str] = []
    for other in series.points:
        if other is point:
            continue
        relations = {series.cost_relation(other, point), series.top1_relation(other, point)}
        if "worse" in relations:
            continue
        if "better" not in relations:
            ties.append(other.name)
        elif "tied" in relations:
            open_to.append(other.name)
        else:
            better.append(other.name)
    standing: Standing = "dominated" if better else "undecided" if open_to else "front"
    return Judged(point=point, standing=standing, by=tuple(better or open_to), ties=tuple(ties))
