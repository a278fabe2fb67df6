"""The plot of a training, as SVG: the loss above, top-1 or mean IoU below, over the epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from edgevit_deploy.commands.canvas import round_numbers
from edgevit_deploy.outside.text import xml_text

if TYPE_CHECKING:
    from edgevit_deploy.train.records import Measured

WIDTH, PANEL_HEIGHT, LEFT, RIGHT, TOP, GAP = 720, 220, 64, 130, 28, 52
STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #1f2430 } .dim { fill: #667 } .title { font-weight: 600 } "
    "rect.page { fill: #fff } line.grid { stroke: #e3e6ec } polyline { fill: none; stroke-width: 1.8 } "
    ".loss { stroke: #3b7dd8 } .score { stroke: #c2691e } .averaged { stroke: #2f8f5b }"
)

Points = Sequence[tuple[float, float]]
Score = Literal["top-1", "mIoU"]

FIELDS: dict[Score, tuple[str, str]] = {"top-1": ("top1", "ema_top1"), "mIoU": ("miou", "ema_miou")}
"""Of a measurement: what the weights and their average reach."""


def svg_plot(metrics: "Sequence[Measured]", score: Score) -> str:
    """Return a picture of the lines of `metrics.jsonl`."""
    last = max((line.epoch for line in metrics), default=1.0)
    losses = [(line.epoch, line.loss) for line in metrics]
    raw, averaged = (
        [(line.epoch, 100 * value) for line in metrics if (value := getattr(line, field)) is not None] for field in FIELDS[score]
    )
    height = 2 * PANEL_HEIGHT + TOP + 2 * GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="loss and {score} by epoch">\n<style>{STYLE}</style>',
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            *_panel("training loss", TOP, last, {"loss": ("training", losses)}, ""),
            *_panel(
                f"{score} on the validation pictures",
                TOP + PANEL_HEIGHT + GAP,
                last,
                {"score": ("weights", raw), "averaged": ("averaged weights", averaged)},
                " %",
            ),
            f'<text x="{LEFT}" y="{height - 10}" class="dim">epochs</text>',
            "</svg>\n",
        ]
    )


def _panel(title: str, top: int, last: float, series: dict[str, tuple[str, Points]], unit: str) -> list[str]:
    values = [value for _, points in series.values() for _, value in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(high - low, 1e-6 * max(1.0, abs(high)))
    low, high = low - 0.05 * room, high + 0.05 * room

    def place(epoch: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * epoch / max(last, 1e-9)
        return x, top + PANEL_HEIGHT * (high - value) / (high - low)

    lines = [f'<text x="{LEFT}" y="{top - 10}" class="title">{xml_text(title)}</text>']
    for value in round_numbers(low, high):
        _, y = place(0, value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" class="dim">{value:.6g}{unit}</text>')
    for epoch in round_numbers(0, last):
        x, _ = place(epoch, low)
        lines.append(f'<text x="{x:.1f}" y="{top + PANEL_HEIGHT + 18}" text-anchor="middle" class="dim">{epoch:.6g}</text>')
    for index, (kind, (label, points)) in enumerate(series.items()):
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
            lines.append(f'<polyline class="{kind}" points="{path}"/>')
        y = top + 16 + 20 * index
        lines.append(f'<line class="{kind}" x1="{WIDTH - RIGHT + 8}" x2="{WIDTH - RIGHT + 24}" y1="{y - 4}" y2="{y - 4}"/>')
        lines.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y}">{xml_text(label)}</text>')
    return lines
