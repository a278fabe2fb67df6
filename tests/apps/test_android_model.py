"""The Android sample's model, network and pictures, compiled and run on a Java machine over stand-ins for Android's classes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.apps import need
from tests.helpers.kotlin import APP, ROOT, compile_kotlin, core_with_tests, run_java

pytestmark = pytest.mark.slow

STAND_INS = ROOT / "tests/apps/kotlin/app"
RUN = ("AppModel.kt", "Assets.kt", "Network.kt", "Pictures.kt", "Lens.kt")


def test_what_the_screen_shows_is_what_was_found(tmp_path: Path) -> None:
    jar, classpath = tmp_path / "model.jar", core_with_tests()
    done = compile_kotlin([STAND_INS, *(APP / "main/kotlin/edgevit/app" / name for name in RUN)], jar, classpath)
    assert done.returncode == 0, done.stderr
    options = [f"-Djava.io.tmpdir={tmp_path}"]
    ran = run_java(
        "org.junit.runner.JUnitCore", [jar, *classpath], "edgevit.app.AppModelTest", "edgevit.app.LensTest", options=options
    )
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"OK \(\d+ tests\)", ran.stdout)


def test_litert_is_given_what_its_model_takes_or_nothing(tmp_path: Path) -> None:
    """Its back end over a stand-in for LiteRT, whose models are of any size."""
    jar, classpath = tmp_path / "litert.jar", core_with_tests()
    sources = [ROOT / "tests/apps/kotlin/litert", APP / "litert/kotlin/edgevit/app/LiteRtBackend.kt"]
    done = compile_kotlin(sources, jar, classpath)
    assert done.returncode == 0, done.stderr
    ran = run_java("org.junit.runner.JUnitCore", [jar, *classpath], "edgevit.app.LiteRtBackendTest")
    assert ran.returncode == 0, ran.stdout
    assert "OK (2 tests)" in ran.stdout


def test_memory_that_ncnn_has_not_is_no_place_to_write_to(tmp_path: Path) -> None:
    """Its C++ over stand-ins for Java's native interface and ncnn: a null says that it failed, and the app goes on."""
    need(shutil.which("g++"), "g++")
    folder = ROOT / "tests/apps/kotlin/ncnn"
    sources = [folder / "main.cpp", APP / "ncnn/cpp/net.cpp"]
    subprocess.run(["g++", "-std=c++17", f"-I{folder}", *sources, "-o", tmp_path / "run"], check=True)
    ran = subprocess.run([tmp_path / "run"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["1 3 5", "null"])
