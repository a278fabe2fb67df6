"""The sample in C++, written for a bundle by the command line and built once for all tests."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from edgevit_deploy.cli import run
from tests.helpers.apps import need
from tests.helpers.shared import made_once, shared_bundle
from tests.helpers.small import tiny_weights

ROOT = Path(__file__).parents[2]
ONNXRUNTIME_HEADERS = ROOT / "build/apps/onnxruntime/usr/include/onnxruntime"
"""Where `.ci/install-apps` puts them: the wheel has none."""


def tiny_bundle(target: str, precision: str = "fp32", *flags: str, size: str = "64") -> Path:
    """A bundle of the tiny network, converted once, for reading only."""
    return shared_bundle(target, precision, "--weights", str(tiny_weights()), "--image-size", size, *flags)


def configure(project: Path, build: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run CMake on a project, with the wheels of this Python."""
    need(shutil.which("cmake") and shutil.which("c++"), "cmake and g++")
    settings = [f"-DEDGEVIT_PYTHON={sys.executable}", f"-DONNXRUNTIME_INCLUDE={ONNXRUNTIME_HEADERS}", *flags]
    return subprocess.run(["cmake", "-S", project, "-B", build, *settings], capture_output=True, text=True)


@functools.cache  # what is shared is hashed whenever it is asked for, and this is asked for often
def _built(name: str, target: str, back_ends: str) -> Path:
    """Return the project of a bundle, as `convert.py app cpp` writes it, built in its folder `build`."""
    need(ONNXRUNTIME_HEADERS.is_dir(), "headers of ONNX Runtime")

    def make(folder: Path) -> None:
        project = folder / "project"
        assert run(["app", "cpp", str(tiny_bundle(target)), "--output", str(project)]) == 0
        found = configure(project, project / "build", f"-DEDGEVIT_BACKENDS={back_ends}")
        said = found.stderr.lower()
        missing = found.returncode != 0 and ("not found" in said or "could not find" in said)
        need(not missing, f"library or header of the C++ sample ({found.stderr[-300:]})")
        assert found.returncode == 0, found.stderr
        # One job in a worker: the other worker has work of its own.
        jobs = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
        built = subprocess.run(["cmake", "--build", project / "build", "-j", jobs], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr[-3000:]

    return made_once(name, make) / "project"


def project() -> Path:
    """The project with every back end that can be in one program, around an ONNX bundle."""
    return _built("cpp-project", "onnx", "all")


def torchscript_project() -> Path:
    """The project with TorchScript, which cannot be in one program with ExecuTorch."""
    return _built("cpp-torchscript", "torchscript", "torchscript")


def edgevit(*words: object, within: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [str((within or project()) / "build/edgevit"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def decoded(picture: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the program that writes what is decoded of a picture, as PPM."""
    return subprocess.run([project() / "build/edgevit-pixels", picture], capture_output=True, timeout=120)
