"""The lines of the two registries, targets and runtimes: a name, where its class is, and what must be installed for it."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgevit_deploy.errors import MissingError, UsageError, did_you_mean
from edgevit_deploy.spec import IN_A_CHECKOUT

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
        isolated: what it does is native code on files from outside, or may crash, hang or fill the memory, so the host lets it
            work in a child process.
    """

    name: str
    location: str
    summary: str

    isolated: bool = False

    def load(self) -> type[T]:
        """Import and return the class."""
        return load_class(self.location)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Line[T]):
    """One target: the line that makes its exporter known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Line[T]):
    """One runtime: the line that makes its session known.

    Attributes:
        target: whose files it runs.
        machine: what only some machines have and it cannot work without (macos, nvidia); a worker that can run it declares it.
        arm64: the distributions, without those that they need in turn, with which it runs in a sysroot; none where it does not.
    """

    target: str
    machine: str = ""
    arm64: tuple[str, ...] = ()


def load_class(location: str) -> Any:
    """Import and return the class that "module:Class" names."""
    module, _, attribute = location.partition(":")
    return getattr(importlib.import_module(module), attribute)


def refuse_shadows() -> None:
    """Refuse modules of other people that stand where ours should: YOLOv5, for one, has an `export.py` too.

    Raises:
        MissingError: naming both files.
    """
    for name in ("export", "runtimes"):
        ours = Path(__file__).parent.parent / name / "__init__.py"
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec is not None else None
        if found is not None and Path(found).resolve() != ours.resolve():
            raise MissingError(
                f"`import {name}` finds {found}, and edgevit-deploy needs its own {ours}; run it from another folder, without "
                f"{Path(found).parent} in PYTHONPATH"
            )


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


@cache
def distribution_of(package: str) -> str:
    """Return the name under which a package index has an import package: with hyphens for underscores, or another, where that is.

    Another name is known only where it is installed.
    """
    usual = package.replace("_", "-")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(usual)
        return usual
    if importlib.util.find_spec(package) is None:
        return usual
    return next(iter(importlib.metadata.packages_distributions().get(package, [usual])))


def install_command(extra: str | None = None) -> str:
    """Return what to type to install the project with an extra, in its folder; elsewhere what the extra stands for.

    The project is on no package index, so a wheel's extras can only be named by the packages in them.
    """
    if IN_A_CHECKOUT:
        return f"pip install -e '.[{extra}]'" if extra else "pip install -e ."
    wanted = [_required(line, extra) for line in importlib.metadata.requires("edgevit-deploy") or ()]
    return "pip install " + " ".join(f"'{package}'" for package in wanted if package)


def _required(line: str, extra: str | None) -> str:
    """Return the package of a requirement that an extra brings (several with commas between), else nothing."""
    package, _, marker = line.partition(";")
    named = re.search(r"""extra == ['"]([^'"]+)['"]""", marker)
    return package.strip() if (named and named[1] in (extra or "").split(",")) or not (named or extra) else ""
