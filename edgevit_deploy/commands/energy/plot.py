"""The picture of a power trace: all of it, three inferences from close by, and the energy of each."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgevit_deploy.commands.canvas import Canvas, round_numbers

if TYPE_CHECKING:
    from edgevit_deploy.measure.energy.result import Reading
    from edgevit_deploy.measure.energy.trace import Values

WIDTH, LEFT, RIGHT, TOP = 960, 70, 20, 64
PANEL, GAP = 190, 66
NEAR = 3
"""Inferences that are shown from close by."""

INK, DIM, GRID = "#1f2430", "#667788", "#e3e6ec"
POWER, BACKGROUND, INFERENCE, BURST, MISSING = "#3b7dd8", "#c2691e", "#d3efdd", "#f6d9d5", "#d9d9d9"
WRAP_AT = 128

Place = Callable[[float, float], tuple[float, float]]


def draw(reading: "Reading", title: str, lines: list[str]) -> Canvas:
    """Draw what was read.

    Args:
        reading: of a trace, measured or refused.
        title: above the picture.
        lines: below the title: the result, or why there is none.
    """
    panels = 3 if reading.regions is not None else 2
    shown = [part for line in lines for part in _wrapped(line)]
    top = TOP + 18 * len(shown)
    canvas = Canvas(width=WIDTH, height=top + panels * (PANEL + GAP), label=title)
    canvas.words(LEFT, 26, title, bold=True)
    for number, line in enumerate(shown):
        canvas.words(LEFT, 48 + 18 * number, line, colour=DIM)
    cells = len(reading.trace.power_w)
    spans = np.empty((0, 2), int) if reading.levels is None else reading.levels.spans
    _power_panel(canvas, reading, top, (0, cells), f"power (W), {len(spans)} inferences found")
    near = _near(reading)
    _power_panel(canvas, reading, top + PANEL + GAP, near, "from close by" if len(spans) else "its beginning")
    if reading.regions is not None:
        _energy_panel(canvas, 1000 * reading.regions.energy_j, reading.regions.whole, top + 2 * (PANEL + GAP))
    _legend(canvas, top - 22)
    return canvas


def _wrapped(line: str) -> list[str]:
    rows: list[str] = []
    row = ""
    for word in line.split(" "):
        if len(row) + len(word) > WRAP_AT:
            rows, row = [*rows, row], ""
        row = f"{row} {word}".strip()
    return [*rows, row]


def _near(reading: "Reading") -> tuple[int, int]:
    """Return the cells around some inferences of the middle, or around the one that is least like the others."""
    cells = len(reading.trace.power_w)
    if reading.levels is None or not len(reading.levels.spans):
        return 0, min(cells, max(200, cells // 20))
    spans, first = reading.levels.spans, max(0, len(reading.levels.spans) // 2 - NEAR // 2)
    if reading.regions is not None and reading.energy is None:
        off = np.abs(reading.regions.energy_j / np.median(reading.regions.energy_j) - 1)
        first = max(0, int(np.argmax(off)) - NEAR // 2)
    elif reading.regions is None:
        first = max(0, int(np.argmax(spans[:, 1] - spans[:, 0])) - NEAR // 2)
    chosen = spans[first : first + NEAR]
    room = max(10, int((chosen[-1, 1] - chosen[0, 0]) * 0.15))
    return max(0, int(chosen[0, 0]) - room), min(cells, int(chosen[-1, 1]) + room)


def _power_panel(canvas: Canvas, reading: "Reading", top: int, cells: tuple[int, int], title: str) -> None:
    trace, (first, last) = reading.trace, cells
    power = trace.power_w[first:last]
    place = _axes(
        canvas,
        top,
        title,
        (trace.start_s + first * trace.cell_s, trace.start_s + last * trace.cell_s),
        (float(min(power.min(), 0.0)), float(power.max())),
        " s",
    )

    def shade(spans: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]", fill: str) -> None:
        for begin, end in spans:
            if end > first and begin < last:
                x0, _ = place(trace.start_s + max(begin, first) * trace.cell_s, 0)
                x1, _ = place(trace.start_s + min(end, last) * trace.cell_s, 0)
                canvas.box(x0, top, max(0.6, x1 - x0), PANEL, fill)

    if reading.levels is not None:
        shade(reading.levels.spans if reading.regions is None else reading.regions.spans, INFERENCE)
        shade(reading.levels.bursts, BURST)
    if not trace.known.all():
        from edgevit_deploy.measure.energy.levels import runs_of

        shade(runs_of(~trace.known), MISSING)
    canvas.path(_line(trace.times_s()[first:last], power, place), POWER, 1.2)
    beneath = _beneath(reading)
    if beneath is not None:
        canvas.path(_line(trace.times_s()[first:last], beneath[first:last], place), BACKGROUND, 1.6)


def _beneath(reading: "Reading") -> "Values | None":
    if reading.regions is not None:
        cells = np.arange(len(reading.trace.power_w))
        return np.asarray(np.interp(cells, reading.regions.spans.mean(axis=1), reading.regions.background_w))
    return None if reading.levels is None else reading.levels.base_w


def _line(times_s: "Values", values: "Values", place: Place) -> list[tuple[float, float]]:
    """Return a line for a picture: of many values the smallest and the largest in each half pixel."""
    columns = 2 * (WIDTH - LEFT - RIGHT)
    if len(values) <= 2 * columns:
        return [place(*point) for point in zip(times_s.tolist(), values.tolist(), strict=True)]
    edges = np.linspace(0, len(values), columns + 1).astype(int)
    points = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[begin:end]
        middle = float(times_s[(begin + end) // 2])
        points += [place(middle, float(part.min())), place(middle, float(part.max()))]
    return points


def _energy_panel(
    canvas: Canvas, energies_mj: "Values", whole: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", top: int
) -> None:
    count = len(energies_mj)
    ends = (min(0.0, float(energies_mj.min())), float(energies_mj.max()))
    place = _axes(canvas, top, "energy of each inference (mJ)", (0.5, count + 0.5), ends, "")
    width = 0.7 * (WIDTH - LEFT - RIGHT) / count
    for number, (energy, complete) in enumerate(zip(energies_mj.tolist(), whole.tolist(), strict=True), start=1):
        (x, y), (_, zero) = place(number, energy), place(number, 0.0)
        canvas.box(x - width / 2, min(y, zero), width, abs(zero - y), POWER if complete else MISSING)
    (x0, y), (x1, _) = (place(end, float(energies_mj[whole].mean()) if whole.any() else 0.0) for end in (0.5, count + 0.5))
    canvas.path([(x0, y), (x1, y)], BACKGROUND, 1.6)


def _axes(canvas: Canvas, top: int, title: str, xs: tuple[float, float], ys: tuple[float, float], unit: str) -> Place:
    low, high = ys[0], ys[1] + 0.06 * max(ys[1] - ys[0], 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / max(xs[1] - xs[0], 1e-12)
        return LEFT + (WIDTH - LEFT - RIGHT) * across, top + PANEL * (high - y) / (high - low)

    canvas.words(LEFT, top - 8, title, colour=INK)
    for y in round_numbers(low, high):
        _, at_y = place(xs[0], y)
        canvas.path([(LEFT, at_y), (WIDTH - RIGHT, at_y)], GRID)
        canvas.words(LEFT - 8, at_y + 4, f"{y:.6g}", "end", DIM)
    for x in round_numbers(*xs):
        at_x, _ = place(x, low)
        canvas.words(at_x, top + PANEL + 18, f"{x:.6g}{unit}", "middle", DIM)
    return place


def _legend(canvas: Canvas, y: float) -> None:
    x = WIDTH - RIGHT - 470
    marks = (("power", POWER), ("background", BACKGROUND), ("inference", INFERENCE), ("burst", BURST), ("missing", MISSING))
    for text, colour in marks:
        canvas.box(x, y - 3, 16, 10, colour)
        canvas.words(x + 21, y + 7, text, colour=DIM)
        x += 38 + 8 * len(text)
