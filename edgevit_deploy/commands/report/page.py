"""One self-contained HTML page about bundles: what they are, what was proven about them, and how to prove it again.

A manifest may come from anyone. This module turns manifests into plain text and numbers, and `page.html.j2` lays them out:
Jinja escapes every value, and the page carries a policy by which a browser loads and runs nothing.
"""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, ARITHMETIC_SAMPLED, FileRecord, GoldenRecord, Manifest
from edgevit_deploy.calibration.record import Calibration
from edgevit_deploy.commands.pages import write_beside
from edgevit_deploy.commands.report.ablations import AblationView, ablation_views
from edgevit_deploy.commands.report.accuracy import AccuracyView, accuracy_view, accuracy_views
from edgevit_deploy.commands.report.axis import Axis, Tick, axis_for
from edgevit_deploy.commands.report.costs import CostView, cost_view
from edgevit_deploy.commands.report.facts import Pairs, interface_facts, model_facts, pairs, size_text
from edgevit_deploy.commands.report.flips import Seen
from edgevit_deploy.commands.report.rounding import RoundingView, rounding_view
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.accuracy.record import EvaluationRecord
from edgevit_deploy.measure.saved import SavedBench
from edgevit_deploy.outside.text import figure
from edgevit_deploy.parity.bounds import Measure
from edgevit_deploy.parity.gate import OutputDiff
from edgevit_deploy.spec import INPUTS, InputType

TEMPLATE = "page.html.j2"
EVALUATION_TEMPLATE = "evaluation.html.j2"
HTML_SUFFIXES = (".html", ".htm")
Badge = Literal["good", "open", "bad"]
"""The class in the style sheet that colours a verdict."""

MEASURES: dict[Measure, str] = {"largest": "largest error", "rms": "RMS error"}

BADGES: dict[str, Badge] = {
    "passed": "good",
    ARITHMETIC_SAMPLED: "open",
    ARITHMETIC_ONLY: "open",
    "built, not run": "open",
    "failed": "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One bundle whose hashes hold, and what the page calls it.

    `seen` has what there is to see of each picture that it decides unlike its network, and `looked` says so in a line; None where
    nobody looked.
    """

    label: str
    manifest: Manifest
    evaluation: EvaluationRecord | None = None
    calibration: Calibration | None = None
    labels: tuple[str, ...] = ()
    seen: tuple[Seen, ...] | None = None
    looked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One comparison as a bar on the axis: where error, bound and noise end, and the figures below it."""

    title: str
    description: str
    badge: Badge
    error: float
    bound: float
    beyond: float
    noise: float
    figures: Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the page says about one bundle; figures only where the file itself ran, "-" elsewhere."""

    anchor: str
    label: str
    target: str
    status: str
    badge: Badge
    runtime: str
    max_abs: str
    atol: str
    noise_ratio: str
    agreement: str
    megabytes: str
    sentence: str
    about: str
    bars: tuple[Bar, ...]
    reasons: str
    notes: tuple[str, ...]
    model: Pairs
    interface: Pairs
    command: str
    golden: GoldenRecord
    golden_dtype: InputType
    files: tuple[FileRecord, ...]
    tools: Pairs
    conversion: Pairs
    options: Pairs
    operators: Pairs
    facts: Pairs
    accuracy: AccuracyView | None
    rounding: RoundingView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything that the template is given."""

    summary: str
    ticks: tuple[Tick, ...]
    bundles: tuple[Card, ...]
    costs: CostView | None
    ablations: tuple[AblationView, ...]

    @property
    def shows_pictures(self) -> bool:
        """Whether a browser must be allowed to show what the page itself holds."""
        drawn = any(bundle.rounding is not None and bundle.rounding.shows_pictures for bundle in self.bundles)
        return drawn or any(view.pictures for view in self.accuracies)

    @property
    def accuracies(self) -> tuple[AccuracyView, ...]:
        """What there is of bundles in which an evaluation is recorded."""
        return tuple(bundle.accuracy for bundle in self.bundles if bundle.accuracy is not None)


def render(subjects: Sequence[Subject], saved: SavedBench | None = None) -> str:
    """Return the page; the same subjects, and the same benchmark of them, give the same bytes."""
    return environment().get_template(TEMPLATE).render(page=page_about(subjects, saved))


def render_evaluation(records: Mapping[str, EvaluationRecord], lines: Sequence[str]) -> str:
    """Return the page of one evaluation.

    Args:
        records: of the bundles that ran, by their labels.
        lines: what is said beside the tables.
    """
    return environment().get_template(EVALUATION_TEMPLATE).render(views=accuracy_views(records), lines=lines)


def environment() -> Environment:
    """Return Jinja so set that it escapes every value and refuses a name that it does not know."""
    return Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def page_about(subjects: Sequence[Subject], saved: SavedBench | None = None) -> Page:
    """Return what the page says, as plain text and numbers."""
    axis = axis_for([diff for subject in subjects for diff in subject.manifest.parity.diffs])
    counts = Counter(subject.manifest.verdict for subject in subjects)
    anchored = [(f"bundle-{number}", subject) for number, subject in enumerate(subjects, start=1)]
    return Page(
        summary=f"{len(subjects)} bundle{'s' * (len(subjects) > 1)}: "
        + "; ".join(f"{counts[status]} {status}" for status in BADGES if counts[status]),
        ticks=axis.ticks(),
        bundles=tuple(_card(anchor, subject, axis) for anchor, subject in anchored),
        costs=cost_view([(anchor, subject.label, subject.manifest) for anchor, subject in anchored], saved),
        ablations=ablation_views({identity_of(subject.manifest) for subject in subjects}, saved),
    )


def write_page(page: str, path: Path) -> None:
    """Write the page whole or not at all.

    Raises:
        UsageError: the name is no HTML file's, something that is not a file is there, or the place cannot be written.
    """
    if path.suffix.lower() not in HTML_SUFFIXES:
        raise UsageError(f"--output {path}: the report is an HTML page; give a name that ends in .html")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"--output {path} exists and is not a file; move it away or give another name")
    write_beside({path: page}, output=path)


def _card(anchor: str, subject: Subject, axis: Axis) -> Card:
    manifest = subject.manifest
    parity, status, seed = manifest.parity, manifest.verdict, manifest.model.random_seed
    worst = None if parity.status == "built, not run" else parity.worst
    reasons = dict.fromkeys(f"The bound is {diff.tolerance.k:g} x noise: {diff.tolerance.reason}." for diff in parity.diffs)
    borrowed = f"These comparisons are of what was checked instead, not of {manifest.path}."
    whole = f"--seed {seed}" if seed is not None else "--weights CHECKPOINT"
    return Card(
        anchor=anchor,
        label=subject.label,
        target=f"{manifest.target} {manifest.precision}",
        status=status,
        badge=BADGES[status],
        runtime=parity.runtime,
        max_abs=figure(worst.error) if worst else "-",
        atol=figure(worst.tolerance.atol) if worst else "-",
        noise_ratio=figure(worst.noise_ratio) if worst else "-",
        agreement=parity.top1 or "-" if worst else "-",
        megabytes=f"{manifest.model_bytes / 1e6:.1f}",
        sentence=_sentence(manifest),
        about=borrowed if parity.diffs and parity.instead else "",
        bars=tuple(_bar(diff, axis) for diff in parity.diffs),
        reasons=" ".join(reasons),
        notes=manifest.notes,
        model=pairs(model_facts(manifest)),
        interface=pairs(interface_facts(manifest)),
        command=f"edgevit-deploy verify {shlex.quote(subject.label)} {whole}",
        golden=manifest.golden,
        golden_dtype=INPUTS[manifest.conversion.takes].dtype,
        files=manifest.files,
        tools=pairs(manifest.tools),
        conversion=pairs(msgspec.to_builtins(manifest.conversion)),
        options=pairs(manifest.options),
        operators=pairs(manifest.operators),
        facts=pairs(manifest.facts),
        accuracy=None if subject.evaluation is None else accuracy_view(anchor, subject.label, subject.evaluation),
        rounding=rounding_view(manifest, subject.calibration, subject.labels, subject.seen, subject.looked),
    )


def _sentence(manifest: Manifest) -> str:
    parity, status = manifest.parity, manifest.parity.verdict
    model = f"{manifest.model.variant} for {manifest.target} in {manifest.precision}. "
    if manifest.decisions is not None and manifest.decisions.failed:
        return f"{model}It decides unlike its network: do not ship it."
    if parity.verdict != parity.status:
        return f"{model}The manifest says {parity.status!r}, but the comparisons in it do not: do not trust this bundle."
    if status == "built, not run":
        return f"{model}Not run where it was made, and not run is not passed. Checked instead: {parity.instead}."
    return f"{model}It ran on {parity.runtime} and {'exceeded its bound' if status == 'failed' else 'stayed within every bound'}."


def _bar(diff: OutputDiff, axis: Axis) -> Bar:
    bound, measure = axis.position(diff.tolerance.atol), MEASURES[diff.tolerance.measure]
    figures = {
        measure: f"{figure(diff.error)}, the largest on {diff.worst_probe!r}",
        "bound": figure(diff.tolerance.atol),
        "PyTorch's own noise": figure(diff.tolerance.noise),
        "x noise": figure(diff.noise_ratio),
        "top-1 agrees": f"{diff.top1} probes" if diff.top1 else "-",
        "smallest margin": "-" if diff.smallest_margin is None else figure(diff.smallest_margin),
        "SQNR": "-" if diff.sqnr_db is None else f"{diff.sqnr_db:.1f} dB",
        "1 - cosine": figure(1 - diff.cosine),
    }
    return Bar(
        title=f"{diff.output}, batch {diff.batch}, {size_text(diff.image_size)}, {diff.probes} probes",
        description=f"{measure} {figure(diff.error)}, bound {figure(diff.tolerance.atol)}, on a logarithmic scale",
        badge="good" if diff.ok else "bad",
        error=axis.position(diff.error),
        bound=bound,
        beyond=round(100 - bound, 2),
        noise=axis.position(diff.tolerance.noise),
        figures=pairs(figures),
    )
