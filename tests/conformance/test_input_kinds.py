"""Every target with every kind of input: taken, or refused with what to type; and a file that takes bytes, wherever one can."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import MissingError, RunError, UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.session import Session
from edgevit_deploy.spec import INPUTS, InputKind, Precision
from edgevit_deploy.verification.bundle import artifact_of
from edgevit_deploy.verification.golden import runnable
from export import TARGETS
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.hosts import runs_here
from tests.helpers.pictures import gradient, save
from tests.helpers.shared import shared_bundle
from tests.helpers.small import plan_for, tiny_network, tiny_weights

TAKING_BYTES = [target for target, entry in TARGETS.items() if "uint8" not in entry.load().cannot_take]
IN_CI = (("onnx", "uint8"), ("openvino", "uint8"), ("coreml", "image"), ("ncnn", "image"), ("torchscript", "image"))
"""The rest is converted with pixels each night, and, where its converter is quick, by the matrix of settings in CI."""


def tier(target: str, takes: InputKind) -> pytest.MarkDecorator:
    return pytest.mark.slow if (target, takes) in IN_CI else pytest.mark.nightly


CONVERTED = [pytest.param(target, marks=tier(target, "uint8")) for target in TAKING_BYTES]
PAIRS = [
    (target, precision) for target, entry in TARGETS.items() for precision in (*entry.load().precisions, *entry.load().quantised)
]


def pixel_bundle(target: str, takes: InputKind, precision: Precision = "fp32") -> Path:
    """The tiny network as a file that takes pixels, for reading only."""
    if not (found := TARGETS[target].load().probe()).ok:
        pytest.skip(f"{target}: {found.detail}")
    flags = () if precision == "fp32" else ("--calibration", "synthetic")
    return shared_bundle(target, precision, "--weights", str(tiny_weights()), "--image-size", "64", "--input", takes, *flags)


def bytes_bundle(target: str) -> Path:
    return pixel_bundle(target, "uint8")


def relabelled(bundle: Path, place: Path, takes: InputKind) -> Path:
    """A copy that says it takes the same pixels in the other type, golden data and hashes with it: a stranger's lie."""
    copy, old, new = Path(shutil.copytree(bundle, place)), *((f"golden/input.{end}") for end in ("f32", "u8"))
    np.fromfile(copy / old, "<f4").astype(np.uint8).tofile(copy / new)
    (copy / old).unlink()

    def change(document: dict[str, Any]) -> None:
        document["inputs"][0]["dtype"] = document["conversion"]["takes"] = takes
        document["golden"]["input"]["path"] = new

    edit_manifest(copy, change)
    rehash(copy)
    return copy


def session_of(bundle: Path, **changes: str) -> tuple[Session, Manifest]:
    """A session of what runs here of a bundle; `changes` are to what its manifest says of the input."""
    manifest = read_manifest(bundle)
    chosen = runnable(artifact_of(bundle, manifest, THIS_HOST), THIS_HOST)
    assert chosen is not None
    session_type = THIS_HOST.find_session(chosen.target)
    assert session_type is not None
    inputs = tuple(replace(spec, **changes) for spec in chosen.inputs)  # type: ignore[arg-type]
    return session_type(chosen.path, inputs=inputs, outputs=chosen.outputs), manifest


@pytest.mark.parametrize(("target", "precision"), PAIRS)
@pytest.mark.parametrize("takes", INPUTS)
def test_a_kind_of_input_is_taken_or_refused_with_what_to_type(target: str, precision: Precision, takes: InputKind) -> None:
    exporter = TARGETS[target].load()()
    plan = plan_for(tiny_network(seed=0).spec, exporter.options_type(), graph="deploy", takes=takes, precision=precision)
    if takes not in exporter.refused_inputs(precision):
        exporter.refuse(plan)
        return
    with pytest.raises(UsageError, match=rf"{target} cannot take --input {takes} \(.+\); use --input \w+$") as refused:
        exporter.refuse(plan)
    other = str(refused.value).rpartition(" ")[2]
    exporter.refuse(replace(plan, takes=other))


def test_what_the_documents_say_is_refused_is_what_is_refused() -> None:
    """A picture's pixels need no normalisation by the app, in one type or the other, but for one target in one precision."""
    refused = {(*pair, takes) for pair in PAIRS for takes in TARGETS[pair[0]].load()().refused_inputs(pair[1])}
    bytes_of = {(*pair, "uint8") for pair in PAIRS if pair[0] in ("coreml", "ncnn")}
    assert refused == {*bytes_of, ("ncnn", "bf16", "image")}


@pytest.mark.parametrize(("target", "precision"), PAIRS)
@pytest.mark.parametrize("takes", INPUTS)
def test_what_no_file_of_a_target_takes_is_not_believed_of_a_bundle(
    small_bundle: Path, target: str, precision: Precision, takes: InputKind
) -> None:
    manifest = read_manifest(small_bundle)
    manifest = replace(manifest, target=target, precision=precision, conversion=replace(manifest.conversion, takes=takes))
    if takes not in TARGETS[target].load()().refused_inputs(precision):
        assert artifact_of(small_bundle, manifest, THIS_HOST).inputs == manifest.inputs
        return
    with pytest.raises(UsageError, match=rf"takes {takes}, which no {target} file in {precision} does \(.+\); convert again$"):
        artifact_of(small_bundle, manifest, THIS_HOST)


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(set(TARGETS) - set(TAKING_BYTES)))
def test_no_command_runs_a_bundle_that_says_so(target: str, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    lie = relabelled(pixel_bundle(target, "image"), tmp_path / "lie", "uint8")
    commands: list[tuple[object, ...]] = [("verify", lie), ("evaluate", lie, "--data", "nowhere")]
    commands += [("bench", lie)] if target == "ncnn" else []  # the other is not timed here at all
    for command in commands:
        assert f"which no {target} file in fp32 does" in expect_error(2, *command)
    assert run(["verify", str(pixel_bundle(target, "image"))]) in (0, MissingError.exit_code)


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


@pytest.mark.parametrize(
    ("target", "takes"),
    [
        *(pytest.param(target, "image", marks=tier(target, "image")) for target in TARGETS),
        *(pytest.param(target, "uint8", marks=tier(target, "uint8")) for target in TAKING_BYTES),
    ],
)
def test_a_file_of_one_type_is_not_opened_as_one_of_the_other(target: str, takes: InputKind) -> None:
    bundle, (other,) = pixel_bundle(target, takes), {"float32", "uint8"} - {INPUTS[takes].dtype}
    with session_of(bundle)[0]:
        pass
    session, _ = session_of(bundle, dtype=other)
    with pytest.raises(RunError), session:
        raise AssertionError("it was opened")


QUANTISED = [next((pair for pair in PAIRS if pair[0] == target and pair[1] == "int8"), None) for target in TAKING_BYTES]


@pytest.mark.nightly
@pytest.mark.parametrize(("target", "precision"), [pair for pair in QUANTISED if pair is not None])
def test_a_rounded_file_takes_bytes(target: str, precision: Precision) -> None:
    bundle = pixel_bundle(target, "uint8", precision)
    manifest = read_manifest(bundle)
    assert (manifest.inputs[0].dtype, manifest.conversion.takes) == ("uint8", "uint8")
    assert run(["verify", str(bundle)]) == (0 if runs_here(target, precision) else MissingError.exit_code)


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
