"""Compiled against the classes of Android and ONNX Runtime themselves; and faults in the resizing that its vectors must find."""

from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import SAMPLES
from tests.helpers.apps import need
from tests.helpers.kotlin import APP, CORE, GSON, HAMCREST, JUNIT, STANDARD_LIBRARY, TOOLS, compile_kotlin, run_java

pytestmark = pytest.mark.nightly

ANDROID, ONNX_RUNTIME = TOOLS / "android-23.jar", TOOLS / "onnxruntime-java/classes.jar"


def _against_android(sources: list[Path], tmp_path: Path) -> str:
    need(ANDROID.is_file() and ONNX_RUNTIME.is_file(), "android.jar and ONNX Runtime's classes (.ci/install-apps nightly)")
    return compile_kotlin(sources, tmp_path / "app.jar", [ANDROID, GSON, ONNX_RUNTIME], "-no-jdk").stderr


def test_the_back_end_of_onnx_runtime_compiles_against_its_classes(tmp_path: Path) -> None:
    """With nothing but Android 6's own classes under it, so that `core` uses none that an older phone has not."""
    app = APP / "main/kotlin/edgevit/app"
    sources = [CORE / "main/kotlin", APP / "onnx/kotlin", app / "Assets.kt", app / "Network.kt"]
    assert _against_android(sources, tmp_path) == ""


def test_a_call_that_is_not_there_is_found(tmp_path: Path) -> None:
    source = (APP / "onnx/kotlin/edgevit/app/OnnxBackend.kt").read_text()
    (tmp_path / "OnnxBackend.kt").write_text(source.replace(".floatBuffer", ".floats"))
    assert "unresolved reference 'floats'" in _against_android([CORE / "main/kotlin", tmp_path / "OnnxBackend.kt"], tmp_path)
    (tmp_path / "Newer.kt").write_text("fun newer(bytes: java.io.InputStream) = bytes.readNBytes(4)\n")
    assert "unresolved reference 'readNBytes'" in _against_android([tmp_path / "Newer.kt"], tmp_path)


FAULTS = {
    "no antialiasing": ("maxOf(scale, 1.0)", "1.0"),
    "another cubic": ("CUBIC = -0.5", "CUBIC = -0.75"),
    "fewer bits": ("FRACTION_BITS = 22", "FRACTION_BITS = 14"),
    "always the width first": ("if (heightFirst(picture, to))", "if (false)"),
    "rounded down": ("1 shl (FRACTION_BITS - 1)", "0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_vectors_find_a_fault(fault: str, tmp_path: Path) -> None:
    right, wrong = FAULTS[fault]
    source = (CORE / "main/kotlin/edgevit/core/Resize.kt").read_text()
    assert source.count(right) == 1
    (tmp_path / "Resize.kt").write_text(source.replace(right, wrong))
    others = [path for path in (CORE / "main/kotlin").rglob("*.kt") if path.name != "Resize.kt"]
    sources = [*others, tmp_path / "Resize.kt", CORE / "vectors/kotlin", CORE / "test/kotlin"]
    done = compile_kotlin(sources, tmp_path / "core.jar", [GSON, JUNIT])
    assert "error:" not in done.stderr, done.stderr
    classpath = [tmp_path / "core.jar", GSON, JUNIT, HAMCREST, STANDARD_LIBRARY, SAMPLES]
    tried = run_java("org.junit.runner.JUnitCore", classpath, "edgevit.core.VectorsTest")
    assert tried.returncode == 1
    assert "1) nothingDiffers" in tried.stdout or "2) nothingDiffers" in tried.stdout
