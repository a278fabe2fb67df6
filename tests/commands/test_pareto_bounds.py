"""What `pareto` makes of records that no command writes: too many meters, endless names, energies that cannot be."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgevit_deploy.cli import run
from edgevit_deploy.commands.pareto.plot import HEIGHT, LEGEND, LONGEST_NAME, MOST_NAMED, MOST_PANELS, draw
from edgevit_deploy.commands.pareto.view import Shown
from edgevit_deploy.measure.pareto.figures import Figure, Point
from edgevit_deploy.measure.pareto.front import Series, judge
from edgevit_deploy.measure.pareto.records import LONGEST_TEXT, MOST_METERS
from edgevit_deploy.measure.saved import MAX_RESULTS
from tests.helpers.records import bench, energy, evaluation

ErrorCheck = Callable[..., str]
FILES = ("MobileNetV2", "DeiT-Ti")


def changed(place: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads(place.read_text())
    change(document)
    place.write_text(json.dumps(document))
    return place


def counted(folder: Path, *entries: tuple[str, str, float, float, float]) -> Path:
    """Write a benchmark with energies of a file by a meter: mean, low and high."""
    energies = [
        {"name": name, "meter": meter, "mean_mj": mean, "interval_mj": [low, high]} for name, meter, mean, low, high in entries
    ]
    place = bench(folder, dict.fromkeys(FILES, 4.0)) / "bench.json"
    return changed(place, lambda document: document.update(energy=energies))


def by_meters(folder: Path, count: int) -> Path:
    return counted(folder, *((file, f"meter {number}", 5.0, 4.0, 6.0) for file, number in product(FILES, range(count))))


def test_as_many_meters_as_a_machine_has_are_taken(tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert run(["pareto", str(by_meters(tmp_path / "most", MOST_METERS)), "--x", "energy"]) == 0
    message = expect_error(2, "pareto", by_meters(tmp_path / "more", MOST_METERS + 1), "--x", "energy")
    assert f"{MOST_METERS + 1} meters, expected at most {MOST_METERS}" in message


def test_a_meter_counts_each_timed_file_once(tmp_path: Path, expect_error: ErrorCheck) -> None:
    twice = counted(tmp_path / "t", ("DeiT-Ti", "RAPL", 5.0, 4.0, 6.0), ("DeiT-Ti", "RAPL", 5.0, 4.0, 6.0))
    assert "two energies of one file by one meter" in expect_error(2, "pareto", twice, "--x", "energy")
    unknown = counted(tmp_path / "u", ("Swin-T", "RAPL", 5.0, 4.0, 6.0))
    assert "an energy of Swin-T, which it has not timed" in expect_error(2, "pareto", unknown, "--x", "energy")


def test_more_rows_than_files_can_be_compared_are_refused(tmp_path: Path, expect_error: ErrorCheck) -> None:
    right = evaluation(tmp_path / "e", {f"file {number}": 70 for number in range(MAX_RESULTS + 1)})
    assert f"expected at most {MAX_RESULTS}" in expect_error(2, "pareto", right, "--x", "macs")


@pytest.mark.parametrize("where", ["label", "runtime", "machine", "meter", "evaluated", "data", "energy", "device"])
def test_an_endless_name_is_one_line_of_error(where: str, tmp_path: Path, expect_error: ErrorCheck) -> None:
    long = "n" * 300_000
    match where:
        case "label" | "runtime":
            place = changed(bench(tmp_path / "b", {"a": 4.0}) / "bench.json", lambda it: it["results"][0].update({where: long}))
        case "machine":
            place = changed(bench(tmp_path / "b", {"a": 4.0}) / "bench.json", lambda it: it["machine"].update(cpu=long))
        case "meter":
            place = counted(tmp_path / "b", ("DeiT-Ti", long, 5.0, 4.0, 6.0))
        case "evaluated":
            place = evaluation(tmp_path / "e", {long: 5})
        case "data":
            place = changed(evaluation(tmp_path / "e", {"a": 5}) / "evaluation.json", lambda it: it["data"].update(name=long))
        case "energy":
            place = energy(tmp_path / "1.json", long, 5.0)
        case _:
            place = energy(tmp_path / "1.json", "DeiT-Ti", 5.0, device=long)
    message = expect_error(2, "pareto", place)
    assert f"has a name of 300000 characters, expected at most {LONGEST_TEXT}" in message
    assert len(message) < 1000


def test_the_longest_name_is_drawn(tmp_path: Path) -> None:
    label = f"north{'n' * (LONGEST_TEXT - 10)}south"
    timing = bench(tmp_path / "b", {label: 4.0})
    assert run(["pareto", str(timing), "--stands-for", "n*=EdgeViT-XXS", "--output", str(tmp_path / "out")]) == 0
    own = evaluation(tmp_path / "e", {label: 7000})
    assert run(["pareto", str(timing), str(own), "--output", str(tmp_path / "own")]) == 0
    (drawn,) = re.findall(">(north.*south)</text>", (tmp_path / "own" / "pareto.svg").read_text())
    assert len(drawn) <= LONGEST_NAME
    assert label in (tmp_path / "own" / "pareto.md").read_text()


@pytest.mark.parametrize(
    ("mean", "low", "high"), [(6.0, 1000.0, 2000.0), (6.0, 7.0, 5.0), (6.0, 1.0, 5.0), (-1.0, 0.5, 2.0), (6.0, 6.5, 6.5)]
)
def test_an_energy_outside_its_interval_is_refused(
    mean: float, low: float, high: float, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    place = counted(tmp_path / "b", ("DeiT-Ti", "RAPL", mean, low, high))
    assert f"no benchmark has {mean} mJ ({low} to {high})" in expect_error(2, "pareto", place, "--x", "energy")


def test_an_energy_that_may_be_nothing_is_on_no_front(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = counted(tmp_path / "b", ("DeiT-Ti", "RAPL", 0.01, -4.0, 4.0), ("MobileNetV2", "RAPL", 5.0, 4.0, 6.0))
    hardly = energy(tmp_path / "1.json", "EdgeViT-S", 20.0, error_share=0.99999)
    assert run(["pareto", str(place), str(hardly), "--x", "energy", "--json"]) == 0
    made = json.loads(capfd.readouterr().out)
    (series,) = made["series"]
    assert series["front"] == ["MobileNetV2"]
    assert [left["reason"] for left in made["left_out"]] == [
        "its energy is not told apart from none (20 mJ, 0 to 40)",
        "its energy is not told apart from none (0.01 mJ, -4 to 4)",
    ]


def series_of(points: int, name: str = "some") -> Shown:
    def made(number: int) -> Point:
        """Every second one is dominated."""
        cost = Figure(value=1.0 + number, interval=None, origin="measured", source="")
        top1 = Figure(value=50 + 30 * (number - 2 * (number % 2)) / points, interval=None, origin="measured", source="")
        return Point(name=f"p{number}", label="", network="", cost=cost, top1=top1)

    series = Series(name=name, pictures="some", points=tuple(map(made, range(points))))
    return Shown(title=name, pictures="some", judged=judge(series))


def test_a_picture_has_only_so_many_panels() -> None:
    most, more = draw([series_of(2)] * MOST_PANELS, "mJ"), draw([series_of(2)] * (MOST_PANELS + 5), "mJ")
    assert (most.width, most.height) == (more.width, more.height)
    assert most.height == HEIGHT * MOST_PANELS // 2 + LEGEND
    assert "5 more series are in the tables only" in more.svg()
    assert "more series" not in most.svg()
    with Image.open(BytesIO(more.png())) as picture:
        assert picture.size == (2 * more.width, 2 * more.height)


def test_a_crowded_panel_names_those_on_the_front_first() -> None:
    few, crowd = series_of(MOST_NAMED), series_of(2 * MOST_NAMED + 10)
    front = {row.point.name for row in crowd.judged if row.standing == "front"}
    assert len(front) > MOST_NAMED // 2
    svg = draw([few], "mJ").svg()
    assert all(f">p{number}</text>" in svg for number in range(MOST_NAMED))
    svg = draw([crowd], "mJ").svg()
    named = {row.point.name for row in crowd.judged if f">{row.point.name}</text>" in svg}
    assert len(named) == MOST_NAMED
    assert named <= front or front <= named
