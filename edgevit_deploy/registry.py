"""Plain tables of lazily imported classes: a name, where the class is, and what must be installed for it."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgevit_deploy.errors import UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether something can work on this host: what was found, and the command that would enable it."""

    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[T]):
    """One registered exporter or runtime; nothing is imported until `load`.

    `location` is "module:Class". `summary` is one line for `--help`. `reads` lists the targets whose files a runtime runs;
    for an exporter it stays empty.
    """

    name: str
    location: str
    summary: str
    reads: tuple[str, ...] = ()

    def load(self) -> type[T]:
        """Import and return the class."""
        module, _, attribute = self.location.partition(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def lookup(kind: str, name: str, entries: Mapping[str, Entry[T]]) -> Entry[T]:
    """Return the entry of that name.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    if name not in entries:
        raise UsageError(f"no {kind} {name!r}; {did_you_mean(name, entries)}")
    return entries[name]


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
