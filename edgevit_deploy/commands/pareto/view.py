"""What `convert.py pareto` shows: a table a series, in words what it means, the JSON document and the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edgevit_deploy.commands.console import say
from edgevit_deploy.commands.pages import Table, markdown_text

if TYPE_CHECKING:
    from edgevit_deploy.measure.pareto.assemble import LeftOut
    from edgevit_deploy.measure.pareto.figures import Cost, Figure
    from edgevit_deploy.measure.pareto.front import Judged

NAMED = 3
"""Points that a cell names; `--json` has all."""

PAGE_NAME, DOCUMENT_NAME, SVG_NAME, PNG_NAME = "pareto.md", "pareto.json", "pareto.svg", "pareto.png"

READING = (
    "Dominated: another one is better by one figure, and better or equal by the other. Undecided: another one is better by one "
    "figure, and by the other the 95 % intervals do not tell them apart. Ties: neither figure tells them apart.",
    "Accuracies count as independent, too careful a view where pictures are the same: `evaluate` pairs them and decides more.",
    "Figures, mixed: the cost is of a file here, the accuracy is published for its network, with other weights. "
    "Published: both are. Measured: both are measured or counted here.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A series with its verdicts."""

    title: str
    pictures: str
    judged: "tuple[Judged, ...]"

    def table(self, unit: str) -> Table:
        """Return its table, by cost."""
        columns = ("", unit, "95 %", "top-1 %", "95 %", "figures", "standing", "ties")
        return Table(title=f"{self.title}; top-1 on {self.pictures}", columns=columns, rows=[_cells(row) for row in self.judged])


def print_shown(shown: Sequence[Shown], unit: str, left_out: "Sequence[LeftOut]") -> None:
    """Print everything that people read."""
    for series in shown:
        series.table(unit).print()
    for line in (*READING, *_note_lines(shown), *_left_out_lines(left_out)):
        say(line)


def document(cost: "Cost", unit: str, shown: Sequence[Shown], left_out: "Sequence[LeftOut]") -> dict[str, Any]:
    """Return everything as the one JSON document."""
    return {
        "x": cost,
        "unit": unit,
        "y": "top1",
        "series": [
            {
                "name": series.title,
                "pictures": series.pictures,
                "front": [row.point.name for row in series.judged if row.standing == "front"],
                "points": [_point_document(row) for row in series.judged],
            }
            for series in shown
        ],
        "left_out": msgspec.to_builtins(left_out),
    }


def page(command: str, unit: str, shown: Sequence[Shown], left_out: "Sequence[LeftOut]") -> str:
    """Return the Markdown page, which begins with the command that makes it and ends with the source of each figure."""
    lines = (*READING, *_note_lines(shown), *_left_out_lines(left_out))
    sources = dict.fromkeys(
        figure.source
        for series in shown
        for row in series.judged
        for figure in (row.point.cost, row.point.top1)
        if figure.origin != "measured"
    )
    return "\n".join(
        [
            "# Accuracy against cost\n",
            f"```\n{command}\n```\n",
            f"![top-1 against {unit}]({SVG_NAME})\n",
            *(series.table(unit).markdown() for series in shown),
            *(f"- {markdown_text(line)}" for line in lines),
            *(["", "## Where the published and counted figures are from\n"] if sources else []),
            *(f"- {markdown_text(source)}" for source in sources),
            "",
        ]
    )


def _cells(row: "Judged") -> list[str]:
    point = row.point
    return [
        point.name,
        f"{point.cost.value:.4g}",
        _interval(point.cost),
        f"{point.top1.value:.2f}",
        _interval(point.top1),
        point.mark,
        _standing(row),
        _some(row.ties),
    ]


def _standing(row: "Judged") -> str:
    if row.standing == "dominated":
        return f"dominated by {_some(row.by)}"
    return f"undecided against {_some(row.by)}" if row.standing == "undecided" else "on the front"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more


def _interval(figure: "Figure") -> str:
    return "exact" if figure.interval is None else f"{figure.interval[0]:.4g} to {figure.interval[1]:.4g}"


def _note_lines(shown: Sequence[Shown]) -> list[str]:
    notes: dict[str, list[str]] = {}
    for series in shown:
        for row in series.judged:
            for note in row.point.notes:
                names = notes.setdefault(note, [])
                if row.point.name not in names:
                    names.append(row.point.name)
    return [f"{'; '.join(names)}: {note}" for note, names in notes.items()]


def _left_out_lines(left_out: "Sequence[LeftOut]") -> list[str]:
    return [f"left out: {subject.name}: {subject.reason}" for subject in left_out]


def _point_document(row: "Judged") -> dict[str, Any]:
    point = row.point
    return {
        "name": point.name,
        "label": point.label,
        "network": point.network,
        "figures": point.mark,
        "cost": msgspec.to_builtins(point.cost),
        "top1": msgspec.to_builtins(point.top1),
        "standing": row.standing,
        "by": row.by,
        "ties": row.ties,
        "notes": point.notes,
    }
