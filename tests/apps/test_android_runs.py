"""The Android sample's back end of ONNX Runtime, run: on a Java machine, through the runtime's own Java binding, on x86."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels
from edgevit_deploy.cli import run
from tests.helpers.apps import need
from tests.helpers.bundles import rehash
from tests.helpers.kotlin import APP, GSON, ROOT, STANDARD_LIBRARY, TOOLS, compile_kotlin, core_with_tests, run_java
from tests.helpers.shared import made_once
from tests.helpers.trained import WEIGHTS

pytestmark = pytest.mark.nightly

BINDING = TOOLS / "onnxruntime-binding"


@pytest.fixture(scope="module")
def binding() -> Path:
    """The binding of 1.21, built: its classes, and the library between them and the ONNX Runtime that is installed."""
    need((BINDING / "done").is_file(), "sources of ONNX Runtime's Java binding (.ci/install-apps nightly)")
    return made_once("onnxruntime-binding", _build)


def _build(folder: Path) -> None:
    java, wheel = BINDING / "java/src/main", Path(str(find_spec("onnxruntime").origin)).parent / "capi"
    (library,) = wheel.glob("libonnxruntime.so.*")
    sources = [path for part in ("java", "jvm") for path in (java / part).rglob("*.java") if path.name != "module-info.java"]
    compiler = ["java", "-m", "jdk.compiler/com.sun.tools.javac.Main", "-nowarn"]
    subprocess.run([*compiler, "-d", folder / "classes", "-h", folder / "headers", *sources], check=True)
    (folder / "headers/onnxruntime_config.h").write_text('#define ORT_VERSION "1.21.0"\n')
    (folder / "libonnxruntime.so").symlink_to(library)
    own = [
        BINDING / "include" / part for part in ("", "onnxruntime", "onnxruntime/core/session", "onnxruntime/core/providers/cpu")
    ]
    includes = [BINDING, BINDING / "linux", folder / "headers", java / "native", *own]
    native = [path for path in (java / "native").glob("*.c") if "Training" not in path.name]
    command = ["gcc", "-shared", "-fPIC", "-O1", "-w", *(f"-I{path}" for path in includes), *native]
    link = [f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{wheel}", "-o", folder / "libonnxruntime4j_jni.so"]
    subprocess.run([*command, *link], check=True)


@pytest.fixture(scope="module")
def program(binding: Path) -> list[Path]:
    def make(folder: Path) -> None:
        sources = [APP / "onnx/kotlin", ROOT / "tests/apps/kotlin/Replay.kt"]
        done = compile_kotlin(sources, folder / "replay.jar", [*core_with_tests(), binding / "classes"])
        assert done.returncode == 0, done.stderr

    return [made_once("android-replay", make) / "replay.jar", *core_with_tests(), binding / "classes", STANDARD_LIBRARY, GSON]


@pytest.mark.parametrize(
    "flags",
    [(), ("--precision", "fp16"), ("--batch", "dynamic", "--input", "image"), ("--input", "uint8")],
    ids=" ".join,
)
def test_golden_data_are_reproduced(binding: Path, program: list[Path], tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert run(["onnx", "--weights", str(WEIGHTS), "--image-size", "64", *flags, "--output", str(tmp_path / "out")]) == 0
    (bundle,) = (tmp_path / "out").glob("onnx-*")
    verdict, first = _replayed(bundle, binding, program, tmp_path)
    assert verdict.startswith("passed: largest error"), verdict
    print(f"\nONNX Runtime through Kotlin on the JVM, {' '.join(flags) or 'fp32'}: {verdict}")
    manifest = open_bundle(bundle)
    (expected,) = read_golden(bundle, manifest)[1].values()
    assert first == read_labels(bundle, manifest)[expected[0].argmax()]
    other = shutil.copytree(bundle, tmp_path / "other")
    expected[1, 2] += 0.1
    (other / manifest.golden.outputs[0].path).write_bytes(np.ascontiguousarray(expected, "<f4").tobytes())
    rehash(other)
    assert _replayed(other, binding, program, tmp_path)[0].startswith("FAILED: largest error 1.0")


def _replayed(bundle: Path, binding: Path, program: list[Path], tmp_path: Path) -> list[str]:
    done = run_java("ReplayKt", program, bundle, tmp_path / "copy", options=[f"-Donnxruntime.native.path={binding}"])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
