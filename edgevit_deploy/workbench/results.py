"""What the workbench asks of a machine, and what an attempt came to."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from edgevit_deploy.exporter import Artifact, Exporter
from edgevit_deploy.outside.text import figure
from edgevit_deploy.parity.gate import OutputDiff, ParityReport
from edgevit_deploy.session import Session

Step = Callable[[str], None]
"""Told in a few words what is done next."""


def quiet(_: str) -> None:
    """Tell nobody."""


Progress = Callable[[str], AbstractContextManager[Step]]
"""A label -> a context that gives what is told each step; `commands.console.progress` shows them on a terminal."""


@contextmanager
def silent(_: str) -> Iterator[Step]:
    """Show nothing."""
    yield quiet


class Host(Protocol):
    """What the workbench needs of a machine: the exporter of a target, and the runtime that reads its files, if one does."""

    def find_exporter(self, target: str) -> Exporter[Any]: ...  # noqa: D102

    def find_session(self, target: str) -> type[Session] | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A file that was built here, ran here and computes the right numbers.

    `worst` has the largest error in units of noise, `widest` was on the most probes.
    """

    artifact: Artifact
    worst: OutputDiff
    widest: OutputDiff

    @property
    def noise_ratio(self) -> float:
        """Its error in units of PyTorch's own noise."""
        return self.worst.noise_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why there is no such file: the converter, the runtime or the comparison said no."""

    reason: str


def outcome(artifact: Artifact, report: ParityReport, yardstick: str) -> Passed | Refused:
    """Return what a file that was judged comes to; `yardstick` is what its error was compared with, in words."""
    worst = report.worst
    if report.status == "passed" and worst is not None:
        return Passed(artifact=artifact, worst=worst, widest=max(report.diffs, key=lambda diff: diff.probes))
    figures = f": {figure(worst.noise_ratio)} x {yardstick}, bound {worst.tolerance.k:g}" if worst else ""
    return Refused(reason=f"parity {report.status}{figures}")
