"""This host: the targets that can be built on it and the runtimes that work on it.

The one module of the core that imports `export` and `runtimes`. Whoever needs a host is handed one (`workbench.Host`), so tests
and other machines can bring their own.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import MissingError, UsageError, did_you_mean
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.process.sysroot import Sysroot, is_arm64, open_sysroot
from edgevit_deploy.registry import Runtime, Target, lookup, refuse_shadows

try:
    from export import TARGETS
    from runtimes import RUNTIMES, runtimes_for
except ImportError:
    refuse_shadows()
    raise

if TYPE_CHECKING:
    from edgevit_deploy.session import Session

__all__ = ["RUNTIMES", "TARGETS", "THIS_HOST", "ThisHost", "check_target", "load_session"]


class ThisHost:
    """What the registries name, asked whether it works here."""

    sysroot: Sysroot | None = None
    """Whose runtimes are meant, where they are not this machine's own."""

    def targets(self) -> tuple[str, ...]:
        """Return the names of all registered targets."""
        return tuple(TARGETS)

    def find_exporter(self, target: str) -> Exporter[Any]:
        """Return a target's exporter, whether or not it works here.

        Raises:
            UsageError: no such target; the message names the closest.
        """
        return load_exporter(lookup("target", target, TARGETS))()

    def require_exporter(self, target: str) -> Exporter[Any]:
        """Return a target's exporter, ready to work.

        Raises:
            UsageError: no such target.
            MissingError: something that it needs is not installed; the message has the command that installs it.
        """
        exporter = self.find_exporter(target)
        availability = exporter.probe()
        if not availability.ok:
            raise MissingError(f"{target} cannot be built here: {availability.detail}; {availability.fix}")
        return exporter

    def find_session(self, target: str) -> "type[Session] | None":
        """Return the first registered runtime that runs a target's files and works on this host."""
        return find_session(target)

    def why_not_run(self, target: str) -> str:
        """Say, for each runtime that could run a target's files, why it does not work here and what would change that."""
        reasons = []
        for line in runtimes_for(target):
            availability = load_session(line).probe()
            if not availability.ok:
                reasons.append(f"{line.name}: {availability.detail}" + (f" ({availability.fix})" if availability.fix else ""))
        return "; ".join(reasons)


class EmulatedHost(ThisHost):
    """This host with the runtimes of an ARM64 sysroot in place of its own."""

    def __init__(self, sysroot: Sysroot) -> None:
        self.sysroot = sysroot

    def find_session(self, target: str) -> "type[Session] | None":
        """Return the first runtime that runs a target's files and is in the sysroot."""
        return next((session for session in self._sessions(target) if session.probe().ok), None)

    def why_not_run(self, target: str) -> str:
        """Say what the runtimes of a target miss in the sysroot."""
        lacking = [session.probe().detail for session in self._sessions(target)]
        return "; ".join(lacking) or f"no runtime of {target} runs in a sysroot"

    def _sessions(self, target: str) -> "list[type[Session]]":
        from edgevit_deploy.process.session_child import emulated

        return [emulated(line.load(), line.location, self.sysroot) for line in runtimes_for(target) if line.arm64]


class ChosenHost(ThisHost):
    """This host with one of its runtimes in place of the first that works: every runtime of a target can judge its files."""

    def __init__(self, runtime: str) -> None:
        self._line = lookup("runtime", runtime, RUNTIMES)

    def find_session(self, target: str) -> "type[Session] | None":
        """Return the chosen runtime where it works.

        Raises:
            UsageError: it runs the files of another target.
        """
        session = self._session(target)
        return session if session.probe().ok else None

    def why_not_run(self, target: str) -> str:
        """Say why the chosen runtime does not work here and what would change that."""
        availability = self._session(target).probe()
        return f"{self._line.name}: {availability.detail}" + (f" ({availability.fix})" if availability.fix else "")

    def _session(self, target: str) -> "type[Session]":
        if self._line.target != target:
            others = " or ".join(line.name for line in runtimes_for(target)) or "(none)"
            raise UsageError(
                f"{self._line.name} runs files of {self._line.target}, this one is of {target}; use --runtime {others}"
            )
        return load_session(self._line)


THIS_HOST = ThisHost()


def host_on(arm64: Path | None, runtime: str | None = None) -> ThisHost:
    """Return this host, with the runtimes of a sysroot in place of its own if one is given and this machine is no ARM64 one.

    Args:
        arm64: the sysroot.
        runtime: which of a target's runtimes is meant; None for the first that works.

    Raises:
        MissingError: no such sysroot.
        UsageError: no such runtime, or a sysroot as well.
    """
    if runtime is not None and arm64 is not None:
        raise UsageError(
            "--runtime names one of this machine's runtimes, and --on-arm64 takes those of a sysroot; use one of them"
        )
    if runtime is not None:
        return ChosenHost(runtime)
    return THIS_HOST if arm64 is None or is_arm64() else EmulatedHost(open_sysroot(arm64))


def check_target(flag: str, name: str) -> str:
    """Return the name of a target that a flag gave.

    Raises:
        UsageError: there is none of that name; the message has the closest.
    """
    if name not in TARGETS:
        raise UsageError(f"{flag} {name}: no such target; {did_you_mean(name, TARGETS)}")
    return name


def load_exporter(line: "Target[Exporter[Any]]") -> type[Exporter[Any]]:
    """Return a target's exporter: the registered class, or where it is to be isolated, one that exports in a child process."""
    if not line.isolated:
        return line.load()
    from edgevit_deploy.exporter.child import isolated

    return isolated(line.load(), line.location)


def load_session(line: "Runtime[Session]") -> "type[Session]":
    """Return a runtime's session: the registered class, or where it is to be isolated, one that runs it in a child process."""
    if not line.isolated:
        return line.load()
    from edgevit_deploy.process.session_child import isolated

    return isolated(line.load(), line.location)


@cache
def find_session(target: str) -> "type[Session] | None":
    """Return the runtime of `ThisHost.find_session`; a probe may start a process, so each target is asked once."""
    for line in runtimes_for(target):
        session_type = load_session(line)
        if session_type.probe().ok:
            return session_type
    return None
