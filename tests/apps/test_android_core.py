"""The platform-free part of the Android sample, compiled by a current Kotlin compiler and run on a Java machine."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.apps.samples import SAMPLES
from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels
from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import MAX_K, NOISE_CEILING
from edgevit_deploy.parity.gate import root_mean_square
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.spec import QUANTISED, Precision
from edgevit_deploy.verification.golden import FLOAT32_HALF_ULP
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.kotlin import APP, BACK_ENDS, CORE, SAMPLE, compile_kotlin, core_with_tests, run_java
from tests.helpers.shared import made_once
from tests.helpers.trained import WEIGHTS

pytestmark = pytest.mark.slow

FAULT = 0.0078125
TRIED = {"made": 1, "resized": 300, "preprocessed": 12, "upright": 10, "top": 5}


def test_its_own_tests_pass_and_nothing_differs_from_pillow(capsys: pytest.CaptureFixture[str]) -> None:
    tests = sorted(f"edgevit.core.{path.stem}" for path in (CORE / "test/kotlin/edgevit/core").glob("*Test.kt"))
    assert len(tests) >= 3
    done = run_java("org.junit.runner.JUnitCore", [*core_with_tests(), SAMPLES], *tests)
    assert done.returncode == 0, done.stdout
    assert re.search(r"OK \(\d+ tests\)", done.stdout)
    found = re.findall(r"^\W*(\w+): (\d+) tried, (\d+) different", done.stdout, re.MULTILINE)
    assert {kind: int(tried) for kind, tried, _ in found} == TRIED
    assert {different for _, _, different in found} == {"0"}
    with capsys.disabled():
        print(*(f"\nKotlin on the JVM, against Pillow: {kind}: {tried} tried, 0 different" for kind, tried, _ in found))


@pytest.fixture(scope="module")
def onnx_bundle() -> Path:
    """A real bundle of the trained network."""

    def make(folder: Path) -> None:
        tokens = ["onnx", "--weights", str(WEIGHTS), "--image-size", "64", "--batch", "dynamic", "--output", str(folder)]
        assert run(tokens) == 0

    return made_once("android-onnx-bundle", make) / "onnx-fp32"


def _said_of(bundle: Path, target: str, outputs: np.ndarray, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "outputs.f32").write_bytes(outputs.astype("<f4").tobytes())
    done = run_java("edgevit.core.CheckKt", core_with_tests(), target, bundle, tmp_path / "outputs.f32")
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def test_it_reads_a_real_bundle_as_python_does(onnx_bundle: Path, tmp_path: Path) -> None:
    manifest = open_bundle(onnx_bundle)
    _, expected = read_golden(onnx_bundle, manifest)
    (name, values), labels = next(iter(expected.items())), read_labels(onnx_bundle, manifest)
    outputs = values.copy()
    outputs[1, 3] += FAULT
    said = _said_of(onnx_bundle, "onnx", outputs, tmp_path)
    error = float(np.abs(outputs.astype(np.float64) - values).max())
    bound = manifest.parity.given(name, manifest.model.image_size)[0].tolerance.atol + 2.0**-24 * float(np.abs(values).max())
    assert float(said["error"]) == error
    assert float(said["bound"]) == bound
    assert said["verdict"].startswith("FAILED: largest error")
    assert said["banner"] == "none"
    assert said["first"] == f"[{', '.join(labels[place] for place in values.argmax(axis=1))}]"
    assert said["labels"] == str(len(labels))
    assert _said_of(onnx_bundle, "onnx", values, tmp_path)["verdict"].startswith("passed: largest error 0.00e+00")


@pytest.mark.parametrize(("precision", "measure"), [("fp32", "rms"), ("bf16", "largest"), ("palette8", "largest")])
def test_a_bundle_grants_itself_no_bound(onnx_bundle: Path, tmp_path: Path, precision: Precision, measure: str) -> None:
    """The bound is this version's own for any target, in the measure of the precision, and right outputs still pass."""
    bundle = shutil.copytree(onnx_bundle, tmp_path / "bundle")

    def claim(document: dict) -> None:
        document["precision"] = precision
        for diff in document["parity"]["diffs"]:
            diff["tolerance"].update(atol=1e30, measure=measure)

    edit_manifest(bundle, claim)
    (values,) = read_golden(onnx_bundle, open_bundle(onnx_bundle))[1].values()
    rounded, largest = precision in QUANTISED, float(np.abs(values).max())
    scale = root_mean_square(values.astype(np.float64)) if rounded else largest
    bound = (GOLDEN.k if rounded else MAX_K) * NOISE_CEILING[precision] * scale + FLOAT32_HALF_ULP * largest
    outputs = values.copy()
    said = _said_of(bundle, "onnx", outputs, tmp_path)
    assert float(said["bound"]) == pytest.approx(bound, rel=1e-12)
    assert said["verdict"].startswith("passed: ")
    outputs[1, 3] += 1.01 * bound * (outputs.size**0.5 if rounded else 1.0)
    said = _said_of(bundle, "onnx", outputs, tmp_path)
    assert said["verdict"].startswith(f"FAILED: {'root mean square' if rounded else 'largest'} error")


def test_every_target_and_a_model_in_a_folder(small_bundle: Path, tmp_path: Path) -> None:
    for target in BACK_ENDS:
        bundle = shutil.copytree(small_bundle, tmp_path / target)
        model = open_bundle(bundle).path
        (bundle / model).rename(bundle / "one")
        (bundle / "model").mkdir()
        (bundle / "one").rename(bundle / "model/one")
        edit_manifest(bundle, lambda document, target=target: document.update(target=target, path="model"))
        rehash(bundle)
        _, expected = read_golden(bundle, open_bundle(bundle))
        said = _said_of(bundle, target, next(iter(expected.values())), tmp_path)
        assert said["verdict"].startswith("passed"), said
        assert said["model"] == "model/one"
        other = _said_of(bundle, "another", next(iter(expected.values())), tmp_path)
        assert other["refused"].startswith(f"the bundle is for {target}, and this app was built for another")


def test_a_damaged_bundle_is_refused(onnx_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(onnx_bundle, tmp_path / "bundle")
    golden = bundle / "golden/output.f32"
    golden.write_bytes(golden.read_bytes()[:-4] + b"\0\0\0\0")
    said = _said_of(bundle, "onnx", np.zeros(20), tmp_path)
    assert said["refused"].startswith("golden/output.f32 was changed since the bundle was written")


def test_the_app_has_no_error_of_syntax(tmp_path: Path) -> None:
    """Its names cannot be resolved here, for want of Android and Gradle; everything that a parser knows is checked."""
    scripts = sorted(SAMPLE.rglob("*.gradle.kts"))
    assert len(scripts) == 4
    sources = sorted(APP.rglob("*.kt"))
    said = _parsed([*sources, *scripts], tmp_path)
    of_libraries = [path for path in sources if path.name in ("OnnxBackend.kt", "LiteRtBackend.kt", "ExecuTorchBackend.kt")]
    for path in (*scripts, *of_libraries):
        assert f"android/{path.relative_to(SAMPLE).as_posix()}:" in said, "it has names that are not known here: it was not read"
    assert "syntax error" not in said, said


def test_an_error_of_syntax_is_found(tmp_path: Path) -> None:
    faults = {
        "main/kotlin/edgevit/app/Assets.kt": ("override fun open(", "override open("),
        "../build.gradle.kts": ("else ->", "else -> ->"),
    }
    spoiled = []
    for name, (right, wrong) in faults.items():
        source = (APP / name).read_text()
        assert right in source
        spoiled.append(tmp_path / Path(name).name)
        spoiled[-1].write_text(source.replace(right, wrong))
    said = _parsed(spoiled, tmp_path)
    for path in spoiled:
        assert re.search(rf"{path.name}:\d+:\d+: error: syntax error", said)


def _parsed(sources: list[Path], tmp_path: Path) -> str:
    return compile_kotlin(sources, tmp_path / "app.jar", core_with_tests(), "-Xallow-any-scripts-in-source-roots").stderr
