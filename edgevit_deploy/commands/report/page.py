"""One self-contained HTML page about bundles: what they are, what was proven about them, and how to prove it again.

A manifest may come from anyone. Every text of it goes through `fill`, which escapes whatever is not markup made here; and the
page carries a policy by which a browser loads and runs nothing.
"""

import contextlib
import html
import math
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.commands.report import template
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.gate import NOT_FINITE, OutputDiff, Status
from edgevit_deploy.spec import Size, TensorSpec

HTML_SUFFIXES = (".html", ".htm")
WIDEST_AXIS = (-15, 6)
"""The powers of ten that the error axis can show; an error beyond them is drawn at the end."""

BADGE_KINDS: dict[Status, str] = {"passed": "good", "built, not run": "open", "failed": "bad"}


class Markup(str):
    """Text that is HTML already; `fill` makes it, and nothing that a file contains becomes it unescaped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One bundle whose hashes hold, and what the page calls it."""

    label: str
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis from 10**low to 10**high, drawn from 0 to 100."""

    low: int
    high: int

    def position(self, value: float) -> float:
        """Return where a value lies, from 0 to 100; what is outside is put at the end."""
        if value <= 0:
            return 0.0
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def render(subjects: Sequence[Subject]) -> str:
    """Return the page; the same subjects give the same bytes."""
    axis = _axis([diff for subject in subjects for diff in subject.manifest.parity.diffs])
    counts = Counter(verdict(subject.manifest) for subject in subjects)
    named = [(f"bundle-{number}", subject) for number, subject in enumerate(subjects, start=1)]
    return fill(
        template.PAGE,
        style=Markup(template.STYLE),
        summary=f"{len(subjects)} bundle{'s' * (len(subjects) > 1)}: "
        + "; ".join(f"{counts[status]} {status}" for status in BADGE_KINDS if counts[status]),
        verdicts=_joined(_verdict_row(anchor, subject) for anchor, subject in named),
        bundles=_joined(_bundle(anchor, subject, axis) for anchor, subject in named),
    )


def verdict(manifest: Manifest) -> Status:
    """Return the recorded status, or failed where the recorded comparisons do not bear it out."""
    parity = manifest.parity
    if not all(diff.ok for diff in parity.diffs) or (parity.status == "passed" and not parity.diffs):
        return "failed"
    return parity.status


def write_page(page: str, path: Path) -> None:
    """Write the page whole or not at all.

    Raises:
        UsageError: the name is no HTML file's, something that is not a file is there, or the place cannot be written.
    """
    if path.suffix.lower() not in HTML_SUFFIXES:
        raise UsageError(f"--output {path}: the report is an HTML page; give a name that ends in .html")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"--output {path} exists and is not a file; move it away or give another name")
    beside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(page, encoding="utf-8", newline="\n")
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written ({error.strerror}); give another name") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def fill(text: str, /, **values: object) -> Markup:
    """Fill a template; every value that is not `Markup` is escaped, quotes too."""
    return Markup(text.format_map({name: _escaped(value) for name, value in values.items()}))


def _escaped(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(str(value), quote=True)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def _verdict_row(anchor: str, subject: Subject) -> Markup:
    """Return the row of one bundle; figures only where the file itself ran."""
    manifest = subject.manifest
    worst = None if manifest.parity.status == "built, not run" else manifest.parity.worst
    model_bytes = sum(
        record.bytes for record in manifest.files if record.path == manifest.path or record.path.startswith(f"{manifest.path}/")
    )
    return fill(
        template.VERDICT_ROW,
        anchor=anchor,
        label=subject.label,
        target=f"{manifest.target} {manifest.precision}",
        badge=_badge(manifest),
        runtime=manifest.parity.runtime,
        max_abs=_number(worst.max_abs) if worst else "-",
        atol=_number(worst.tolerance.atol) if worst else "-",
        noise_ratio=_number(worst.noise_ratio) if worst else "-",
        agreement=_agreement(manifest) if worst else "-",
        megabytes=f"{model_bytes / 1e6:.1f}",
    )


def _agreement(manifest: Manifest) -> str:
    """Return the smallest share of probes with the true first class; a dash where the network does not classify."""
    shares = [diff.top1_agreement for diff in manifest.parity.diffs if diff.top1_agreement is not None]
    return f"{min(shares):.0%}" if shares else "-"


def _badge(manifest: Manifest) -> Markup:
    status = verdict(manifest)
    return fill(template.BADGE, kind=BADGE_KINDS[status], text=status)


def _bundle(anchor: str, subject: Subject, axis: Axis) -> Markup:
    manifest, golden = subject.manifest, subject.manifest.golden
    seed = manifest.model.random_seed
    return fill(
        template.BUNDLE,
        anchor=anchor,
        label=subject.label,
        badge=_badge(manifest),
        sentence=_sentence(manifest),
        parity=_parity(manifest, axis),
        notes=_joined(fill(template.NOTE, text=note) for note in manifest.notes or ("None recorded.",)),
        model=_facts(_model(manifest)),
        interface=_facts(_interface(manifest)),
        folder=shlex.quote(subject.label),
        whole=f" --seed {seed}" if seed is not None else " --weights CHECKPOINT",
        golden_input=golden.input.path,
        golden_input_shape=golden.input.shape,
        golden_output=", ".join(array.path for array in golden.outputs),
        golden_output_shape=", ".join(str(array.shape) for array in golden.outputs),
        file_count=len(manifest.files),
        files=_joined(
            fill(template.FILE_ROW, path=record.path, bytes=f"{record.bytes:,}", sha256=record.sha256)
            for record in manifest.files
        ),
        tool_count=len(manifest.tools),
        tools=_facts(manifest.tools),
        options=_facts(manifest.options),
        facts=_facts(manifest.facts),
    )


def _sentence(manifest: Manifest) -> str:
    parity, status = manifest.parity, verdict(manifest)
    model = f"{manifest.model.variant} for {manifest.target} in {manifest.precision}. "
    if status != parity.status:
        return f"{model}The manifest says {parity.status!r}, but the comparisons in it do not: do not trust this bundle."
    if status == "built, not run":
        return f"{model}Not run where it was made, and not run is not passed. Checked instead: {parity.instead}."
    return f"{model}It ran on {parity.runtime} and {'stayed within every bound' if status == 'passed' else 'exceeded its bound'}."


def _parity(manifest: Manifest, axis: Axis) -> Markup:
    diffs = manifest.parity.diffs
    if not diffs:
        return fill("<p>{text}</p>", text="No comparison is recorded.")
    reasons = dict.fromkeys(f"The bound is {diff.tolerance.k:g} x noise: {diff.tolerance.reason}." for diff in diffs)
    legend = fill(template.LEGEND, reasons=" ".join(reasons))
    text = f"These comparisons are of what was checked instead, not of {manifest.path}."
    about = fill("<p>{text}</p>", text=text) if manifest.parity.instead else Markup()
    return _joined([about, *(_comparison(diff, axis) for diff in diffs), legend])


def _comparison(diff: OutputDiff, axis: Axis) -> Markup:
    decades = range(axis.low, axis.high + 1)
    bound = axis.position(diff.tolerance.atol)
    figures = {
        "largest error": f"{_number(diff.max_abs)} on {diff.worst_probe!r}",
        "bound": _number(diff.tolerance.atol),
        "PyTorch's own noise": _number(diff.tolerance.noise),
        "x noise": _number(diff.noise_ratio),
        "top-1 agrees": "-" if diff.top1_agreement is None else f"{diff.top1_agreement:.0%}",
        "smallest margin": "-" if diff.smallest_margin is None else _number(diff.smallest_margin),
        "SQNR": "-" if diff.sqnr_db is None else f"{diff.sqnr_db:.1f} dB",
        "1 - cosine": _number(1 - diff.cosine),
    }
    return fill(
        template.COMPARISON,
        title=f"batch {diff.batch}, {_size(diff.image_size)}, {diff.probes} probes",
        description=f"largest error {_number(diff.max_abs)}, bound {_number(diff.tolerance.atol)}, on a logarithmic scale",
        bound=bound,
        rest=round(100 - bound, 2),
        error=axis.position(diff.max_abs),
        noise=axis.position(diff.tolerance.noise),
        kind="good" if diff.ok else "bad",
        grid=_joined(fill(template.GRID_LINE, x=axis.position(10.0**power)) for power in decades[1:-1]),
        axis=_joined(fill(template.AXIS_MARK, x=axis.position(10.0**power), text=f"1e{power}") for power in decades),
        figures=_facts(figures),
    )


def _axis(diffs: Sequence[OutputDiff]) -> Axis:
    """Return whole decades that hold every error, noise and bound of the page, so that its bars can be compared."""
    shown = [value for diff in diffs for value in (diff.max_abs, diff.tolerance.atol, diff.tolerance.noise)]
    lowest, highest = WIDEST_AXIS
    powers = [min(max(math.log10(value), lowest), highest) for value in shown if 0 < value < NOT_FINITE]
    low = math.floor(min(powers, default=lowest))
    return Axis(low=low, high=max(math.ceil(max(powers, default=highest)), low + 1))


def _model(manifest: Manifest) -> dict[str, object]:
    model = manifest.model
    random = f"random, from seed {model.random_seed}: it classifies nothing"
    return {
        "variant": model.variant,
        "graph": manifest.conversion.graph,
        "weights": random if model.weights_sha256 is None else f"checkpoint with sha256 {model.weights_sha256}",
        "checkpoint dialect": model.dialect or "-",
        "parameters": f"{model.parameters:,}",
        "depths": model.depths,
        "channels": model.channels,
        "channels a head": model.head_dim,
        "classes": f"{model.num_classes}{', without bias' * (not model.head_bias)}",
        "class names": f"{manifest.labels.path}{', placeholders' * manifest.labels.placeholders}",
        "LayerNorm eps, outer and inner": f"{model.norm_eps:g}, {model.inner_norm_eps:g}",
        "image size": _size(model.image_size),
    }


def _interface(manifest: Manifest) -> dict[str, object]:
    preprocess = manifest.preprocess
    holds = "0 to 255, normalised inside the model" if manifest.conversion.takes == "image" else "normalised as below"
    facts: dict[str, object] = {f"input {spec.name!r}": f"{_tensor(spec)}, {holds}" for spec in manifest.inputs}
    facts |= {f"output {spec.name!r}": f"{_tensor(spec)}, {manifest.conversion.returns}" for spec in manifest.outputs}
    return {
        **facts,
        "colour order": preprocess.color_order,
        "resize": f"{preprocess.interpolation}, antialiased, {preprocess.fit} {_size(preprocess.resize)}",
        "centre crop": _size(preprocess.crop),
        "value range": preprocess.value_range,
        "mean": preprocess.mean,
        "standard deviation": preprocess.std,
    }


def _facts(facts: Mapping[str, object]) -> Markup:
    return fill(
        template.FACTS, pairs=_joined(fill(template.FACT, name=name, value=_text(value)) for name, value in facts.items())
    )


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    return _plain(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().replace(",", ", ")


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < NOT_FINITE else "not finite"


def _size(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.dtype} ({', '.join(map(str, spec.shape))})"
