"""`convert.py TARGET` and `convert.py all`: conversions, judged."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.commands.console import print_json, print_table, progress, say, status
from edgevit_deploy.commands.flags import FileFlags, ModelFlags
from edgevit_deploy.commands.pictures import print_top5
from edgevit_deploy.errors import DeployError, MissingError, UsageError, did_you_mean
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import TARGETS, find_exporter, find_session, require_exporter, why_not_run
from edgevit_deploy.spec import Precision

if TYPE_CHECKING:
    from edgevit_deploy.bundle.manifest import Manifest
    from edgevit_deploy.parity.gate import ParityReport

COLUMNS = ("target", "precision", "status", "ran on", "largest error", "bound", "x noise", "top-1", "MB", "s", "bundle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the final table: one target in one precision."""

    target: str
    precision: Precision
    status: str
    runtime: str = ""
    max_abs: float | None = None
    atol: float | None = None
    noise_ratio: float | None = None
    top1_agreement: float | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    bundle: Path | None = None
    detail: str = ""

    def cells(self) -> list[str | Text]:
        """Return the row as the table's cells."""
        seconds = "" if self.duration_s is None else f"{self.duration_s:.1f}"
        numbers = [f"{value:.2g}" if value is not None else "" for value in (self.max_abs, self.atol, self.noise_ratio)]
        agreement = "" if self.top1_agreement is None else f"{self.top1_agreement:.0%}"
        size = "" if self.size_bytes is None else f"{self.size_bytes / 1e6:.1f}"
        where = "" if self.bundle is None else str(self.bundle)
        return [self.target, self.precision, status(self.status), self.runtime, *numbers, agreement, size, seconds, where]


def convert_one(target: str, model_flags: ModelFlags, file_flags: FileFlags, precision: Precision | None, options: Any) -> int:
    """Convert to one target, in one precision; the command line's `convert.py TARGET`."""
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.pipeline import Workbench

    exporter = require_exporter(target)
    chosen = exporter.precisions[0] if precision is None else precision
    with progress(f"{target} {chosen}") as step:
        step("loading the model")
        model = load_model(model_flags.source(file_flags.fixed_size()))
        bench = Workbench(model, file_flags.pictures())
        row = _convert(bench, exporter, file_flags, chosen, options, step)
    _report([row], model.notes, file_flags)
    return 1 if row.status == "failed" else 0


def convert_all(
    *,
    model_flags: Annotated[ModelFlags, Parameter(name="*")] = ModelFlags(),  # noqa: B008 - frozen
    file_flags: Annotated[FileFlags, Parameter(name="*")] = FileFlags(),  # noqa: B008 - frozen
    precision: Precision | None = None,
    require: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> int:
    """Convert to every target that can run here and print what was done, skipped (and why) and failed.

    Args:
        model_flags: Which network.
        file_flags: Which files.
        precision: Only this precision. [default: every precision of each target]
        require: Targets that must not be skipped (comma separated); a skip is then exit code 3.
    """
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.pipeline import Workbench

    required = [name for item in require for name in item.split(",") if name]
    for name in required:
        if name not in TARGETS:
            raise UsageError(f"--require {name}: no such target; {did_you_mean(name, TARGETS)}")
    model = load_model(model_flags.source(file_flags.fixed_size()))
    bench = Workbench(model, file_flags.pictures())
    rows = [
        _convert_or_skip(bench, exporter, file_flags, own_precision)
        for exporter in map(find_exporter, TARGETS)
        for own_precision in exporter.precisions
        if precision in (None, own_precision)
    ]
    _report(rows, model.notes, file_flags)
    if any(row.status == "failed" for row in rows):
        return 1
    skipped = [row.target for row in rows if row.status == "skipped" and row.target in required]
    if skipped:
        raise MissingError(f"--require: {', '.join(sorted(set(skipped)))} skipped; the table says what would enable it")
    return 0


def _convert_or_skip(bench: Any, exporter: Exporter[Any], flags: FileFlags, precision: Precision) -> Row:
    target = exporter.target
    availability = exporter.probe()
    if not availability.ok:
        detail = f"{availability.detail}; {availability.fix}"
        return Row(target=target, precision=precision, status="skipped", detail=detail)
    options = exporter.options_type()
    try:
        exporter.refuse(flags.plan(exporter.target, bench.model, precision, options))
    except UsageError as error:
        return Row(target=target, precision=precision, status="skipped", detail=str(error))
    with progress(f"{target} {precision}") as step:
        try:
            return _convert(bench, exporter, flags, precision, options, step)
        except UsageError:
            raise
        except DeployError as error:
            return Row(target=target, precision=precision, status="failed", detail=str(error))


def _convert(bench: Any, exporter: Exporter[Any], flags: FileFlags, precision: Precision, options: Any, step: Any) -> Row:
    from edgevit_deploy.pipeline import convert

    start = time.monotonic()
    plan = flags.plan(exporter.target, bench.model, precision, options)
    destination = flags.folder(bench.model) / f"{exporter.target}-{precision}"
    conversion = convert(bench, exporter, plan, destination, find_session, step)
    report = conversion.report
    ran = report.status != "built, not run"
    worst = report.worst if ran else None
    return Row(
        target=exporter.target,
        precision=precision,
        status=report.status,
        runtime=report.runtime,
        max_abs=worst.max_abs if worst else None,
        atol=worst.tolerance.atol if worst else None,
        noise_ratio=worst.noise_ratio if worst else None,
        top1_agreement=min((diff.top1_agreement for diff in report.diffs), default=None) if ran else None,
        size_bytes=_model_bytes(conversion.manifest),
        duration_s=time.monotonic() - start,
        bundle=conversion.bundle,
        detail=_detail(exporter.target, report),
    )


def _model_bytes(manifest: "Manifest") -> int:
    """Return the size of the model file, or of all files of a model that is a folder."""
    path = manifest.path
    return sum(record.bytes for record in manifest.files if record.path == path or record.path.startswith(f"{path}/"))


def _detail(target: str, report: "ParityReport") -> str:
    worst = report.worst
    if report.status == "built, not run":
        ratio = f", {worst.noise_ratio:.2g} x noise" if worst else ""
        why = why_not_run(target)
        return f"{why}{'. ' if why else ''}Checked instead: {report.instead}{ratio}."
    if report.status == "failed" and worst is not None:
        return f"worst on {worst.worst_probe!r}; kept apart for study, do not ship it. {report.instead}"
    return ""


def _report(rows: Sequence[Row], notes: Sequence[str], flags: FileFlags) -> None:
    for note in notes:
        say(f"note: {note}")
    print_table("edgevit-deploy", COLUMNS, [row.cells() for row in rows])
    for row in rows:
        if row.detail:
            say(f"{row.target} {row.precision}, {row.status}: {row.detail}")
    bundles = [row.bundle for row in rows if row.bundle is not None and row.status != "failed"]
    top5 = print_top5(bundles, flags.pictures()) if flags.images else None
    if flags.json:
        print_json({"rows": rows, "notes": notes, "top5": top5})
