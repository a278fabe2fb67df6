"""What `.ci/install-arm64` does before it fetches anything: over stand-ins for what it calls."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a script for Debian and Ubuntu")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, and a PATH on which everything that would fetch says so and fails."""
    for folder in (".ci", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci/install-arm64", tmp_path / ".ci")
    for name in ("apt-get", "pip", "sudo", "cmake", "dpkg-query"):
        _program(tmp_path, name, f"echo {name} was called >&2; exit 50\n")
    return tmp_path


def _program(checkout: Path, name: str, text: str) -> None:
    (checkout / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}")
    (checkout / "bin" / name).chmod(0o755)


def _install(checkout: Path, machine: str, *words: str) -> subprocess.CompletedProcess[str]:
    _program(checkout, "uname", f"echo {machine}\n")
    path = f"{checkout / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run([checkout / ".ci/install-arm64", *words], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("machine", "code", "words"), [("aarch64", 0, "nothing is needed"), ("riscv64", 3, "no set-up for riscv64")]
)
def test_another_machine_needs_none_or_has_none(checkout: Path, machine: str, code: int, words: str) -> None:
    done = _install(checkout, machine)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "was called" not in done.stderr
    assert not (checkout / "build").exists()


def test_a_folder_of_something_else_stays(checkout: Path) -> None:
    (checkout / "mine").mkdir()
    (checkout / "mine/thesis").write_text("text")
    done = _install(checkout, "x86_64", "mine")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "mine holds something else" in done.stderr
    assert (checkout / "mine/thesis").read_text() == "text"
    done = _install(checkout, "x86_64", "new")
    assert "was called" in done.stderr, "the control: a new folder is filled"


def test_a_sysroot_of_other_versions_is_made_anew(checkout: Path) -> None:
    folder = checkout / "build/arm64"
    folder.mkdir(parents=True)
    (folder / ".sysroot").touch()
    (folder / "versions.txt").write_text("numpy==1.0\n")
    done = _install(checkout, "x86_64")
    assert done.returncode != 0
    assert "was called" in done.stderr
