"""What is dominated, what is on the front, and what intervals leave open: planted points, and the figures that are shipped."""

import random
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgevit_deploy.measure.pareto.figures import Figure, Mark, Origin, Point, Relation, compared
from edgevit_deploy.measure.pareto.front import Judged, Series, judge
from edgevit_deploy.measure.pareto.published import IMAGENET, published, published_latencies
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from edgevit_deploy.model.peers import PEERS, make_peer, make_torchvision_importable
from edgevit_deploy.model.variants import VARIANTS

Ends = tuple[float, float]


def figure(value: float, interval: Ends | None = None, origin: Origin = "measured") -> Figure:
    return Figure(value=value, interval=interval, origin=origin, source="a test")


def point(name: str, cost: float, top1: float, *, width: float = 0.0, origin: Origin = "measured") -> Point:
    ends = (top1 - width, top1 + width) if width else None
    return Point(name=name, label=name, network="", cost=figure(cost), top1=figure(top1, ends, origin))


def judged(*points: Point) -> dict[str, Judged]:
    return {row.point.name: row for row in judge(Series(name="planted", pictures="some", points=points))}


def test_a_planted_point_is_dominated_and_it_is_said_by_whom() -> None:
    rows = judged(point("fast", 1, 70), point("planted", 3, 71), point("good", 2, 75), point("best", 9, 80))
    assert (rows["planted"].standing, rows["planted"].by) == ("dominated", ("good",))
    assert [name for name, row in rows.items() if row.standing == "front"] == ["fast", "good", "best"]
    better = judged(point("fast", 1, 70), replace(point("planted", 3, 76)), point("good", 2, 75), point("best", 9, 80))
    assert better["planted"].standing == "front", "with more accuracy it would not be"


def test_dominators_on_the_front_are_named_first() -> None:
    rows = judged(point("a", 3, 60), point("b", 2, 61), point("c", 1, 62))
    assert rows["a"].by == ("c", "b")


def test_a_tie_is_no_victory() -> None:
    """The same costs and accuracies, once with intervals that part them and once with intervals that do not."""
    narrow = judged(point("cheap", 1, 77.1, width=0.1), point("dear", 2, 77.5, width=0.1))
    assert narrow["dear"].standing == "front"
    wide = judged(point("cheap", 1, 77.1, width=0.4), point("dear", 2, 77.5, width=0.4))
    assert (wide["dear"].standing, wide["dear"].by) == ("undecided", ("cheap",))
    assert wide["cheap"].standing == "front"


def test_what_no_figure_tells_apart_is_a_tie_of_both() -> None:
    one, two = point("one", 1, 77.1, width=0.4), point("two", 1, 77.3, width=0.4)
    rows = judged(one, two)
    assert rows["one"].ties == ("two",)
    assert rows["two"].ties == ("one",)
    assert {row.standing for row in rows.values()} == {"front"}


def test_the_same_accuracy_at_a_higher_cost_is_dominated() -> None:
    rows = judged(point("one", 1, 77.1, width=0.4), point("two", 2, 77.1, width=0.4))
    assert rows["two"].standing == "dominated"


@pytest.mark.parametrize("seed", range(20))
def test_without_intervals_the_front_is_that_of_the_definition(seed: int) -> None:
    draw = random.Random(seed)
    points = [point(f"p{number}", draw.randrange(1, 12), draw.randrange(50, 62)) for number in range(30)]
    for row in judge(Series(name="drawn", pictures="some", points=tuple(points))):
        mine = row.point
        by = {
            other.name
            for other in points
            if other.cost.value <= mine.cost.value
            and other.top1.value >= mine.top1.value
            and (other.cost.value, other.top1.value) != (mine.cost.value, mine.top1.value)
        }
        assert set(row.by) == by
        assert row.standing == ("dominated" if by else "front")


@pytest.mark.parametrize(
    ("mine", "other", "relation"),
    [
        (figure(2.0), figure(1.0), "worse"),
        (figure(1.0), figure(2.0), "better"),
        (figure(1.0), figure(1.0), "equal"),
        (figure(1.0, (0.5, 1.5)), figure(2.0, (1.5, 2.5)), "better"),  # halves of 0.5 and 0.5 make 0.71
        (figure(1.0, (0.2, 1.8)), figure(2.0, (1.2, 2.8)), "tied"),
        (figure(1.0, (0.9, 3.0)), figure(2.0), "tied"),
        (figure(1.0, (0.1, 1.1)), figure(2.0), "better"),  # it is the near end that counts
    ],
)
def test_figures_are_compared_by_their_near_ends(mine: Figure, other: Figure, relation: Relation) -> None:
    assert compared(mine, other, smaller_is_better=True) == relation
    opposite: dict[Relation, Relation] = {"better": "worse", "worse": "better"}
    assert compared(other, mine, smaller_is_better=True) == opposite.get(relation, relation)
    assert compared(mine, other, smaller_is_better=False) == opposite.get(relation, relation)


@pytest.mark.parametrize(
    ("cost", "top1", "mark"),
    [
        ("measured", "measured", "measured"),
        ("counted", "measured", "measured"),
        ("measured", "published", "mixed"),
        ("counted", "published", "mixed"),
        ("published", "measured", "mixed"),
        ("published", "published", "published"),
    ],
)
def test_a_point_of_two_kinds_of_figures_is_marked(cost: Origin, top1: Origin, mark: Mark) -> None:
    made = Point(name="", label="", network="", cost=figure(1, None, cost), top1=figure(2, None, top1))
    assert made.mark == mark


def timed(label: str, ms: float, spread: float) -> BenchmarkResult:
    raw = tuple(ms * (1 + spread * (-1) ** (number // 4)) for number in range(40))
    return BenchmarkResult(
        label=label,
        runtime="r",
        threads=1,
        batch=1,
        image_size=(224, 224),
        load_ms=1.0,
        first_ms=1.0,
        raw_ms=raw,
        calls_per_block=4,
        sittings=4,
        cpu_ms=None,
        size_bytes=1,
        peak_memory_bytes=None,
        own_process=False,
    )


@pytest.mark.parametrize(("control_ms", "standing"), [(10.0, "dominated"), (10.8, "undecided")])
def test_latencies_of_one_run_are_compared_as_bench_does(control_ms: float, standing: Literal["dominated", "undecided"]) -> None:
    """4 % slower is slower in a quiet run; where a file differs from itself by 8 %, it is no difference."""
    results = (timed("a", 10.0, 0.001), timed("b", 10.4, 0.001))
    benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=timed("a", control_ms, 0.001))
    points = tuple(
        replace(point(result.label, result.median_ms, top1), result=result)
        for result, top1 in zip(results, (75, 70), strict=True)
    )
    rows = {row.point.name: row for row in judge(Series(name="", pictures="", points=points, benchmark=benchmark))}
    assert rows["b"].standing == standing


def test_every_published_figure_has_a_source_and_can_be() -> None:
    known = published()
    used = {row.source for row in known.accuracies} | {table.source for table in known.tables} | {known.macs.source}
    assert used == set(known.sources)
    assert set(known.networks) == {*PEERS, "EdgeViT-XXS", "EdgeViT-XS", "EdgeViT-S"}
    assert {name for name in known.networks if not name.startswith("EdgeViT")} == set(known.macs.networks)
    for series in published_latencies():
        assert series.pictures == IMAGENET
        assert {row.mark for row in series.points} == {"published"}
        assert all(0.5 < row.cost.value < 1000 and 60 < row.top1.value < 90 for row in series.points)


@pytest.mark.parametrize(
    ("network", "top1"),
    [  # read in the READMEs that `published.toml` names, not taken from it
        ("DeiT-Ti", 72.2),
        ("PVTv2-B0", 70.5),
        ("PVTv2-B1", 78.7),
        ("LeViT-384", 82.6),
        ("Twins-SVT-S", 81.7),
        ("Swin-T", 81.2),
    ],
)
def test_an_accuracy_is_that_of_the_page_that_is_named(network: str, top1: float) -> None:
    row = published().accuracy_of(network)
    assert row is not None
    assert row.top1 == top1
    assert "README" in published().sources[row.source].title


def test_a_table_has_every_network_that_the_paper_compares() -> None:
    """EfficientMod's table 1 has a DeiT of the size of DeiT-Ti, trained with distillation: 74.5 % and 16.5 ms."""
    (series,) = (one for one in published_latencies() if "EfficientMod" in one.name)
    (deit,) = (row for row in series.points if row.name.startswith("DeiT"))
    assert (deit.top1.value, deit.cost.value) == (74.5, 16.5)


def test_an_accuracy_has_the_interval_of_its_pictures() -> None:
    """The 95 % interval of 75 % of 50,000 is 1.96 times the root of 0.75 x 0.25 / 50,000 to each side."""
    low, high = published().top1_figure(75.0, "starnet").ends
    assert (low, high) == pytest.approx((75 - 0.3795, 75 + 0.3795), abs=2e-3)


def test_macs_of_edgevit_come_from_the_formula_at_any_size() -> None:
    known = published()
    for name in ("EdgeViT-XXS", "EdgeViT-XS", "EdgeViT-S"):
        assert name.lower().replace("-", "_") in VARIANTS
        small, large = known.macs_figure(name, (224, 224)), known.macs_figure(name, (512, 1024))
        assert small is not None
        assert large is not None
        assert large.value > 10 * small.value
    assert known.macs_figure("DeiT-Ti", (224, 224)) is not None
    assert known.macs_figure("DeiT-Ti", (384, 384)) is None


@pytest.mark.parametrize("name", ["MobileNetV2", "DeiT-Ti"])
def test_the_macs_shipped_are_counted_again(name: str) -> None:
    make_torchvision_importable()
    pytest.importorskip("timm")
    network = make_peer(name, seed=0).network
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 224, 224))
    assert counter.get_total_flops() // 2 == published().macs.networks[name]
