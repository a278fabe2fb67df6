"""The lines of the two registries, targets and runtimes: a name, where its class is, and what must be installed for it."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgevit_deploy.errors import UsageError, did_you_mean

T = TypeVar("T")
L = TypeVar("L")


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether something can work on this host: what was found, and the command that would enable it."""

    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[T]):
    """What every registered class has; nothing is imported until `load`.

    Attributes:
        name: what people type.
        location: of the class, as "module:Class".
        summary: one line for `--help` and for people who read the registry.
    """

    name: str
    location: str
    summary: str

    def load(self) -> type[T]:
        """Import and return the class."""
        module, _, attribute = self.location.partition(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Line[T]):
    """One target: the line that makes its exporter known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Line[T]):
    """One runtime: the line that makes its session known.

    Attributes:
        target: whose files it runs.
        isolated: a bad file can crash it, so the host puts every session into a child process.
    """

    target: str
    isolated: bool = False


def lookup(kind: str, name: str, lines: Mapping[str, L]) -> L:
    """Return the line of that name.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    if name not in lines:
        raise UsageError(f"no {kind} {name!r}; {did_you_mean(name, lines)}")
    return lines[name]


def requires(*modules: str, extra: str | None = None) -> Availability:
    """Say whether the named modules can be imported, without importing them.

    Args:
        modules: import names.
        extra: the extra of this package that installs them; None when they are core dependencies.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Availability(ok=True, detail=", ".join(modules))
    return Availability(ok=False, detail=f"{', '.join(missing)} not installed", fix=install_command(extra))


def install_command(extra: str | None = None) -> str:
    """Return what to type, in the project's folder, to install it with an extra; the project is on no package index."""
    return f"pip install -e '.[{extra}]'" if extra else "pip install -e ."
