"""What `convert.py bench` shows: two tables, a plot, and in words how far the figures can be trusted; and the JSON document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from rich.markup import escape
from rich.text import Text

from edgevit_deploy.console import print_table, say, stderr

if TYPE_CHECKING:
    from edgevit_deploy.benchmark_result import Benchmark, BenchmarkResult, Comparison

LATENCY_COLUMNS = (
    "bundle",
    "runs on",
    "image",
    "median",
    "95 % of median",
    "min",
    "p90",
    "p99",
    "cv",
    "CPU",
    "images/s",
    "x first",
)
COST_COLUMNS = ("bundle", "load ms", "first run ms", "file MB", "peak memory MB")
VERDICT_STYLES = {"faster": "green", "slower": "red", "no difference": "dim"}

PLOT_WIDTH = 60
MIN_PLOT_WIDTH = 20
LABEL_WIDTH = 36
BLOCKS, ASCII = "█▒░", "#+-"
EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The host's facts on which latencies depend; None where it does not tell.

    `cores_for_us` is how many of the cores this process may use; the load average is of the minute before the first run.
    """

    system: str
    cpu: str
    cores: int
    cores_for_us: int
    governor: str | None
    load_average_1min: float | None
    python: str
    libraries: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A bundle that cannot be timed on this host, and why."""

    bundle: str
    reason: str


def print_benchmark(benchmark: "Benchmark", machine: Machine) -> None:
    """Print everything that people read about one run."""
    comparisons = {comparison.label: comparison for comparison in benchmark.comparisons()}
    entries = (*benchmark.results, benchmark.control)
    print_table(
        f"latency in ms a run, wall clock; {_setting(benchmark)}",
        LATENCY_COLUMNS,
        [_latency_cells(result, comparisons.get(result.label)) for result in entries],
    )
    print_plot(entries)
    print_table("cost", COST_COLUMNS, [_cost_cells(result) for result in benchmark.results])
    for line in _explanation(benchmark, machine):
        say(line)
    for warning in benchmark.warnings():
        stderr().print(f"[bold yellow]warning:[/] {escape(warning)}")


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


def document(benchmark: "Benchmark | None", machine: Machine, skipped: Sequence[Skipped]) -> dict[str, object]:
    """Return the whole run as the one JSON document."""
    if benchmark is None:
        return {"machine": machine, "results": [], "skipped": skipped}
    return {
        "machine": machine,
        "regime": benchmark.regime,
        "seed": benchmark.seed,
        "results": [_result_document(result) for result in benchmark.results],
        "control": {**_result_document(benchmark.control), "spread": benchmark.control_spread},
        "comparisons": [
            {"label": c.label, "ratio": c.ratio, "interval": c.interval, "verdict": c.verdict} for c in benchmark.comparisons()
        ],
        "warnings": benchmark.warnings(),
        "skipped": skipped,
    }


def _result_document(result: "BenchmarkResult") -> dict[str, object]:
    return {
        **msgspec.to_builtins(result),
        "min_ms": result.min_ms,
        "median_ms": result.median_ms,
        "median_interval_ms": result.median_interval_ms,
        "p90_ms": result.p90_ms,
        "p99_ms": result.p99_ms,
        "cv": result.cv,
        "iqr_share": result.iqr_share,
        "images_per_s": result.images_per_s,
    }


def _setting(benchmark: "Benchmark") -> str:
    first = benchmark.results[0]
    threads = "runtime's own threads" if first.threads is None else f"CPU threads {first.threads}"
    return f"batch {first.batch}, {threads}, {benchmark.regime.name} regime, {len(first.raw_ms)} timed runs each"


def _latency_cells(result: "BenchmarkResult", comparison: "Comparison | None") -> list[str | Text]:
    low, high = result.median_interval_ms
    height, width = result.image_size
    cpu = "-" if result.cpu_ms is None else f"{result.cpu_ms:.2f}"
    return [
        result.label,
        result.runtime,
        f"{height}x{width}",
        f"{result.median_ms:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{result.min_ms:.2f}",
        f"{result.p90_ms:.2f}",
        f"{result.p99_ms:.2f}",
        f"{result.cv:.1%}",
        cpu,
        f"{result.images_per_s:.1f}",
        "" if comparison is None else _comparison_cell(comparison),
    ]


def _comparison_cell(comparison: "Comparison") -> Text:
    low, high = comparison.interval
    verdict = (comparison.verdict, VERDICT_STYLES[comparison.verdict])
    return Text.assemble(f"{comparison.ratio:.3f} ({low:.3f} to {high:.3f})\n", verdict)


def _cost_cells(result: "BenchmarkResult") -> list[str]:
    memory = "-" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 1e6:.0f}"
    return [result.label, f"{result.load_ms:.1f}", f"{result.first_ms:.2f}", f"{result.size_bytes / 1e6:.1f}", memory]


def _explanation(benchmark: "Benchmark", machine: Machine) -> list[str]:
    regime, first = benchmark.regime, benchmark.results[0]
    blocks = len(first.raw_ms) // regime.timed_calls
    governor = machine.governor or "not readable"
    load = "not readable" if machine.load_average_1min is None else f"{machine.load_average_1min:.2f}"
    lines = [
        f"{regime.name}: {blocks} blocks a bundle, each of {regime.warm_calls} warm and {regime.timed_calls} timed runs, in "
        f"shuffled order (seed {benchmark.seed}), none after itself. p99 of fewer than 100 runs is the slowest run.",
        f"A/A control: {first.label} against itself; a difference within {benchmark.control_spread:.1%} is no difference.",
        "load: the runtime's library was imported and the file in the page cache. Peak memory: resident, of a process that runs "
        "only this file, Python and libraries included; not a GPU's.",
        f"{machine.cpu}, {machine.cores_for_us} of {machine.cores} cores, {machine.system}, governor {governor}, "
        f"load average before {load}.",
    ]
    own = [result.label for result in benchmark.results if result.own_process]
    if own:
        lines.append(f"in a child process, so load includes starting it: {', '.join(own)}")
    return lines


def _bar(result: "BenchmarkResult", cells_per_ms: float, glyphs: str) -> tuple[str, str, str]:
    median, p90, p99 = (value * cells_per_ms for value in (result.median_ms, result.p90_ms, result.p99_ms))
    solid = glyphs[0] * int(median)
    if glyphs == BLOCKS and (eighths := int(median % 1 * 8)):
        solid += EIGHTHS[eighths]
    shaded = glyphs[1] * (round(p90) - len(solid))
    return solid, shaded, glyphs[2] * (round(p99) - len(solid) - len(shaded))


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_WIDTH else f"...{label[3 - LABEL_WIDTH :]}"
