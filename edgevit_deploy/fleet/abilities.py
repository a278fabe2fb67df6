"""What a machine can do, in Dask's resources, and with which versions: what a worker declares and what a job asks for."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.place import is_clutter
from edgevit_deploy.host import RUNTIMES, TARGETS, load_exporter, load_session
from edgevit_deploy.measure.machine import read_machine
from edgevit_deploy.registry import Line, distribution_of
from edgevit_deploy.spec import VERSION

Asked = frozenset[str]
"""Names of resources; a job takes one of each."""

SLOT = "slot"
"""What every worker has one of and every job takes: one job a worker at a time."""

SYSTEMS = {"Darwin": "macos"}
ARCHITECTURES = {"aarch64": "arm64", "AMD64": "x86_64"}
"""Names of systems and processors where Python's own are not what people say."""

ALIKE = ("torch", "numpy", "msgspec", "safetensors", "pillow", "distributed", "dask", "cloudpickle")
"""Distributions whose version must be the same everywhere: they carry the jobs, read the inputs or compute the truth."""

OUR_CODE = ("edgevit_deploy", "export", "runtimes")
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a machine tells about itself: its name, its system and processor, and the versions that must agree."""

    host: str
    machine: str
    versions: dict[str, str]


@cache
def describe() -> Facts:
    """Return the facts of this machine, asked once."""
    machine = read_machine(set())
    return Facts(host=platform.node(), machine=f"{machine.system}, {machine.cpu}", versions=_versions())


def declared() -> dict[str, float]:
    """Return the resources of this machine, from the same probes as `doctor`."""
    names = {SLOT, _system(), _architecture()}
    names |= {_build(name) for name, line in TARGETS.items() if load_exporter(line).probe().ok}
    for line in RUNTIMES.values():
        if load_session(line).probe().ok:
            names |= {_run(line.name), line.machine} - {""}
    return dict.fromkeys(sorted(names), 1.0)


def to_convert(target: str) -> tuple[Asked, ...]:
    """Return what a conversion asks for, best first: to build and run a target's files, on its first runtime; to build them."""
    build = frozenset({_build(target)})
    return (*(build | run for run in _to_run_one(target)), build)


def to_run(targets: Iterable[str]) -> tuple[Asked, ...]:
    """Return what running files of some targets asks for, best first."""
    each = [_to_run_one(target) for target in dict.fromkeys(targets)]
    return tuple(dict.fromkeys(frozenset[str]().union(*chosen) for chosen in product(*each)))


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return, for each version that differs, what it is there and here; a converter that is only in one of the places is none."""
    return [
        f"{name} {there.get(name, '(none)')}, here it is {version}"
        for name, version in here.items()
        if there.get(name, None if name in _ALWAYS else version) != version
    ]


_ALWAYS = ("edgevit-deploy", "source", "python", *ALIKE)


def source_hash(root: Path) -> str:
    """Return the start of a hash over our own code below a folder: two checkouts of one version may differ.

    Forms and usages decide what is in a bundle, as code does: every file counts but what Python and file managers leave behind.
    """
    files = (path for name in OUR_CODE for path in (root / name).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in sorted(file.relative_to(root).as_posix() for file in files):
        if not any(part == "__pycache__" or is_clutter(part) for part in path.split("/")):
            digest.update(path.encode() + b"\0" + (root / path).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]


def _to_run_one(target: str) -> Sequence[Asked]:
    return [frozenset({_run(line.name), line.machine} - {""}) for line in RUNTIMES.values() if line.target == target]


def _build(target: str) -> str:
    return f"build-{target}"


def _run(runtime: str) -> str:
    return f"run-{runtime}"


def _system() -> str:
    return SYSTEMS.get(platform.system(), platform.system().lower())


def _architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def _versions() -> dict[str, str]:
    """Return what must be the same; of a version only what is public, since `+cpu` is of one machine."""
    lines: list[Line[Any]] = [*TARGETS.values(), *RUNTIMES.values()]
    converters = [package for line in lines for package in line.load().packages]
    names = dict.fromkeys([*ALIKE, *(distribution_of(package) for package in converters)])
    found = {name: version.partition("+")[0] for name in names if (version := _installed(name))}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"edgevit-deploy": VERSION, "source": source_hash(ROOT), "python": python, **found}


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
