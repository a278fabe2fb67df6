"""The final tables of a conversion: a row for each target and precision; rounded files have a table of their own."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, ARITHMETIC_SAMPLED
from edgevit_deploy.commands.console import print_table, status
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.outside.text import figure
from edgevit_deploy.spec import QUANTISED, Precision

if TYPE_CHECKING:
    from edgevit_deploy.bundle.manifest import Manifest
    from edgevit_deploy.parity.decisions import Decisions
    from edgevit_deploy.parity.gate import ParityReport
    from edgevit_deploy.pipeline import Attempt, Conversion

COLUMNS = ("target", "precision", "status", "ran on", "largest error", "bound", "x noise", "top-1", "MB", "s", "bundle")
ROUNDED = ("target", "precision", "status", "ran on", "x emulation", "SQNR dB", "agreement", "top-1", "MB", "s", "bundle")
"""Of quantised files: their RMS error over that of the emulation, and what they decide on the pictures of --judge."""

WORKER = "worker"
"""A column of its own where the work was done on other machines."""

OPTIONAL = ("bundle", "largest error", "bound", "ran on")
"""What a narrow terminal does without; `--json` has all of it, and a line below says where the bundles are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a final table: one target in one precision.

    `max_abs`, `atol` and `noise_ratio` are of the worst comparison; of quantised files the ratio is that of RMS errors, on the
    most real pictures there were. `agreement` and what follows it is what they decide on the pictures of `--judge`.
    """

    target: str
    precision: Precision
    status: str
    runtime: str = ""
    max_abs: float | None = None
    atol: float | None = None
    noise_ratio: float | None = None
    top1_agreement: float | None = None
    top1: str = ""
    sqnr_db: float | None = None
    agreement: str = ""
    agreement_interval: tuple[float, float] | None = None
    top1_interval: tuple[float, float] | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    bundle: Path | None = None
    detail: str = ""
    extra: str = ""
    worker: str = ""

    @property
    def rounded(self) -> bool:
        """Whether it is of a quantised precision."""
        return self.precision in QUANTISED

    def cells(self) -> list[str | Text]:
        """Return the row as its table's cells, that of the worker last."""
        seconds = "" if self.duration_s is None else f"{self.duration_s:.1f}"
        size = "" if self.size_bytes is None else f"{self.size_bytes / 1e6:.1f}"
        where = "" if self.bundle is None else str(self.bundle)
        verdict: list[str | Text] = [self.target, self.precision, status(self.short_status), self.runtime]
        return [*verdict, *(self._decided() if self.rounded else self._measured()), size, seconds, where, self.worker]

    @property
    def short_status(self) -> str:
        """The status without what is not judged, or hardly, which is said below the table."""
        return self.status.partition(",")[0] if self.status in (ARITHMETIC_ONLY, ARITHMETIC_SAMPLED) else self.status

    def _measured(self) -> list[str]:
        numbers = [figure(value) if value is not None else "" for value in (self.max_abs, self.atol, self.noise_ratio)]
        return [*numbers, self.top1]

    def _decided(self) -> list[str]:
        numbers = [
            f"{value:.{digits}f}" if value is not None else "" for value, digits in ((self.noise_ratio, 3), (self.sqnr_db, 1))
        ]
        return [*numbers, _with_interval(self.agreement, self.agreement_interval), _with_interval(self.top1, self.top1_interval)]


def _with_interval(counted: str, interval: tuple[float, float] | None) -> str:
    return counted if interval is None else f"{counted} ({interval[0]:.2%} to {interval[1]:.2%})"


def row_of(attempt: "Attempt") -> Row:
    """Return the row of what `all` tried."""
    if attempt.conversion is not None:
        return row_of_conversion(attempt.conversion, attempt.worker, attempt.reason)
    return Row(
        target=attempt.target,
        precision=attempt.precision,
        status=attempt.status,
        detail=attempt.reason,
        extra=attempt.extra,
        worker=attempt.worker,
    )


def row_of_conversion(conversion: "Conversion", worker: str = "", why_not_run: str = "") -> Row:
    """Return the row of a conversion.

    Args:
        conversion: as it ended.
        worker: that did it, empty where this process did.
        why_not_run: what the worker says, where it could not run the file.
    """
    report, manifest = conversion.report, conversion.manifest
    ran = report.status != "built, not run"
    if not ran and not worker:
        why_not_run = THIS_HOST.why_not_run(manifest.target)
    decisions, rounded = manifest.decisions, manifest.quantisation is not None
    judged = (report.diffs[-1] if report.diffs else None) if rounded else report.worst if ran else None
    return Row(
        target=manifest.target,
        precision=manifest.precision,
        status=manifest.verdict if rounded else report.status,
        runtime=report.runtime,
        max_abs=judged.max_abs if judged else None,
        atol=judged.tolerance.atol if judged else None,
        noise_ratio=judged.noise_ratio if judged else None,
        top1_agreement=report.top1_agreement if ran else None,
        top1=_top1(report, decisions, ran, rounded),
        sqnr_db=judged.sqnr_db if judged else None,
        agreement=f"{decisions.agreeing} of {decisions.pictures}" if decisions else "",
        agreement_interval=decisions.interval if decisions else None,
        top1_interval=decisions.top1_interval if decisions else None,
        size_bytes=manifest.model_bytes,
        duration_s=conversion.duration_s,
        bundle=conversion.bundle,
        detail=_detail(manifest, report, why_not_run),
        worker=worker,
    )


def _top1(report: "ParityReport", decisions: "Decisions | None", ran: bool, rounded: bool) -> str:
    """Return how many of the labelled pictures are right for a quantised file, of the probes agree for another one."""
    if rounded:
        return f"{decisions.right} of {decisions.pictures}" if decisions and decisions.right is not None else ""
    if ran and report.pixels:
        return f"{report.pixels.agreeing:,} of {report.pixels.pixels:,} pixels"
    return report.top1 if ran else ""


def _detail(manifest: "Manifest", report: "ParityReport", why: str) -> str:
    from edgevit_deploy.parity.gate import why_not_finite

    worst, decisions = report.worst, manifest.decisions
    if report.status == "built, not run":
        ratio = f", {figure(worst.noise_ratio)} x noise" if worst else ""
        return f"{why}{'. ' if why else ''}Checked instead: {report.instead}{ratio}."
    if report.status == "failed" and worst is not None:
        bound = f"The bound is {worst.tolerance.k:g} x noise: {worst.tolerance.reason}."
        not_finite = why_not_finite(worst, manifest.precision)
        words = f"worst on {worst.worst_probe!r}; kept apart for study, do not ship it. {not_finite or bound}"
        return f"{words} {report.instead}".rstrip()
    if decisions is not None:
        return f"{decisions.sentence()}{'; kept apart for study, do not ship it' if decisions.failed else ''}"
    if manifest.verdict == ARITHMETIC_ONLY:
        return "decisions not judged; --judge DIR with pictures that are kept for that compares them with the network's"
    return ""


def print_rows(rows: Sequence[Row], title: str) -> Set[str]:
    """Print the tables and return the columns for which there was no room."""
    left_out: set[str] = set()
    for columns, some in ((COLUMNS, [row for row in rows if not row.rounded]), (ROUNDED, [row for row in rows if row.rounded])):
        if some:
            wanted = (*columns, WORKER) if any(row.worker for row in some) else columns
            optional = [name for name in OPTIONAL if name in wanted]
            left_out |= print_table(title, wanted, [row.cells()[: len(wanted)] for row in some], optional=optional)
    return left_out
