"""The iOS sample, compiled by Swift on Linux: its core and that one's tests run; its back ends and app are over stand-ins."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.apps.samples import SAMPLES, VECTORS_NAME
from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels
from tests.helpers.bundles import rehash
from tests.helpers.cpp import tiny_bundle
from tests.helpers.swift_compiler import run_swift, write_on_linux, write_sample

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("swift")]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("ios") / "sample")


@pytest.fixture(scope="module")
def on_linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app, the back ends, and a program that replays golden data, built."""
    folder = write_on_linux(tmp_path_factory.mktemp("ios") / "package")
    done = run_swift(folder, "swift", "build", "-c", "release")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _tested(sample: Path, *flags: str) -> tuple[int, str]:
    done = run_swift(sample, "swift", "test", "-c", "release", *flags)
    return done.returncode, done.stdout + done.stderr


def test_its_own_tests_pass_and_nothing_differs_from_pillow(sample: Path) -> None:
    code, said = _tested(sample)
    assert code == 0, said
    assert "warning:" not in said
    cases = json.loads((SAMPLES / VECTORS_NAME).read_text())
    names = {"resized": "resize", "preprocessed": "pictures", "upright": "upright", "top": "top"}
    tried = {"made": 1, **{kind: len(cases[name]) for kind, name in names.items()}}
    found = re.findall(r"^(\w+): (\d+) tried, (\d+) different", said, re.MULTILINE)
    assert {kind: (int(count), int(different)) for kind, count, different in found} == {
        kind: (count, 0) for kind, count in tried.items()
    }
    written = sum(path.read_text().count("    func test") for path in (sample / "Tests/EdgeViTCoreTests").glob("*.swift"))
    assert f"Executed {written} tests, with 0 failures" in said


FAULTS = {
    "no antialiasing": ("max(scale, 1)", "1.0"),
    "another cubic": ("cubic = -0.5", "cubic = -0.75"),
    "fewer bits": ("fractionBits = 22", "fractionBits = 14"),
    "always the width first": ("if heightFirst(picture, size) {", "if picture.width < 0 {"),
    "rounded down": ("1 << (fractionBits - 1)", "0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_vectors_find_a_fault(fault: str, sample: Path) -> None:
    right, wrong = FAULTS[fault]
    source = sample / "Sources/EdgeViTCore/Resize.swift"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    try:
        code, said = _tested(sample, "--filter", "VectorsTests")
    finally:
        source.write_text(text)
    assert code == 1, said
    assert "error: VectorsTests.testNothingDiffers" in said


def _replayed(on_linux: Path, target: str, bundle: Path) -> str:
    shutil.rmtree(on_linux / "bundle", ignore_errors=True)
    shutil.copytree(bundle, on_linux / "bundle")
    done = run_swift(on_linux, ".build/release/Replay", target, "bundle")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", ()),
        ("fp16", ()),
        ("int8", ("--calibration", "synthetic")),
        ("fp32", ("--batch", "dynamic", "--input", "image")),
    ],
    ids=str,
)
def test_golden_data_are_reproduced_by_onnx_runtime(
    on_linux: Path, tmp_path: Path, precision: str, flags: tuple[str, ...]
) -> None:
    bundle = tiny_bundle("onnx", precision, *flags)
    line = _replayed(on_linux, "onnx", bundle)
    manifest = open_bundle(bundle)
    (expected,) = read_golden(bundle, manifest)[1].values()
    print(f"\n{line}")
    measure = "root mean square" if precision == "int8" else "largest"
    assert f" 2 examples, passed: {measure} error" in line
    assert f"{precision} {manifest.conversion.takes} " in line
    assert precision == "int8" or f"first: {read_labels(bundle, manifest)[expected[0].argmax()]}, banner: none" in line
    other = shutil.copytree(bundle, tmp_path / "other")
    expected[1] += 10 * np.abs(expected).max()
    (other / manifest.golden.outputs[0].path).write_bytes(np.ascontiguousarray(expected, "<f4").tobytes())
    rehash(other)
    assert f"FAILED: {measure} error" in _replayed(on_linux, "onnx", other)


@pytest.mark.parametrize("right", [True, False])
def test_the_projects_tests_of_its_bundle(on_linux: Path, right: bool) -> None:
    bundle = shutil.copytree(tiny_bundle("onnx"), on_linux / "bundle", dirs_exist_ok=True)
    manifest = open_bundle(bundle)
    if not right:
        (expected,) = read_golden(bundle, manifest)[1].values()
        (bundle / manifest.golden.outputs[0].path).write_bytes(np.ascontiguousarray(expected[::-1], "<f4").tobytes())
        rehash(bundle)
    done = run_swift(on_linux, "swift", "test", "-c", "release")
    shutil.rmtree(bundle)
    assert (done.returncode == 0) == right, done.stdout + done.stderr
    assert f"ONNX Runtime: golden data {'passed' if right else 'FAILED'}: largest error" in done.stdout
    assert right or "error: GoldenTests.testGoldenDataAreReproduced" in done.stdout + done.stderr


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "palette8", "int8"])
def test_every_core_ml_bundle_is_read(on_linux: Path, tmp_path: Path, precision: str) -> None:
    flags = ("--calibration", "synthetic") if precision == "int8" else ()
    bundle = tiny_bundle("coreml", precision, *flags)
    assert _replayed(on_linux, "coreml", bundle).startswith(f"{precision} tensor 2 examples, read, banner: ")
    other = shutil.copytree(bundle, tmp_path / "other")
    weights = next(other.rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "weight.bin was changed since the bundle was written" in _replayed(on_linux, "coreml", other)


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        ("EdgeViTONNX/ONNXModel.swift", "session.inputNames()", "session.names()"),
        ("EdgeViTCoreML/CoreMLModel.swift", "try MLModel.compileModel", "MLModel.compileModel"),
        ("EdgeViTCoreML/CoreMLModel.swift", ".multiArrayValue.map", ".multiArrayValue.flat"),
        ("EdgeViTCoreAI/CoreAIModel.swift", "try await AIModel(", "try AIModel("),
        ("EdgeViTCoreAI/CoreAIModel.swift", "loadFunction(named:", "loadFunction(called:"),
        ("Screens/Camera.swift", "session.addInput(input)", "session.addInput(device)"),
        ("Screens/Screen.swift", "AVCaptureDevice.requestAccess(for", "AVCaptureDevice.askForAccess(for"),
    ],
)
def test_a_call_that_is_not_there_is_found(on_linux: Path, source: str, right: str, wrong: str) -> None:
    text = (on_linux / source).read_text()
    assert right in text
    (on_linux / source).write_text(text.replace(right, wrong, 1))
    try:
        done = run_swift(on_linux, "swift", "build", "-c", "release")
    finally:
        (on_linux / source).write_text(text)
    assert done.returncode == 1
    assert f"{source.partition('/')[2]}:" in done.stdout
    assert "error:" in done.stdout
