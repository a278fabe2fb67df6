"""The plot of `convert.py pareto`: a panel a series, cost across on a logarithmic axis, top-1 upwards, and the front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from edgevit_deploy.commands.canvas import Anchor, Canvas, round_numbers
from edgevit_deploy.commands.canvas import Mark as Shape

if TYPE_CHECKING:
    from edgevit_deploy.commands.pareto.view import Shown
    from edgevit_deploy.measure.pareto.figures import Mark
    from edgevit_deploy.measure.pareto.front import Judged, Standing

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LEGEND = 760, 420, 58, 18, 52, 50, 60
"""Of a panel, and the room inside of it around what is drawn."""

LEAST_SHARE = 0.2
"""Of a cost, to which its interval is drawn: one that reaches nothing has no place on a logarithmic axis."""

ONE_COLUMN = 2
"""Up to so many panels stand below each other; of more, two are side by side."""

MOST_PANELS = 12
"""More make a picture that needs gigabytes; the tables have every series."""

MOST_NAMED, LONGEST_NAME = 40, 48
"""Points that a panel names, those on the front first, and characters of a name; the table has all."""

SIZE, SMALL, RADIUS = 12.5, 11.0, 5.0
INK, DIM, GRID, STAIRS, OURS, THEIRS = "#1f2430", "#666677", "#e3e6ec", "#9aa3b2", "#c2410c", "#2563a8"
PALE = {OURS: "#f6c9a8", THEIRS: "#b9d3ee"}
SHAPES: "dict[Mark, Shape]" = {"measured": "circle", "mixed": "diamond", "published": "square"}
MARKS: "dict[Mark, str]" = {
    "measured": "cost and accuracy measured or counted here",
    "mixed": "cost of here, accuracy published",
    "published": "both published",
}
STANDINGS: "dict[Standing, tuple[str, str]]" = {
    "front": ("on the front", INK),
    "undecided": ("undecided: within the intervals", "#bfc4cf"),
    "dominated": ("dominated", "#ffffff"),
}

Place = tuple[float, float]
Area = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """Where values lie in a panel, costs by their logarithm; `area` is what its grid fills."""

    area: Area
    costs: tuple[float, float]
    accuracies: tuple[float, float]

    def place(self, cost: float, top1: float) -> Place:
        left, top, right, bottom = self.area
        low, high = map(math.log, self.costs)
        across = (math.log(max(cost, self.costs[0])) - low) / (high - low)
        least, most = self.accuracies
        return left + across * (right - left), bottom - (top1 - least) / (most - least) * (bottom - top)


def draw(shown: "Sequence[Shown]", unit: str) -> Canvas:
    """Draw every series in a panel of its own, up to `MOST_PANELS`, and say how many more there are."""
    drawn = shown[:MOST_PANELS]
    columns = 1 if len(drawn) <= ONE_COLUMN else 2
    foot = HEIGHT * -(-len(drawn) // columns)
    canvas = Canvas(width=WIDTH * columns, height=foot + LEGEND, label=f"top-1 against {unit}, with the Pareto front")
    for number, series in enumerate(drawn):
        x, y = WIDTH * (number % columns), HEIGHT * (number // columns)
        _panel(canvas, series, unit, (x + LEFT, y + TOP, x + WIDTH - RIGHT, y + HEIGHT - BOTTOM))
    _legend(canvas, drawn, len(shown) - len(drawn), foot + 16)
    return canvas


def _panel(canvas: Canvas, series: "Shown", unit: str, area: Area) -> None:
    judged = series.judged
    costs = [max(end, LEAST_SHARE * row.point.cost.value) for row in judged for end in row.point.cost.ends]
    accuracies = [end for row in judged for end in row.point.top1.ends]
    room = max(0.06 * (max(accuracies) - min(accuracies)), 0.3)
    axes = _Axes(
        area=area,
        costs=(0.88 * min(costs), 1.25 * max(costs)),
        accuracies=(min(accuracies) - room, min(max(accuracies) + room, 100.5)),
    )
    left, top, right, _ = area
    canvas.words(left, top - 30, _fitting(series.title, right - left), colour=INK, bold=True, size=SIZE)
    canvas.words(left, top - 12, f"top-1 in %, {series.pictures}", colour=DIM, size=SMALL)
    _grid(canvas, axes, unit)
    stairs = _front(judged, axes)
    if stairs:
        canvas.path(stairs, STAIRS, 1.5)
    taken = [_about(*ends, 2) for ends in pairwise(stairs)]
    for row in judged:
        taken += _dot(canvas, axes, row)
    for row in _named(judged):
        name = _shown_name(row.point.name)
        x, y, anchor = _free_place(name, axes.place(row.point.cost.value, row.point.top1.value), taken, axes)
        taken.append(_words_area(name, x, y, anchor))
        canvas.words(x, _baseline(y), name, anchor, DIM if row.standing == "dominated" else INK, size=SMALL)


def _named(judged: "Sequence[Judged]") -> "list[Judged]":
    """Return the points that are named in the plot: of a network in several memory layouts the cheapest, all else.

    Of more than `MOST_NAMED` those on the front come first.
    """
    cheapest: dict[str, Judged] = {}
    for row in judged:  # by cost
        layouts = row.point.name.partition(", ")[0] == row.point.network
        cheapest.setdefault(row.point.network if layouts else row.point.name, row)
    by_standing = sorted(cheapest.values(), key=lambda row: list(STANDINGS).index(row.standing))
    return list(cheapest.values()) if len(cheapest) <= MOST_NAMED else by_standing[:MOST_NAMED]


def _shown_name(name: str) -> str:
    """Return a name without its middle where it is long: paths differ at their ends."""
    half = (LONGEST_NAME - 3) // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def _grid(canvas: Canvas, axes: _Axes, unit: str) -> None:
    left, top, right, bottom = axes.area
    for value in round_numbers(*axes.accuracies, at_most=9):
        _, y = axes.place(axes.costs[0], value)
        canvas.path([(left, y), (right, y)], GRID)
        canvas.words(left - 8, _baseline(y), f"{value:g}", "end", DIM, size=SMALL)
    for value in _decades(*axes.costs):
        x, _ = axes.place(value, axes.accuracies[0])
        canvas.path([(x, top), (x, bottom)], GRID)
        canvas.words(x, bottom + 17, f"{value:g}", "middle", DIM, size=SMALL)
    canvas.words((left + right) / 2, bottom + 35, unit, "middle", DIM, size=SMALL)


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    return [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]


def _front(judged: "Sequence[Judged]", axes: _Axes) -> list[Place]:
    """Return the stairs below which everything is dominated: at a cost, the best accuracy that can be had for it."""
    best = axes.accuracies[0]
    places: list[Place] = []
    for row in judged:  # by cost
        cost, top1 = row.point.cost.value, row.point.top1.value
        if row.standing == "front" and top1 > best:
            places += [axes.place(cost, best), axes.place(cost, top1)]
            best = top1
    return [*places, axes.place(axes.costs[1], best)] if places else []


def _dot(canvas: Canvas, axes: _Axes, row: "Judged") -> list[Area]:
    """Draw a point and its intervals, and return what they cover."""
    point = row.point
    colour = OURS if point.network.startswith("EdgeViT") else THEIRS
    (left, right), (low, high) = point.cost.ends, point.top1.ends
    across = axes.place(left, point.top1.value), axes.place(right, point.top1.value)
    up = axes.place(point.cost.value, low), axes.place(point.cost.value, high)
    canvas.path(across, colour)
    canvas.path(up, colour)
    fill = {"front": colour, "undecided": PALE[colour], "dominated": "#ffffff"}[row.standing]
    x, y = axes.place(point.cost.value, point.top1.value)
    canvas.dot(x, y, SHAPES[point.mark], RADIUS, fill=fill, edge=colour)
    return [_about((x, y), (x, y), RADIUS + 2), _about(*across, 1), _about(*up, 1)]


def _about(place: Place, other: Place, room: float) -> Area:
    """Return the area around two places, with some room."""
    (x, y), (other_x, other_y) = place, other
    return min(x, other_x) - room, min(y, other_y) - room, max(x, other_x) + room, max(y, other_y) + room


def _free_place(text: str, dot: Place, taken: Sequence[Area], axes: _Axes) -> tuple[float, float, Anchor]:
    """Return where beside a dot its name covers least of what is there already."""
    choices: list[tuple[float, float, Anchor]] = [
        (dot[0] + dx, dot[1] + dy, "start" if dx > 0 else "end") for dy in (0, -11, 11, -20, 20) for dx in (9, -9)
    ]
    left, top, right, bottom = axes.area

    def harm(choice: tuple[float, float, Anchor]) -> float:
        area = _words_area(text, *choice)
        outside = max(0.0, left - area[0]) + max(0.0, area[2] - right) + max(0.0, top - area[1]) + max(0.0, area[3] - bottom)
        return 100 * outside + sum(_common(area, other) for other in taken)

    return min(choices, key=harm)


def _common(area: Area, other: Area) -> float:
    across = min(area[2], other[2]) - max(area[0], other[0])
    up = min(area[3], other[3]) - max(area[1], other[1])
    return max(0.0, across) * max(0.0, up)


def _words_area(text: str, x: float, y: float, anchor: Anchor) -> Area:
    """Return what small words cover whose middle height is y."""
    start = x - _width(text, SMALL) if anchor == "end" else x
    return start, y - SMALL / 2, start + _width(text, SMALL), y + SMALL / 2


def _width(text: str, size: float) -> float:
    return 0.55 * size * len(text)


def _baseline(middle: float) -> float:
    return middle + 0.35 * SMALL


def _fitting(text: str, width: float) -> str:
    """Shorten a title that would not fit."""
    most = int(width / _width("x", SIZE))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _legend(canvas: Canvas, drawn: "Sequence[Shown]", more: int, top: float) -> None:
    marks = {row.point.mark for series in drawn for row in series.judged}
    x = float(LEFT)
    for mark, text in MARKS.items():
        if mark in marks:
            x = _key(canvas, x, top, SHAPES[mark], "#ffffff", text)
    if more:
        canvas.words(x, _baseline(top), f"{more} more series are in the tables only", colour=INK, size=SMALL)
    x = float(LEFT)
    for text, fill in STANDINGS.values():
        x = _key(canvas, x, top + 22, "circle", fill, text)
    canvas.words(x, _baseline(top + 22), "lines: 95 % intervals; EdgeViT is orange", colour=DIM, size=SMALL)


def _key(canvas: Canvas, x: float, y: float, shape: Shape, fill: str, text: str) -> float:
    canvas.dot(x, y, shape, RADIUS, fill=fill, edge=INK)
    canvas.words(x + 12, _baseline(y), text, colour=INK, size=SMALL)
    return x + _width(text, SMALL) + 34
