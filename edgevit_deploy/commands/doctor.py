"""`convert.py doctor`: what works on this host, and the command that enables each other thing."""

import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.commands.console import print_json, print_table, say, status
from edgevit_deploy.host import RUNTIMES, TARGETS
from edgevit_deploy.registry import Availability, Line, distribution_of
from edgevit_deploy.spec import VERSION, Precision

OWN_PACKAGES = ("torch", "numpy", "timm")
"""Import names of what every conversion needs, and of what the paper's other networks are from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far a target's files of one precision may be from the truth: `k` times PyTorch's own noise."""

    target: str
    precision: Precision
    k: float
    reason: str


def doctor(
    *,
    bounds: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say which targets can be built and which runtimes can run here, with versions and the fix for each gap.

    Args:
        bounds: Also list how far each target may be from the truth, in multiples of PyTorch's own noise, and why.
        json: Print one JSON document on stdout and nothing else there.
    """
    targets = {name: _probe(entry) for name, entry in TARGETS.items()}
    runtimes = {name: _probe(entry) for name, entry in RUNTIMES.items()}
    versions = {distribution_of(name): _version(distribution_of(name)) for name in package_names()}
    allowed = [row for entry in TARGETS.values() for row in _bounds(entry)] if bounds else []
    host = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, edgevit-deploy {VERSION}"
    say(host)
    print_table("targets that can be built", ("target", "works", "found", "to enable it"), _rows(targets))
    print_table("runtimes that can run files", ("runtime", "works", "found", "to enable it"), _rows(runtimes))
    print_table("packages", ("package", "version"), [[name, version or "-"] for name, version in versions.items()])
    if bounds:
        cells = [[row.target, row.precision, f"{row.k:g}", row.reason] for row in allowed]
        print_table("largest error that passes, in multiples of PyTorch's own", ("target", "precision", "k", "why"), cells)
    if json:
        document = {"host": host, "targets": targets, "runtimes": runtimes, "packages": versions}
        print_json({**document, "bounds": allowed} if bounds else document)
    return 0


def package_names() -> tuple[str, ...]:
    """Return the import names of the project's own packages and of those that the registered targets and runtimes name."""
    entries: list[Line[Any]] = [*TARGETS.values(), *RUNTIMES.values()]
    classes = [entry.load() for entry in entries]
    return tuple(dict.fromkeys([*OWN_PACKAGES, *(name for each in classes for name in each.packages)]))


def _probe(entry: Line[Any]) -> Availability:
    return entry.load().probe()  # type: ignore[no-any-return]


def _bounds(entry: Line[Any]) -> list[Bound]:
    exporter = entry.load()
    allowed = {**exporter.precisions, **{precision: each.bound for precision, each in exporter.quantised.items()}}
    return [Bound(target=entry.name, precision=precision, k=each.k, reason=each.reason) for precision, each in allowed.items()]


def _rows(found: dict[str, Availability]) -> list[list[str | Text]]:
    return [[name, status("yes" if a.ok else "no"), a.detail, "" if a.ok else a.fix] for name, a in found.items()]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
