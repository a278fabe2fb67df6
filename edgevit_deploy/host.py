"""What works on this host: exporters, and the runtime that reads a target's files."""

from functools import cache

from edgevit_deploy.errors import MissingError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.registry import lookup
from edgevit_deploy.session import Session
from export import TARGETS
from runtimes import runtimes_for


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


@cache
def find_session(target: str) -> type[Session] | None:
    """Return the first registered runtime that reads a target's files and works on this host."""
    for entry in runtimes_for(target):
        session_type = entry.load()
        if session_type.probe().ok:
            return session_type
    return None


def why_not_run(target: str) -> str:
    """Say, for each runtime that could read a target's files, why it does not work here and what would change that."""
    reasons = []
    for entry in runtimes_for(target):
        availability = entry.load().probe()
        if not availability.ok:
            reasons.append(f"{entry.name}: {availability.detail}" + (f" ({availability.fix})" if availability.fix else ""))
    return "; ".join(reasons)
