"""Golden data on ARM64 kernels, by the command: under emulation from `.ci/install-arm64`, natively on an ARM64 machine."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.process.sysroot import UNDER_EMULATION, open_sysroot
from export import TARGETS
from runtimes import RUNTIMES
from tests.helpers import arm64, cpp, trained
from tests.helpers.bundles import rehash
from tests.helpers.shared import shared_bundle

pytestmark = pytest.mark.arm64

ALONE = ("executorch",)
"""Its Python package needs PyTorch, which the sysroot has not."""

TARGETS_THERE = (*dict.fromkeys(line.target for line in RUNTIMES.values() if line.arm64), *ALONE)
IN_THE_SAMPLE = ("onnx", "litert", "openvino", "executorch")

ONLY_EMULATED = pytest.mark.skipif(arm64.NATIVE, reason="there is no sysroot on an ARM64 machine")


def bundle_of(target: str, precision: str = "fp32", *flags: str) -> Path:
    """A bundle of the tiny network, that other tests read too; skipped where its converter is not made for this machine."""
    availability = TARGETS[target].load().probe()
    if not availability.ok and arm64.NATIVE:
        pytest.skip(availability.detail)
    return cpp.tiny_bundle(target, precision, *flags)


def changed(target: str, tmp_path: Path, precision: str = "fp32", *flags: str) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(bundle_of(target, precision, *flags), tmp_path / "bundle")


@ONLY_EMULATED
def test_what_runs_there_is_an_arm64_python() -> None:
    python = open_sysroot(arm64.sysroot()).interpreter
    code = "import platform, numpy; print(platform.machine())"
    done = subprocess.run([*python.command, "-c", code], env=dict(python.variables), capture_output=True, text=True)
    assert "No module named 'numpy'" in done.stderr, "without the folders of the sysroot it has nothing of this machine"
    importable = {"PYTHONPATH": ":".join(map(str, python.importable))}
    done = subprocess.run([*python.command, "-c", code], env=dict(python.variables) | importable, capture_output=True, text=True)
    assert done.stdout == "aarch64\n", done.stderr


@pytest.mark.parametrize("target", TARGETS_THERE)
def test_golden_data_are_reproduced(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, document = arm64.verify(bundle_of(target), capfd)
    assert (code, document.get("status")) == (0, "passed"), document
    found = [document["golden"], *([document["sample"]] if document["sample"] else [])]
    for check in found:
        assert 0 < check["max_abs"] <= check["atol"]
        assert check["top1"] == "2 of 2"
        assert check["runtime"].endswith(UNDER_EMULATION) is not arm64.NATIVE
    in_the_sample = [check for check in found if "C++ sample" in check["runtime"]]
    assert len(in_the_sample) == (target in IN_THE_SAMPLE and not arm64.NATIVE)
    assert len(found) == 1 + (bool(in_the_sample) and target not in ALONE)


@pytest.mark.nightly
@pytest.mark.parametrize("network", ["trained", "224"])
@pytest.mark.parametrize(
    ("target", "precision"), [*((target, "fp32") for target in TARGETS_THERE), ("onnx", "fp16"), ("ncnn", "fp16")]
)
def test_the_whole_network(target: str, precision: str, network: str, capfd: pytest.CaptureFixture[str]) -> None:
    bundle_of(target)
    flags = ("--weights", str(trained.WEIGHTS)) if network == "trained" else ("--model", "edgevit_xxs")
    code, document = arm64.verify(shared_bundle(target, precision, *flags), capfd)
    assert (code, document.get("status")) == (0, "passed"), document


def test_integers_of_onnx(capfd: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_of("onnx", "int8", "--calibration", "synthetic", "--activations", "s8")
    code, document = arm64.verify(bundle, capfd)
    assert (code, document.get("status")) == (0, "passed"), document
    assert 0 < document["golden"]["max_abs"] <= document["golden"]["atol"]


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["litert", "executorch"])
def test_integers_of_xnnpack(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, document = arm64.verify(bundle_of(target, "int8", "--calibration", "synthetic"), capfd)
    assert (code, document.get("status")) == (0, "passed"), document


@pytest.mark.nightly
def test_openvino_does_not_execute_all_integers(capfd: pytest.CaptureFixture[str]) -> None:
    """On ARM64 its plugin rounds some layers only: right numbers, but not those of the file's own arithmetic."""
    code, document = arm64.verify(bundle_of("openvino", "int8", "--calibration", "synthetic"), capfd)
    assert (code, document.get("status")) == (3, "built, not run"), document
    assert "rounded layers in integers" in document["golden"]["substitute"]
    assert document["golden"]["max_abs"] <= document["golden"]["atol"]


def _asking_for(hint: str, tmp_path: Path) -> Path:
    """A float32 file of OpenVINO that asks for another arithmetic."""
    bundle = changed("openvino", tmp_path)
    (path,) = bundle.rglob("model.xml")
    text = path.read_text()
    assert text.count('INFERENCE_PRECISION_HINT value="f32"') == 1
    path.write_text(text.replace('INFERENCE_PRECISION_HINT value="f32"', f'INFERENCE_PRECISION_HINT value="{hint}"'))
    rehash(bundle)
    return bundle


@pytest.mark.nightly
def test_bfloat16_of_openvino_becomes_float16_and_is_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, document = arm64.verify(_asking_for("bf16", tmp_path), capfd)
    if arm64.NATIVE and code == 0:
        pytest.skip("this ARM64 CPU computes in bfloat16")
    assert (code, document.get("status")) == (3, "built, not run"), document
    assert "this CPU computes in f16 when asked for bf16" in document["golden"]["substitute"]


def test_half_precision_is_not_float32(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The control: kernels in half precision do run, and miss the bound of a float32 file."""
    code, document = arm64.verify(_asking_for("f16", tmp_path), capfd)
    assert (code, document.get("status")) == (1, "failed"), document
    assert document["golden"]["max_abs"] > 3 * document["golden"]["atol"]
    assert document["golden"]["substitute"] == ""


@pytest.mark.parametrize("target", ["onnx", "ncnn", "executorch"])
def test_a_wrong_golden_value(target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = changed(target, tmp_path)
    values = np.fromfile(bundle / "golden/output.f32", "<f4")
    values[5] += 3 * json.loads((bundle / "manifest.json").read_text())["parity"]["diffs"][0]["tolerance"]["atol"]
    values.tofile(bundle / "golden/output.f32")
    rehash(bundle)
    code, document = arm64.verify(bundle, capfd)
    assert code == 1
    checks = [check for check in (document["golden"], document["sample"]) if check]
    assert [check["status"] for check in checks] == ["failed"] * len(checks)


@ONLY_EMULATED
def test_a_crash_there_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where nothing says which processor it is, ONNX Runtime reads that of the x86 machine, and ends."""
    for part in arm64.sysroot().iterdir():
        if part.name != "proc":
            (tmp_path / part.name).symlink_to(part)
    code, document = arm64.verify(bundle_of("onnx"), capfd, tmp_path)
    assert code == 1
    (line,) = [line for line in document["error"].splitlines() if line.startswith("error:")]
    assert "its process was killed by SIGSEGV" in line
    assert "Traceback" not in document["error"]
