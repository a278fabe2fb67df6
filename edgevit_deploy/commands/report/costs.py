"""Latency and size of bundles of one network for one target, side by side: float beside eight bits."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.commands.report.facts import size_text
from edgevit_deploy.measure.accuracy.identity import identity_of, question_of
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult
from edgevit_deploy.measure.saved import SavedBench
from edgevit_deploy.spec import PROGRAM, task_of

BASE = "fp32"
"""The precision with which the others are compared, where it is among them, in the deploy graph rather than the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBar:
    """One bundle in one measure; lengths are from 0 to 100, and `figures` is "not timed" where there are none.

    `low` and `high` are the ends of an interval, both of them the bar's own end where there is none.
    """

    anchor: str
    name: str
    base: bool
    length: float
    low: float
    high: float
    figures: str
    compared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostGroup:
    """The bundles of one target and network that take and return the same: `latency` is empty where none of them was timed."""

    title: str
    latency: tuple[CostBar, ...]
    size: tuple[CostBar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostView:
    """What the template is given."""

    groups: tuple[CostGroup, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bundle:
    anchor: str
    label: str
    manifest: Manifest
    result: BenchmarkResult | None
    name: str


def cost_view(bundles: Sequence[tuple[str, str, Manifest]], saved: SavedBench | None) -> CostView | None:
    """Return the comparison; None where there is nothing to compare and nothing was timed.

    Args:
        bundles: the anchor, label and manifest of each.
        saved: what was timed, if something was.
    """
    grouped: dict[tuple[object, ...], list[_Bundle]] = {}
    for anchor, label, manifest in bundles:
        result = saved.result_of(identity_of(manifest)) if saved else None
        bundle = _Bundle(anchor=anchor, label=label, manifest=manifest, result=result, name=manifest.precision)
        grouped.setdefault(question_of(manifest), []).append(bundle)
    shown = [_named(group) for group in grouped.values() if len(group) > 1 or group[0].result is not None]
    if not shown:
        return None
    benchmark = saved.benchmark if saved else None
    labels = [bundle.label for group in shown for bundle in group]
    return CostView(
        groups=tuple(_group(group, benchmark) for group in shown),
        sentences=_untimed(labels) if saved is None else _timed(saved),
    )


def _named(bundles: Sequence[_Bundle]) -> list[_Bundle]:
    """Call each bundle by its precision, and where several have it, by its label too."""
    count = Counter(bundle.manifest.precision for bundle in bundles)
    return [
        bundle if count[bundle.manifest.precision] == 1 else replace(bundle, name=f"{bundle.name}, {bundle.label}")
        for bundle in bundles
    ]


def _untimed(labels: Sequence[str]) -> tuple[str, ...]:
    return (
        f"Not timed: `{PROGRAM} bench {shlex.join(labels)} --output DIR` measures latencies, and `{PROGRAM} report` with "
        "`--bench DIR` shows them here.",
    )


def _timed(saved: SavedBench) -> tuple[str, ...]:
    benchmark, first = saved.benchmark, saved.results[0]
    threads = "the runtime's own threads" if first.threads is None else f"CPU threads {first.threads}"
    noisy = ("The run was noisy: do not rely on small differences.",) if benchmark.warnings() else ()
    return (
        f"Latency: the median of {len(first.raw_ms)} runs and its 95 % interval, batch {first.batch}, {threads}, "
        f"{saved.regime.name} regime; one file against itself differs by up to {benchmark.control_spread:.1%}. "
        f"{saved.machine.describe()}{f' Timed by worker {saved.worker}.' if saved.worker else ''}",
        *noisy,
    )


def _group(bundles: Sequence[_Bundle], benchmark: Benchmark | None) -> CostGroup:
    base = max(bundles, key=_suits_as_base)
    timed = any(bundle.result is not None for bundle in bundles)
    return CostGroup(
        title=_title(base.manifest),
        latency=tuple(_latency(bundle, base, bundles, benchmark) for bundle in bundles) if timed else (),
        size=tuple(_size(bundle, base, bundles) for bundle in bundles),
    )


def _suits_as_base(bundle: _Bundle) -> tuple[bool, bool]:
    """Say whether others are compared with a bundle rather than with the next: with float32, and of that the deploy graph."""
    return bundle.manifest.precision == BASE, bundle.manifest.conversion.graph == "deploy"


def _title(manifest: Manifest) -> str:
    """Say what the files of a group share, of what was asked only what is out of the ordinary."""
    model, conversion = manifest.model, manifest.conversion
    task, size = task_of(conversion.returns), size_text(model.image_size)
    unusual = {
        "any image size": conversion.image_size == "dynamic",
        f"batch {conversion.batch}": conversion.batch != 1,
        f"--input {conversion.takes}": conversion.takes != "tensor",
        task: task != "classify",
    }
    return ", ".join([manifest.target, model.variant, size, *(text for text, holds in unusual.items() if holds)])


def _latency(bundle: _Bundle, base: _Bundle, bundles: Sequence[_Bundle], benchmark: Benchmark | None) -> CostBar:
    result = bundle.result
    if result is None or benchmark is None:
        return _bar(bundle, base, (0, 0, 0), "not timed", "")
    longest = max(other.result.median_interval_ms[1] for other in bundles if other.result is not None)
    low, high = result.median_interval_ms
    lengths = tuple(100 * value / longest for value in (result.median_ms, low, high))
    compared = ""
    if base.result is not None and bundle is not base:
        comparison = benchmark.compare(base.result, result)
        ends = " to ".join(f"{end:.2f}" for end in comparison.interval)
        same = ": no difference" if comparison.verdict == "no difference" else ""
        compared = f"{comparison.ratio:.2f} x as fast as {base.name} ({ends}){same}"
    return _bar(bundle, base, lengths, f"{result.median_ms:.2f} ms ({low:.2f} to {high:.2f})", compared)


def _size(bundle: _Bundle, base: _Bundle, bundles: Sequence[_Bundle]) -> CostBar:
    size_bytes, largest = bundle.manifest.model_bytes, max(1, *(other.manifest.model_bytes for other in bundles))
    length = 100 * size_bytes / largest
    share = size_bytes / max(1, base.manifest.model_bytes)
    compared = "" if bundle is base else f"{share:.2f} x {base.name}"
    return _bar(bundle, base, (length,) * 3, f"{size_bytes / 1e6:.1f} MB", compared)


def _bar(bundle: _Bundle, base: _Bundle, lengths: Sequence[float], figures: str, compared: str) -> CostBar:
    length, low, high = (round(each, 2) for each in lengths)
    return CostBar(
        anchor=bundle.anchor,
        name=bundle.name,
        base=bundle is base,
        length=length,
        low=low,
        high=high,
        figures=figures,
        compared=compared,
    )
