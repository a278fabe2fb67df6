"""The plot of a training, as SVG: the loss above, top-1 below, over the epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgevit_deploy.outside.text import xml_text

if TYPE_CHECKING:
    from edgevit_deploy.train.records import Measured

WIDTH, PANEL_HEIGHT, LEFT, RIGHT, TOP, GAP = 720, 220, 64, 130, 28, 52
TICKS = 5
STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #1f2430 } .dim { fill: #667 } .title { font-weight: 600 } "
    "rect.page { fill: #fff } line.grid { stroke: #e3e6ec } polyline { fill: none; stroke-width: 1.8 } "
    ".loss { stroke: #3b7dd8 } .top1 { stroke: #c2691e } .averaged { stroke: #2f8f5b }"
)

Points = Sequence[tuple[float, float]]


def svg_plot(metrics: "Sequence[Measured]") -> str:
    """Return a picture of the lines of `metrics.jsonl`."""
    last = max((line.epoch for line in metrics), default=1.0)
    losses = [(line.epoch, line.loss) for line in metrics]
    raw = [(line.epoch, 100 * line.top1) for line in metrics if line.top1 is not None]
    averaged = [(line.epoch, 100 * line.ema_top1) for line in metrics if line.ema_top1 is not None]
    height = 2 * PANEL_HEIGHT + TOP + 2 * GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="loss and top-1 by epoch">\n<style>{STYLE}</style>',
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            *_panel("training loss", TOP, last, {"loss": ("training", losses)}, ""),
            *_panel(
                "top-1 on the validation pictures",
                TOP + PANEL_HEIGHT + GAP,
                last,
                {"top1": ("weights", raw), "averaged": ("averaged weights", averaged)},
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
    for tick in range(TICKS):
        value = low + (high - low) * tick / (TICKS - 1)
        _, y = place(0, value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" class="dim">{value:.4g}{unit}</text>')
        epoch = last * tick / (TICKS - 1)
        x, _ = place(epoch, low)
        lines.append(f'<text x="{x:.1f}" y="{top + PANEL_HEIGHT + 18}" text-anchor="middle" class="dim">{epoch:.3g}</text>')
    for index, (kind, (label, points)) in enumerate(series.items()):
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
            lines.append(f'<polyline class="{kind}" points="{path}"/>')
        y = top + 16 + 20 * index
        lines.append(f'<line class="{kind}" x1="{WIDTH - RIGHT + 8}" x2="{WIDTH - RIGHT + 24}" y1="{y - 4}" y2="{y - 4}"/>')
        lines.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y}">{xml_text(label)}</text>')
    return lines
