"""The bars of `convert.py bench`: in the terminal, and as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from edgevit_deploy.commands.console import stderr
from edgevit_deploy.outside.text import xml_text

if TYPE_CHECKING:
    from edgevit_deploy.measure.result import BenchmarkResult

PLOT_WIDTH = 60
MIN_PLOT_WIDTH = 20
LABEL_WIDTH = 36
BLOCKS, ASCII = "█▒░", "#+-"
EIGHTHS = " ▏▎▍▌▋▊▉"

SVG_LABEL_WIDTH, SVG_BAR_WIDTH, SVG_FIGURE_WIDTH, SVG_ROW_HEIGHT, SVG_MARGIN = 330, 460, 130, 22, 12
SVG_STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #1f2430 } .group { font-weight: 600 } .dim { fill: #667 } "
    "rect.page { fill: #fff } rect.bar { fill: #3b7dd8 } line { stroke: #14213d; stroke-width: 1.5 }"
)


def print_plot(results: "Sequence[BenchmarkResult]") -> None:
    """Print one bar for each result: solid to the median, shaded to p90, light to p99."""
    console = stderr()
    glyphs = BLOCKS if console.encoding.lower().startswith("utf") else ASCII
    labels = [_shortened(result.label) for result in results]
    left = max(map(len, labels))
    width = max(MIN_PLOT_WIDTH, min(PLOT_WIDTH, console.width - left - 12)) if console.is_terminal else PLOT_WIDTH
    cells_per_ms = width / max(result.p99_ms for result in results)
    for label, result in zip(labels, results, strict=True):
        solid, shaded, light = _bar(result, cells_per_ms, glyphs)
        bar = f"[cyan]{solid}[/][blue]{shaded}[/][dim]{light}[/]"
        console.print(f"{escape(label):<{left}} {bar} {result.median_ms:.2f} ms", soft_wrap=True)
    console.print(f"[dim]{'':<{left}} {glyphs[0]} median  {glyphs[1]} p90  {glyphs[2]} p99[/]")


def svg_plot(results: "Sequence[BenchmarkResult]", setting: str) -> str:
    """Return a picture: a bar to each median, grouped by runtime, with the 95 % interval of the median across it."""
    groups: dict[str, list[BenchmarkResult]] = {}
    for result in results:
        groups.setdefault(result.runtime, []).append(result)
    pixels_per_ms = SVG_BAR_WIDTH / max(result.median_interval_ms[1] for result in results)
    lines: list[str] = []
    row = 1
    for runtime, members in groups.items():
        lines.append(_svg_text(SVG_MARGIN, row, runtime, "group"))
        for result in members:
            row += 1
            lines += _svg_row(result, row, pixels_per_ms)
        row += 2
    lines.append(_svg_text(SVG_MARGIN, row, setting, "dim"))
    width = SVG_LABEL_WIDTH + SVG_BAR_WIDTH + SVG_FIGURE_WIDTH
    height = (row + 1) * SVG_ROW_HEIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="latency by runtime">\n<style>{SVG_STYLE}</style>\n'
        f'<rect class="page" width="{width}" height="{height}"/>'
    )
    return "\n".join([head, *lines, "</svg>\n"])


def _svg_row(result: "BenchmarkResult", row: int, pixels_per_ms: float) -> list[str]:
    low, high = (SVG_LABEL_WIDTH + value * pixels_per_ms for value in result.median_interval_ms)
    length, top = result.median_ms * pixels_per_ms, row * SVG_ROW_HEIGHT - 15
    middle = top + 9
    return [
        _svg_text(SVG_MARGIN * 2, row, _shortened(result.label), ""),
        f'<rect class="bar" x="{SVG_LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="18" rx="2"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
        _svg_text(max(high, SVG_LABEL_WIDTH + length) + 6, row, f"{result.median_ms:.2f} ms", ""),
    ]


def _svg_text(x: float, row: int, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{row * SVG_ROW_HEIGHT}" class="{kind}">{xml_text(text)}</text>'


def _bar(result: "BenchmarkResult", cells_per_ms: float, glyphs: str) -> tuple[str, str, str]:
    median, p90, p99 = (value * cells_per_ms for value in (result.median_ms, result.p90_ms, result.p99_ms))
    solid = glyphs[0] * int(median)
    if glyphs == BLOCKS and (eighths := int(median % 1 * 8)):
        solid += EIGHTHS[eighths]
    shaded = glyphs[1] * (round(p90) - len(solid))
    return solid, shaded, glyphs[2] * (round(p99) - len(solid) - len(shaded))


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_WIDTH else f"...{label[3 - LABEL_WIDTH :]}"
