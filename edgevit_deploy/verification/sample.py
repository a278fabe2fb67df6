"""The golden data of a bundle in the C++ sample of a sysroot: the same file and processor, by a program without Python."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.errors import RunError
from edgevit_deploy.parity.gate import NOT_FINITE, Status
from edgevit_deploy.process.child import ChildFailure, run_once
from edgevit_deploy.process.sysroot import UNDER_EMULATION, Sysroot
from edgevit_deploy.spec import task_of
from edgevit_deploy.verification.golden import GoldenCheck

TIMEOUT_S = 1800.0
"""Under emulation a picture of 224 x 224 takes a minute on a busy machine; more than this is a hang."""

REPORTED = (0, 1, 3)
"""The exit codes with which it has something to report: good, missed, good in another precision than the file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the sample says of one output; an error that is not finite is null.

    Of `same_first` of its `rows` the largest value is the right one.
    """

    error: float | None
    bound: float
    rows: int
    same_first: int
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What of its `--json` is believed."""

    runtime: str
    substitute: str
    golden: tuple[Replayed, ...]


def replay_in_sample(bundle: Path, manifest: Manifest, sysroot: Sysroot) -> GoldenCheck | None:
    """Run the C++ sample on a bundle; None where it was not built for the bundle's target, or shows no classes of its network.

    Raises:
        RunError: it crashed, took too long, or refused the bundle; the message has its own words.
    """
    command = sysroot.sample(manifest.target)
    if command is None or task_of(manifest.conversion.returns) != "classify":
        return None
    words = [*command, os.path.abspath(bundle), "--golden", "--json", "--repeat", "0"]  # noqa: PTH100 - keeps links
    try:
        ended = run_once(words, timeout_s=TIMEOUT_S)
        if ended.status not in REPORTED:
            raise ChildFailure(ended.how)
        report = msgspec.json.decode(ended.stdout, type=Report)
    except (ChildFailure, msgspec.MsgspecError) as error:
        raise RunError(f"{bundle}: the C++ sample of {sysroot.folder} {error}") from None
    if not report.golden:
        raise RunError(f"{bundle}: the C++ sample of {sysroot.folder} replayed nothing")
    worst = max(report.golden, key=lambda output: (not output.passed, output.error is None, output.error or 0.0))
    good: Status = "built, not run" if report.substitute else "passed"
    return GoldenCheck(
        status=good if worst.passed and ended.status != 1 else "failed",
        runtime=f"{report.runtime}, by the C++ sample, {UNDER_EMULATION}",
        file=manifest.path,
        max_abs=NOT_FINITE if worst.error is None else worst.error,
        atol=worst.bound,
        substitute=report.substitute,
        top1=f"{worst.same_first} of {worst.rows}",
    )
