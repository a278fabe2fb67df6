"""What `convert.py bench` shows: tables, a plot, and in words how far the figures can be trusted; and the JSON document."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.markup import escape
from rich.text import Text

from edgevit_deploy.commands.bench.contests import comparison_document, contest_document, contest_lines, contest_table, styled
from edgevit_deploy.commands.bench.energy import energy_document, energy_lines, energy_table
from edgevit_deploy.commands.bench.plot import print_plot
from edgevit_deploy.commands.console import say, stderr
from edgevit_deploy.commands.pages import Table

if TYPE_CHECKING:
    from edgevit_deploy.measure.bench import BenchRun
    from edgevit_deploy.measure.profile import KindTime, PartTime
    from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison

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
KIND_COLUMNS = ("kind", "ms", "share", "operations")
PART_COLUMNS = ("part", "ms", "share", "operations", "million MACs", "of peak")


def print_run(run: "BenchRun") -> None:
    """Print everything that people read about one run."""
    if run.benchmark is not None:
        first, *others = tables(run, run.benchmark)
        first.print()
        print_plot((*run.benchmark.results, run.benchmark.control))
        for table in others:
            table.print()
        for line in explanation(run, run.benchmark):
            say(line)
        for warning in run.benchmark.warnings():
            stderr().print(f"[bold yellow]warning:[/] {escape(warning)}")
    for subject in run.skipped:
        say(f"{subject.bundle}: not timed here. {subject.reason}")


def tables(run: "BenchRun", benchmark: "Benchmark") -> list[Table]:
    """Return the tables: latencies first, then costs, contests and parts."""
    comparisons = {comparison.label: comparison for comparison in benchmark.comparisons()}
    entries = (*benchmark.results, benchmark.control)
    return [
        Table(
            title=f"latency in ms a run, wall clock; {setting(benchmark)}",
            columns=LATENCY_COLUMNS,
            rows=[_latency_cells(result, comparisons.get(result.label)) for result in entries],
        ),
        Table(title="cost", columns=COST_COLUMNS, rows=[_cost_cells(result) for result in benchmark.results]),
        *([energy_table(run.energy)] if run.energy else []),
        *(contest_table(contest, benchmark) for contest in run.contests),
        *(
            table
            for label, profile in run.profiles.items()
            if profile is not None
            for table in (_part_table(label, profile.parts, benchmark), _kind_table(label, profile.kinds))
        ),
    ]


def setting(benchmark: "Benchmark") -> str:
    """Say in one line how the runs were timed."""
    first = benchmark.results[0]
    threads = "runtime's own threads" if first.threads is None else f"CPU threads {first.threads}"
    return f"batch {first.batch}, {threads}, {benchmark.regime.name} regime, {len(first.raw_ms)} timed runs each"


def document(run: "BenchRun") -> dict[str, object]:
    """Return the whole run as the one JSON document."""
    where = {"machine": run.machine, **({"worker": run.worker} if run.worker else {})}
    if run.benchmark is None:
        return {**where, "results": [], "skipped": run.skipped}
    benchmark = run.benchmark
    return {
        **where,
        "regime": benchmark.regime,
        "seed": benchmark.seed,
        "bundles": run.bundles,
        "results": [_result_document(result) for result in benchmark.results],
        "control": {**_result_document(benchmark.control), "spread": benchmark.control_spread},
        "comparisons": [comparison_document(comparison) for comparison in benchmark.comparisons()],
        "against": [contest_document(contest, benchmark) for contest in run.contests],
        "profiles": run.profiles,
        "energy": [energy_document(entry) for entry in run.energy],
        "warnings": benchmark.warnings(),
        "skipped": run.skipped,
    }


def explanation(run: "BenchRun", benchmark: "Benchmark") -> list[str]:
    """Say in words what the figures mean and how far they can be trusted."""
    regime, first = benchmark.regime, benchmark.results[0]
    blocks = len(first.raw_ms) // regime.timed_calls
    lines = [line for contest in run.contests for line in contest_lines(contest, benchmark)]
    unprofiled = [label for label, profile in run.profiles.items() if profile is None]
    lines += [f"{label}: its runtime has no profiler that Python reaches" for label in unprofiled]
    if run.profiles:
        notes = "; ".join(note for note in run.profiler_notes if note)
        lines.append(
            f"parts and kinds: from the runtime's own profiler{f' ({notes})' if notes else ''}, in a run of its own; "
            "of peak: multiply-accumulates of convolutions and products over what the faster of PyTorch's matrix product and 3x3 "
            "convolution reaches here, in float32 on as many threads, in that time. A form changes what stands beside the "
            "convolutions, products and activations: with these kernels, no form gets below their sum."
        )
    lines += energy_lines(run.energy)
    if regime.name == "paper":
        means = ", ".join(f"{result.label} {result.mean_ms:.2f} ms" for result in benchmark.results)
        lines.append(f"the paper's figure, the mean of {len(first.raw_ms)} passes: {means}")
    lines += [
        f"{regime.name}: {blocks} blocks a bundle, each of {regime.warm_calls} warm and {regime.timed_calls} timed runs, in "
        f"shuffled order (seed {benchmark.seed}), none after itself, every bundle loaded {min(regime.sittings, blocks)} times. "
        "p99 of fewer than 100 runs is the slowest run.",
        f"A/A control: {first.label} against itself; a difference within {benchmark.control_spread:.1%} is no difference.",
        "load: the runtime's library was imported and the file in the page cache. Peak memory: resident, of a process that runs "
        "only this file, Python and libraries included; not a GPU's.",
        f"{run.machine.describe()}{f' Timed by worker {run.worker}.' if run.worker else ''}",
    ]
    own = [result.label for result in benchmark.results if result.own_process]
    if own:
        lines.append(f"in a child process, so load includes starting it: {', '.join(own)}")
    return lines


def _result_document(result: "BenchmarkResult") -> dict[str, object]:
    return {
        **msgspec.to_builtins(result),
        "min_ms": result.min_ms,
        "mean_ms": result.mean_ms,
        "median_ms": result.median_ms,
        "median_interval_ms": result.median_interval_ms,
        "p90_ms": result.p90_ms,
        "p99_ms": result.p99_ms,
        "cv": result.cv,
        "iqr_share": result.iqr_share,
        "images_per_s": result.images_per_s,
    }


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
    return Text.assemble(f"{comparison.ratio:.3f} ({low:.3f} to {high:.3f})\n", styled(comparison))


def _cost_cells(result: "BenchmarkResult") -> list[str | Text]:
    memory = "-" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 1e6:.0f}"
    return [result.label, f"{result.load_ms:.1f}", f"{result.first_ms:.2f}", f"{result.size_bytes / 1e6:.1f}", memory]


def _part_table(label: str, parts: "Sequence[PartTime]", benchmark: "Benchmark") -> Table:
    threads = benchmark.results[0].threads
    total = sum(part.time_ms for part in parts)
    rows = [
        [
            part.part,
            f"{part.time_ms:.3f}",
            f"{part.share:.1%}",
            str(part.operations),
            f"{part.macs / 1e6:.1f}" if part.macs else "",
            "" if part.peak_share is None else f"{part.peak_share:.0%}",
        ]
        for part in parts
    ]
    return Table(title=f"time by part of {label}, {total:.2f} ms in all, CPU threads {threads}", columns=PART_COLUMNS, rows=rows)


def _kind_table(label: str, kinds: "Sequence[KindTime]") -> Table:
    rows: list[list[str | Text]] = [
        [kind.kind, f"{kind.time_ms:.3f}", f"{kind.share:.1%}", str(kind.operations)] for kind in kinds
    ]
    return Table(title=f"time by kind of operation of {label}", columns=KIND_COLUMNS, rows=rows)
