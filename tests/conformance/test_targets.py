"""What every registered target and runtime must do; a new one is picked up by being registered."""

import dataclasses
import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import DeployError, MissingError, RunError, UsageError
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.process.session_child import ChildSession
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision
from edgevit_deploy.verification.bundle import artifact_of
from edgevit_deploy.verification.golden import runnable
from export import TARGETS
from runtimes import RUNTIMES, runtimes_for
from tests.helpers.hosts import registered, runs_here
from tests.helpers.shared import shared_bundle
from tests.helpers.small import plan_for
from tests.helpers.tiers import SLOW_TO_CONVERT, slow_or_nightly

ROOT = Path(__file__).parent.parent.parent


def _tier(target: str, precision: Precision) -> tuple[pytest.MarkDecorator, ...]:
    if precision == "fp32":
        return ()
    return (pytest.mark.nightly if target in SLOW_TO_CONVERT else pytest.mark.slow,)


PAIRS = [
    pytest.param(name, precision, marks=_tier(name, precision))
    for name, entry in TARGETS.items()
    for precision in entry.load().precisions
]
"""In float32 each target is converted, judged and looked at in the quick tier."""

SMALL = ("--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "16")


def exporter_of(target: str) -> Exporter[Any]:
    exporter = TARGETS[target].load()()
    if not exporter.probe().ok:
        pytest.skip(f"{target}: {exporter.probe().detail}")
    return exporter


def plan_of(exporter: Exporter[Any], precision: Precision = "fp32", **changes: Any) -> ExportPlan[Any]:
    spec = find_variant("edgevit_xxs").with_image_size((64, 64))
    return plan_for(spec, exporter.options_type(), precision=precision, **changes)


def bundle_of(target: str, precision: Precision) -> Path:
    """The bundle of each target and precision, converted once through the command line, for reading only."""
    exporter_of(target)
    return shared_bundle(target, precision, *SMALL)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_describes_itself(target: str) -> None:
    exporter_type = TARGETS[target].load()
    assert exporter_type.target == target
    assert next(iter(exporter_type.precisions)) == "fp32"
    assert "```" in exporter_type.usage, "the bundle's README needs a snippet"
    assert dataclasses.is_dataclass(exporter_type.options_type)
    assert exporter_type.options_type.__dataclass_params__.frozen
    exporter_type.options_type()
    assert exporter_type.packages
    assert exporter_type.smallest_side % 32 == 0
    assert runtimes_for(target)
    availability = exporter_type.probe()
    assert availability.ok or availability.fix


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_refuses_what_it_cannot_do(target: str) -> None:
    exporter = TARGETS[target].load()()
    with pytest.raises(UsageError, match=r"use --precision"):
        exporter.refuse(plan_of(exporter, precision="int3"))  # type: ignore[arg-type]
    if not exporter.dynamic_size:
        with pytest.raises(UsageError, match=r"use --image-size"):
            exporter.refuse(plan_of(exporter, dynamic_size=True))
    if not exporter.dynamic_batch:
        with pytest.raises(UsageError, match=r"use --batch"):
            exporter.refuse(plan_of(exporter, dynamic_batch=True))
    if exporter.one_image:
        with pytest.raises(UsageError, match=r"use --batch 1$"):
            exporter.refuse(plan_of(exporter, batch=2))
    for graph in {"original", "deploy"} - set(exporter.graphs):
        with pytest.raises(UsageError, match=rf"cannot hold the {graph} graph; use --graph"):
            exporter.refuse(plan_of(exporter, graph=graph))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_describes_itself(runtime: str) -> None:
    line = RUNTIMES[runtime]
    session_type = registered(runtime)
    assert issubclass(session_type, Session)
    assert session_type.name
    assert line.target in TARGETS
    assert issubclass(session_type, ChildSession) is line.isolated
    assert session_type is registered(runtime), "one class, so that types are equal"
    own = line.load()
    assert (session_type.name, session_type.traced_as, session_type.executes_target) == (
        own.name,
        own.traced_as,
        own.executes_target,
    )
    assert session_type.executes("fp32")
    availability = session_type.probe()
    assert availability.ok or availability.fix


@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_a_bundle_is_good_wherever_it_is(tmp_path: Path, target: str, precision: Precision) -> None:
    bundle = Path(shutil.copytree(bundle_of(target, precision), tmp_path / "moved" / "away"))
    manifest = read_manifest(bundle)
    ran = runs_here(target, precision)
    assert manifest.parity.status == ("passed" if ran else "built, not run")
    assert run(["verify", str(bundle)]) == (0 if ran else MissingError.exit_code)
    assert run(["verify", str(bundle), "--seed", "0"]) == (0 if ran else MissingError.exit_code)


@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_the_operators_of_a_file_are_counted(target: str, precision: Precision) -> None:
    """What computes: more than a network has layers, and not its hundreds of constants. MNN has 27 to each of 12 GELUs."""
    operators = read_manifest(bundle_of(target, precision)).operators
    assert isinstance(operators, dict)
    assert all(isinstance(count, int) and count > 0 for count in operators.values())
    assert 150 < sum(operators.values()) < (600 if target != "mnn" else 900)
    assert not {name for name in operators if "const" in name.lower()}


@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_a_bundle_names_no_machine_path(target: str, precision: Precision) -> None:
    bundle = bundle_of(target, precision)
    needles = [str(bundle.parent).encode(), str(ROOT).encode(), sys.prefix.encode()]
    for path in bundle.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [needle for needle in needles if needle in data], path


@pytest.mark.parametrize(
    ("target", "precision"), [pytest.param(*pair.values, marks=slow_or_nightly(*pair.values)) for pair in PAIRS]
)
def test_a_rebuild_is_byte_identical_or_says_why_not(tmp_path: Path, target: str, precision: Precision) -> None:
    """Rebuilt in another process, with another hash seed and another working directory."""
    first = bundle_of(target, precision)
    tokens = [target, *SMALL, "--precision", precision, "--output", str(tmp_path)]
    command = [sys.executable, str(ROOT / "convert.py"), *tokens]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    second = tmp_path / first.name
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second).as_posix() for path in second.rglob("*") if path.is_file())
    different = [name for name in names if not filecmp.cmp(first / name, second / name, shallow=False)]
    if different:
        notes = " ".join(read_manifest(first).notes)
        model = read_manifest(first).path
        assert "byte-identical" in notes, f"{different} differ and no note says why"
        assert set(different) <= {model, "manifest.json", "README.md"}, different


@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_the_bundle_readme_says_what_an_app_needs(target: str, precision: Precision) -> None:
    bundle = bundle_of(target, precision)
    text = (bundle / "README.md").read_text()
    manifest = read_manifest(bundle)
    for needle in (manifest.path, manifest.inputs[0].name, manifest.outputs[0].name, "Random weights", "bicubic", "input.f32"):
        assert needle in text, needle


def open_session(bundle: Path) -> tuple[Session, Manifest]:
    manifest = read_manifest(bundle)
    artifact = artifact_of(bundle, manifest, THIS_HOST)
    chosen = runnable(artifact, THIS_HOST)
    assert chosen is not None
    session_type = THIS_HOST.find_session(chosen.target)
    assert session_type is not None
    return session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs), manifest


@pytest.mark.parametrize("target", TARGETS)
def test_a_session_checks_what_it_is_fed(target: str) -> None:
    session, _ = open_session(bundle_of(target, "fp32"))
    (spec,) = session.inputs
    good = np.zeros((1, 3, 64, 64), dtype=np.float32)
    with pytest.raises(RunError, match="not open"):
        session.run({spec.name: good})
    with session:
        with pytest.raises(RunError, match="expected inputs"):
            session.run({"wrong": good})
        for other in (np.float64, np.uint8):
            with pytest.raises(UsageError, match=f"must be float32, got {np.dtype(other)}"):
                session.run({spec.name: good.astype(other)})
        with pytest.raises(RunError, match=r"must have shape .*, got \(1, 3, 32, 64\)"):
            session.run({spec.name: good[:, :, :32]})
        with pytest.raises(RunError, match="already open"):
            session.__enter__()
        first = session.run({spec.name: good})
        second = session.run({spec.name: good + 1})
        assert not np.shares_memory(first[session.outputs[0].name], second[session.outputs[0].name])
        assert not np.array_equal(first[session.outputs[0].name], second[session.outputs[0].name])


@pytest.mark.parametrize("target", TARGETS)
def test_a_session_leaves_nothing_behind(target: str) -> None:
    session, _ = open_session(bundle_of(target, "fp32"))
    before = set(vars(session))
    for _ in range(2):
        with session:
            session.run({session.inputs[0].name: np.zeros((1, 3, 64, 64), dtype=np.float32)})
        assert {name for name, value in vars(session).items() if value is not None} <= before


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("damage", ["truncated", "empty", "noise"])
def test_a_damaged_file_is_an_error_of_ours(tmp_path: Path, target: str, damage: str) -> None:
    """Past the hashes (an attacker can fix those), each runtime must refuse a broken file without a crash."""
    bundle = Path(shutil.copytree(bundle_of(target, "fp32"), tmp_path / "b"))
    session, manifest = open_session(bundle)
    files = [path for path in ([session.path] if session.path.is_file() else session.path.rglob("*")) if path.is_file()]
    for path in files:
        data = path.read_bytes()
        rng = np.random.default_rng(0)
        broken = {"truncated": data[: len(data) // 2], "empty": b"", "noise": rng.bytes(min(len(data), 4096))}[damage]
        path.write_bytes(broken)
    with pytest.raises(DeployError), session:
        session.run({session.inputs[0].name: np.zeros((1, 3, 64, 64), dtype=np.float32)})
    assert json.dumps(manifest.notes)
