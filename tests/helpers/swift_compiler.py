"""A Swift compiler: the machine's own, or Debian 13's in a root of its own, which `.ci/install-apps ios` makes."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import SAMPLES, VECTORS_NAME
from tests.helpers.apps import need

ROOT = Path(__file__).parents[2]
COMPILER = ROOT / "build/apps/swift"
HEADERS = ROOT / "build/apps/onnxruntime/usr/include/onnxruntime"
STAND_INS = ROOT / "tests/apps/swift"


def run_swift(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Swift, or what it built, in a folder; skip the test where there is no compiler."""
    if shutil.which("swift"):
        libraries = os.pathsep.join(filter(None, [str(folder / "Headers"), os.environ.get("LD_LIBRARY_PATH")]))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    need((COMPILER / "done").is_file(), "Swift compiler (.ci/install-apps ios)")
    own_root = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*own_root, "true"], capture_output=True).returncode != 0:
        pytest.skip("the Swift compiler needs a mount namespace, and this machine allows none")
    words = [*own_root, "sh", STAND_INS / "in-root", COMPILER, folder, *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=600)


def write_sample(folder: Path) -> Path:
    """Write the iOS sample with its vectors, and without a bundle."""
    shutil.copytree(SAMPLES / "ios", folder)
    shutil.copy(SAMPLES / VECTORS_NAME, folder / "Tests")
    return folder


def write_on_linux(folder: Path) -> Path:
    """Write a package of the sample's app and back ends over stand-ins of what they import, one over ONNX Runtime."""
    need(HEADERS.is_dir(), "headers of ONNX Runtime")
    shutil.copytree(STAND_INS, folder)
    sample = write_sample(folder / "App")
    for name in ("EdgeViTONNX", "EdgeViTCoreML", "EdgeViTCoreAI"):
        shutil.copytree(sample / "Sources" / name, folder / name)
    shutil.copytree(sample / "App", folder / "Screens")
    shutil.copytree(sample / "Tests/EdgeViTRuntimeTests", folder / "Tests/EdgeViTRuntimeTests")
    for header in HEADERS.glob("*.h"):
        shutil.copy(header, folder / "Headers")
    (library,) = (Path(str(find_spec("onnxruntime").origin)).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # what the linker and the loader look for
        shutil.copy(library, folder / "Headers" / name)
    return folder
