"""What works on this host: exporters, and the runtime that reads a target's files. Nothing else imports either package."""

from functools import cache
from typing import TYPE_CHECKING

from edgevit_deploy.errors import MissingError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.registry import Runtime, lookup
from export import TARGETS
from runtimes import RUNTIMES, runtimes_for

if TYPE_CHECKING:
    from edgevit_deploy.session import Session

__all__ = ["RUNTIMES", "TARGETS", "find_exporter", "find_session", "load_session", "require_exporter", "why_not_run"]


def find_exporter(target: str) -> Exporter[object]:
    """Return a target's exporter, whether or not it works here.

    Raises:
        UsageError: no such target; the message names the closest.
    """
    return lookup("target", target, TARGETS).load()()


def require_exporter(target: str) -> Exporter[object]:
    """Return a target's exporter, ready to work.

    Raises:
        UsageError: no such target.
        MissingError: something that it needs is not installed; the message has the command that installs it.
    """
    exporter = find_exporter(target)
    availability = exporter.probe()
    if not availability.ok:
        raise MissingError(f"{target} cannot be built here: {availability.detail}; {availability.fix}")
    return exporter


def load_session(line: "Runtime[Session]") -> "type[Session]":
    """Return a runtime's session: the registered class, or where it is to be isolated, one that runs it in a child process."""
    if not line.isolated:
        return line.load()
    from edgevit_deploy.process.session_child import isolated

    return isolated(line.load(), line.location)


@cache
def find_session(target: str) -> "type[Session] | None":
    """Return the first registered runtime that runs a target's files and works on this host."""
    for line in runtimes_for(target):
        session_type = load_session(line)
        if session_type.probe().ok:
            return session_type
    return None


def why_not_run(target: str) -> str:
    """Say, for each runtime that could read a target's files, why it does not work here and what would change that."""
    reasons = []
    for line in runtimes_for(target):
        availability = load_session(line).probe()
        if not availability.ok:
            reasons.append(f"{line.name}: {availability.detail}" + (f" ({availability.fix})" if availability.fix else ""))
    return "; ".join(reasons)
