"""What is converted once for all tests of a run, whichever worker asks first.

Whoever wants to change such a file copies it first; that nobody did otherwise is checked at each asking.
"""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from edgevit_deploy.cli import run
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan

_root: list[Path] = []


def use(folder: Path) -> None:
    """Keep everything below this folder, which all workers of one run share."""
    folder.mkdir(parents=True, exist_ok=True)
    _root[:] = [folder]


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` filled, in this worker or in another one; a `make` that raises is tried again by the next."""
    place = _root[0] / name
    files, seal = place / "files", place / "seal"
    with FileLock(_root[0] / f"{name}.lock"):
        if not seal.is_file():
            shutil.rmtree(place, ignore_errors=True)
            files.mkdir(parents=True)
            make(files)
            seal.write_text(_digest(files))
        assert seal.read_text() == _digest(files), f"a test changed what all tests share, {name}: let it change a copy"
    return files


def shared_artifact(
    exporter: Exporter[Any], plan: ExportPlan[Any], network_key: str, module: Callable[[], nn.Module]
) -> Artifact:
    """Return what an exporter makes of a plan, for reading only.

    Args:
        exporter: of the target; its options are in the plan.
        plan: what to build.
        network_key: tells this network from other tests' networks.
        module: makes what the exporter is given; the exporter must leave it as it was.
    """
    key = hashlib.sha256(repr((plan, network_key)).encode()).hexdigest()[:16]
    answer = _root[0] / f"{exporter.target}-{key}.pickle"

    def make(folder: Path) -> None:
        given = module()
        before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
        artifact = exporter.export(given, plan, folder)
        after = given.state_dict()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the module was changed"
        answer.write_bytes(pickle.dumps(artifact))

    made_once(f"{exporter.target}-{key}", make)
    artifact = pickle.loads(answer.read_bytes())
    assert isinstance(artifact, Artifact)
    return artifact


def shared_bundle(target: str, precision: str, *flags: str) -> Path:
    """Return the bundle that the command line makes, for reading only; the conversion must pass."""
    key = hashlib.sha256(repr(flags).encode()).hexdigest()[:16]

    def make(folder: Path) -> None:
        assert run([target, "--precision", precision, *flags, "--output", str(folder)]) == 0

    return made_once(f"bundle-{target}-{precision}-{key}", make) / f"{target}-{precision}"


def _digest(folder: Path) -> str:
    """Return a hash of every name and every byte below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0")
        if path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
