"""Every target with every kind of input: taken, or refused with what to type; and a file that takes bytes, wherever one can."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import MissingError, RunError, UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.session import Session
from edgevit_deploy.spec import INPUTS, InputKind
from edgevit_deploy.verification.bundle import artifact_of
from edgevit_deploy.verification.golden import runnable
from export import TARGETS
from tests.helpers.hosts import runs_here
from tests.helpers.pictures import gradient, save
from tests.helpers.shared import shared_bundle
from tests.helpers.small import plan_for, tiny_network, tiny_weights

TAKING_BYTES = [target for target, entry in TARGETS.items() if "uint8" not in entry.load().cannot_take]
IN_CI = ("onnx", "openvino")
"""The rest is converted with bytes each night, and, where its converter is quick, by the matrix of settings in CI."""

CONVERTED = [pytest.param(target, marks=pytest.mark.slow if target in IN_CI else pytest.mark.nightly) for target in TAKING_BYTES]
OF_A_TYPE = [param for param in CONVERTED if param.values != ("torchscript",)]
"""Whose files say the type of their input."""


def bytes_bundle(target: str) -> Path:
    """The tiny network as a file that takes bytes, for reading only."""
    if not (found := TARGETS[target].load().probe()).ok:
        pytest.skip(f"{target}: {found.detail}")
    return shared_bundle(target, "fp32", "--weights", str(tiny_weights()), "--image-size", "64", "--input", "uint8")


def session_of(bundle: Path, **changes: str) -> tuple[Session, Manifest]:
    """A session of what runs here of a bundle; `changes` are to what its manifest says of the input."""
    manifest = read_manifest(bundle)
    chosen = runnable(artifact_of(bundle, manifest), THIS_HOST)
    assert chosen is not None
    session_type = THIS_HOST.find_session(chosen.target)
    assert session_type is not None
    inputs = tuple(replace(spec, **changes) for spec in chosen.inputs)  # type: ignore[arg-type]
    return session_type(chosen.path, inputs=inputs, outputs=chosen.outputs), manifest


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("takes", INPUTS)
def test_a_kind_of_input_is_taken_or_refused_with_what_to_type(target: str, takes: InputKind) -> None:
    exporter = TARGETS[target].load()()
    plan = plan_for(tiny_network(seed=0).spec, exporter.options_type(), graph="deploy", takes=takes)
    if takes not in exporter.cannot_take:
        exporter.refuse(plan)
        return
    with pytest.raises(UsageError, match=rf"{target} cannot take --input {takes} \(.+\); use --input \w+$") as refused:
        exporter.refuse(plan)
    other = str(refused.value).rpartition(" ")[2]
    exporter.refuse(replace(plan, takes=other))


def test_pixels_are_taken_by_every_target() -> None:
    """A picture's pixels need no normalisation by the app, in one type or the other, whatever the target is."""
    for target, entry in TARGETS.items():
        assert {"tensor", "image"}.isdisjoint(entry.load().cannot_take), target
    assert set(TARGETS) - set(TAKING_BYTES) == {"coreml", "ncnn"}


@pytest.mark.parametrize("target", CONVERTED)
def test_a_bundle_says_that_it_takes_bytes_and_is_right(target: str, tmp_path: Path) -> None:
    bundle = bytes_bundle(target)
    manifest, readme = read_manifest(bundle), (bundle / "README.md").read_text()
    (spec,) = manifest.inputs
    assert (spec.dtype, manifest.conversion.takes, manifest.golden.input.path) == ("uint8", "uint8", "golden/input.u8")
    assert (bundle / "golden/input.u8").stat().st_size == np.prod(manifest.golden.input.shape)
    assert manifest.parity.status == ("passed" if runs_here(target, "fp32") else "built, not run")
    assert 'np.fromfile("golden/input.u8", "u1")' in readme
    assert "input.f32" not in readme
    assert "Nothing else: the model takes 0 to 255, as uint8" in readme
    good = 0 if runs_here(target, "fp32") else MissingError.exit_code
    save(tmp_path / "picture.png", gradient())
    assert run(["verify", str(bundle), "--weights", str(tiny_weights()), "--images", str(tmp_path)]) == good


@pytest.mark.parametrize("target", CONVERTED)
def test_a_session_of_bytes_takes_bytes_alone(target: str) -> None:
    session, manifest = session_of(bytes_bundle(target))
    inputs, expected = read_golden(bytes_bundle(target), manifest)
    (name,) = expected
    with session:
        for other in (np.float32, np.int8, np.float64):
            with pytest.raises(UsageError, match=rf"must be uint8, got {np.dtype(other)}; prepare pictures for --input uint8"):
                session.run({session.inputs[0].name: inputs[:1].astype(other)})
        right, swapped = (session.run({session.inputs[0].name: some[:1]})[name] for some in (inputs, inputs[:, ::-1]))
    bound = 10 * manifest.parity.given(name, manifest.model.image_size)[0].tolerance.atol
    assert np.abs(right - expected[name][:1]).max() < bound < np.abs(swapped - expected[name][:1]).max()


@pytest.mark.parametrize("target", OF_A_TYPE)
def test_a_file_of_bytes_is_not_opened_as_one_of_floats(target: str) -> None:
    session, _ = session_of(bytes_bundle(target), dtype="float32")
    with pytest.raises(RunError), session:
        raise AssertionError("it was opened")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversion.takes": "image"}, "holds uint8, and a file that takes image holds float32"),
        ({"conversion.takes": "tensor"}, "holds uint8, and a file that takes tensor holds float32"),
        ({"inputs.0.dtype": "float32"}, "holds float32, and a file that takes uint8 holds uint8"),
        ({"inputs.0.dtype": "int8"}, "holds int8, and a file that takes uint8 holds uint8"),
        ({"inputs.0.dtype": "float32", "conversion.takes": "image"}, "bytes, which is not float32"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    bundle = Path(shutil.copytree(bytes_bundle("onnx"), tmp_path / "b"))
    document = json.loads((bundle / "manifest.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place[parent]
        place[last] = value
    (bundle / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=message):
        read_manifest(bundle)
