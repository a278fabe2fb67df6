"""The project installed from its wheel writes the same apps as a checkout does: every file of every sample is package data."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import platforms
from edgevit_deploy.cli import run
from edgevit_deploy.process.child import environment
from tests.helpers.cpp import tiny_bundle

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel would be unpacked into, built from a copy of what the wheel is made of."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("edgevit_deploy", "export", "runtimes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist", source]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def from_wheel(site: Path, *tokens: object) -> "subprocess.CompletedProcess[str]":
    """Run the command line with the wheel's packages before those of the checkout."""
    command = [sys.executable, "-c", "from edgevit_deploy.__main__ import main; main()", *map(str, tokens)]
    variables = {**environment(), "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=site, env=variables, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("platform", platforms())
def test_an_app_from_the_wheel_is_that_of_a_checkout(installed: Path, tmp_path: Path, platform: str) -> None:
    bundle = tiny_bundle("onnx")
    assert run(["app", platform, str(bundle), "--output", str(tmp_path / "checkout")]) == 0
    done = from_wheel(installed, "app", platform, bundle, "--output", tmp_path / "wheel")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "wheel") == contents(tmp_path / "checkout")


def test_it_was_the_wheel_that_wrote_them(installed: Path, tmp_path: Path) -> None:
    """The control: without its samples it writes nothing, although a checkout is installed."""
    site = shutil.copytree(installed, tmp_path / "site")
    shutil.rmtree(site / "edgevit_deploy/examples")
    done = from_wheel(site, "app", "cpp", tiny_bundle("onnx"), "--output", tmp_path / "out")
    assert done.returncode != 0
    assert not (tmp_path / "out").exists()
