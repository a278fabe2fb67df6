"""What `convert.py bench --against` shows: how bundles stand among plain exports, peers, or beside their own float32."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from edgevit_deploy.commands.bench.ablations import ablation_columns, ablation_rows, ablation_words, ms_a_gmac
from edgevit_deploy.commands.pages import Table

if TYPE_CHECKING:
    from edgevit_deploy.measure.contests import Against, Contest, Gain, Standing
    from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison

GAIN_COLUMNS = ("file", "runs on", "median ms", "fp32 / this", "95 %", "by CPU time", "verdict", "MB", "of fp32's MB")
STANDING_COLUMNS = ("file", "beyond a plain conversion", "x noise", "median ms", "x {base}", "95 %", "by CPU time", "verdict")
TITLES: "dict[Against, str]" = {
    "original": "naive exports of the same weights",
    "fp32": "float32 of the same weights",
    "peers": "peers",
    "ablations": "the paper's ablations",
}
ROUNDED_PEERS = (
    "peers are rounded as the bundle is (which operators, in which steps), by ranges of drawn pictures, with BatchNorm and ReLU "
    "folded first. That recipe was chosen for EdgeViT; a peer's own best may be faster: docs/int8.md has MobileNetV2's figures."
)
VERDICT_STYLES = {"faster": "green", "slower": "red", "no difference": "dim"}


def contest_document(contest: "Contest", benchmark: "Benchmark") -> dict[str, object]:
    """Return a contest as a part of the JSON document."""
    best = contest.best_naive(benchmark)
    return {
        "against": contest.against,
        "gains": [_gain_document(gain) for gain in contest.gains(benchmark)],
        "bundles": [subject.label for subject in contest.subjects],
        "base": contest.base(benchmark).label,
        "standings": [
            {
                **comparison_document(entry.against_base),
                "cpu_ratio": entry.cpu_ratio,
                "given": entry.given,
                "noise_ratio": entry.noise_ratio,
                **_network_document(contest, entry.result),
            }
            for entry in contest.standings(benchmark)
        ],
        "best_naive_over_bundle": None if best is None else comparison_document(best),
        "rejected": [asdict(entry) for entry in contest.rejected],
        "networks": contest.networks,
    }


def _network_document(contest: "Contest", result: "BenchmarkResult") -> dict[str, object]:
    facts = contest.networks.get(result.label)
    return {} if facts is None else {"ms_a_gmac": ms_a_gmac(result.median_ms, result.batch, facts)}


def _gain_document(gain: "Gain") -> dict[str, object]:
    return {
        **comparison_document(gain.speedup),
        "verdict": gain.verdict,
        "cpu_ratio": gain.cpu_speedup,
        "size_bytes": gain.result.size_bytes,
        "fp32_size_bytes": gain.single.size_bytes,
        "size_share": gain.size_share,
    }


def comparison_document(comparison: "Comparison") -> dict[str, object]:
    """Return one ratio as a part of the JSON document."""
    return {
        "label": comparison.label,
        "ratio": comparison.ratio,
        "interval": comparison.interval,
        "verdict": comparison.verdict,
    }


def contest_table(contest: "Contest", benchmark: "Benchmark") -> Table:
    """Return how the files of a contest stand."""
    names = ", ".join(subject.label for subject in contest.subjects)
    title = f"{names} against {TITLES[contest.against]}"
    if gains := contest.gains(benchmark):
        return Table(title=title, columns=GAIN_COLUMNS, rows=[_single_cells(gains[0].single), *map(_gain_cells, gains)])
    base = contest.base(benchmark).label
    if contest.networks:
        networks = contest.networks
        return Table(title=title, columns=ablation_columns(networks, base), rows=ablation_rows(networks, base, benchmark))
    return Table(
        title=title,
        columns=[column.format(base=base) for column in STANDING_COLUMNS],
        rows=[_standing_cells(standing, base) for standing in contest.standings(benchmark)],
    )


def _standing_cells(standing: "Standing", base: str) -> list[str | Text]:
    comparison, (low, high) = standing.against_base, standing.against_base.interval
    itself = standing.result.label == base
    return [
        standing.result.label,
        standing.given,
        "" if standing.noise_ratio is None else f"{standing.noise_ratio:.2g}",
        f"{standing.result.median_ms:.2f}",
        f"{comparison.ratio:.3f}",
        "" if itself else f"{low:.3f} to {high:.3f}",
        "" if itself else _cpu(standing.cpu_ratio, digits=3),
        "" if itself else Text.assemble(styled(comparison)),
    ]


def _single_cells(single: "BenchmarkResult") -> list[str | Text]:
    figures = (single.label, single.runtime, f"{single.median_ms:.2f}", "1", "", "", "")
    return [*figures, _mb(single), "1"]


def _gain_cells(gain: "Gain") -> list[str | Text]:
    low, high = gain.speedup.interval
    return [
        gain.result.label,
        gain.result.runtime,
        f"{gain.result.median_ms:.2f}",
        f"{gain.speedup.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        _cpu(gain.cpu_speedup, digits=2),
        Text.assemble((gain.verdict, VERDICT_STYLES[gain.verdict])),
        _mb(gain.result),
        f"{gain.size_share:.2f}",
    ]


def _cpu(ratio: float | None, digits: int) -> str:
    return "-" if ratio is None else f"{ratio:.{digits}f}"


def _gain_line(gain: "Gain", benchmark: "Benchmark") -> str:
    """Say what a bundle gains in one sentence."""
    label, single, (low, high) = gain.result.label, gain.single.label, gain.speedup.interval
    cpu, control_cpu = gain.cpu_speedup, benchmark.control_cpu_ratio
    by_cpu = "" if cpu is None or control_cpu is None else f"; by CPU time {cpu:.2f}, A/A {abs(control_cpu - 1):.1%}"
    figures = f"95 %: {low:.2f} to {high:.2f}, A/A {benchmark.control_spread:.1%}{by_cpu}"
    speed = f"{label} is {gain.speedup.ratio:.2f} times as fast as {single} ({figures})"
    if gain.verdict == "no difference":
        speed += ", which in this run is no difference"
    return f"{speed}; its file has {gain.size_share:.2f} of the size ({_mb(gain.result)} of {_mb(gain.single)} MB)"


def _mb(result: "BenchmarkResult") -> str:
    return f"{result.size_bytes / 1e6:.1f}"


def contest_lines(contest: "Contest", benchmark: "Benchmark") -> list[str]:
    """Say in words what came of a contest, and which baselines there are not."""
    lines = []
    best = contest.best_naive(benchmark)
    if best is not None:
        low, high = best.interval
        lines.append(
            f"best naive export ({best.label}) / {contest.subjects[0].label} = {best.ratio:.3f} (95 %: {low:.3f} to {high:.3f}), "
            f"A/A {benchmark.control_spread:.1%}"
        )
    gains = contest.gains(benchmark)
    lines += [_gain_line(gain, benchmark) for gain in gains]
    if not gains and benchmark.control_cpu_ratio is not None:
        spread = abs(benchmark.control_cpu_ratio - 1)
        lines.append(f"by CPU time: other programs disturb it less; one file against itself differs by {spread:.1%} in it.")
    if contest.against == "peers":
        size = "x".join(map(str, contest.peer_size))
        kind = "as backbones (features_only, strides 4 to 32), " if contest.backbones else ""
        lines.append(f"peers: timm, {kind}random weights, {size}, converted by the same exporter; nobody rewrote their graphs.")
        lines += [ROUNDED_PEERS] if contest.rounded else []
    if contest.against == "ablations":
        lines.append(ablation_words())
    return [*lines, *(f"not timed: {entry.label}: {entry.reason}" for entry in contest.rejected)]


def styled(comparison: "Comparison") -> tuple[str, str]:
    """Return a verdict and its colour."""
    return comparison.verdict, VERDICT_STYLES[comparison.verdict]
