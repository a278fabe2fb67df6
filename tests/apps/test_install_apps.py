"""What `.ci/install-apps` does where a download fails, and for one platform: itself, over stand-ins for what it calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/etc/apt/sources.list.d/debian.sources")
JAR = "build/apps/android-23.jar"

APT = """echo "$*" >>"$LOG"
case "$*" in
  *" update") [ "$FAULT" != update ] || exit 100 ;;
  *" download libandroid-23-java") [ "$FAULT" != download ] || exit 100; touch libandroid-23-java_1_all.deb ;;
esac
"""
UNPACK = """[ "$FAULT" != unpack ] || exit 2
cd "$(mktemp -d)"
mkdir -p usr/share/java
echo classes >usr/share/java/com.android.android-23.jar
tar -c ./usr/share/java/com.android.android-23.jar
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout with the script, and a PATH on which nothing is installed, downloaded or run."""
    for folder in (".ci", "bin", "tmp", "build/apps/onnxruntime/usr/include", "build/apps/onnxruntime-binding"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci/install-apps", tmp_path / ".ci")
    for folder in ("tests/apps/browser", "tests/apps/kotlin", "tests/apps/kotlin/onnxruntime"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            (tmp_path / folder / name).write_text("{}\n")
    (tmp_path / "build/apps/libonnxruntime-dev_1.21.0+dfsg-1_amd64.deb").touch()
    (tmp_path / "build/apps/onnxruntime-binding/done").touch()
    programs = {"apt-get": APT, "dpkg-deb": UNPACK, "dpkg-query": "exit 1\n", "sudo": 'exec "$@"\n'}
    programs |= dict.fromkeys(("npm", "node", "java", "chromium", "python"), "exit 0\n")
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def _install(machine: Path, *names: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    own = {"PATH": f"{machine / 'bin'}:{os.environ['PATH']}", "LOG": str(machine / "log"), "FAULT": fault}
    environment = {**os.environ, **own, "TMPDIR": str(machine / "tmp")}
    return subprocess.run([machine / ".ci/install-apps", *names], env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not DEBIAN.is_file(), reason="only Debian has that package")
@pytest.mark.parametrize(("fault", "code"), [("update", 0), ("download", 0), ("unpack", 2)])
def test_what_could_not_be_fetched_is_fetched_the_next_time(machine: Path, fault: str, code: int) -> None:
    done = _install(machine, "nightly", fault=fault)
    assert done.returncode == code, done.stderr
    assert ("a nightly test will be skipped" in done.stderr) == (code == 0)
    assert not (machine / JAR).exists()
    assert not list((machine / "tmp").glob("*/sources.list")), "the state of apt-get stayed"
    done = _install(machine, "nightly")
    assert done.returncode == 0, done.stderr
    assert (machine / JAR).read_text() == "classes\n"
    assert not list((machine / "build/apps").glob("libandroid*"))


@pytest.mark.skipif(not DEBIAN.is_file(), reason="only Debian has that package")
def test_an_empty_one_of_before_is_fetched_again(machine: Path) -> None:
    (machine / JAR).touch()
    assert _install(machine, "nightly").returncode == 0
    assert (machine / JAR).read_text() == "classes\n"


PACKAGES = {"android": {"junit4", "libgoogle-gson-java"}, "cpp": {"g++", "nlohmann-json3-dev"}, "web": set[str]()}
FOLDERS = {"android": {"kotlin"}, "cpp": set[str](), "web": {"browser"}}


@pytest.mark.parametrize("name", [*PACKAGES, None])
def test_one_platform_is_installed_by_its_name(machine: Path, name: str | None) -> None:
    done = _install(machine, *filter(None, [name]))
    assert done.returncode == 0, done.stderr
    log = machine / "log"
    installed = (
        {word for line in log.read_text().splitlines() if " install " in f" {line} " for word in line.split()}
        if log.exists()
        else set()
    )
    made = {path.parent.name for path in (machine / "build/apps").glob("*/done")} - {"onnxruntime-binding"}
    for other in PACKAGES:
        assert (PACKAGES[other] <= installed) == (name in (other, None) or not PACKAGES[other])
        assert (FOLDERS[other] <= made) == (name in (other, None) or not FOLDERS[other])


@pytest.mark.skipif(not DEBIAN.is_file() or shutil.which("swift") is not None, reason="Debian's Swift, where there is no other")
def test_swift_is_fetched_once_and_nothing_stays_of_a_failure(machine: Path) -> None:
    done = _install(machine, "ios", fault="update")
    assert (done.returncode, done.stderr) == (0, "no Swift: nightly tests will be skipped\n")
    assert not (machine / "build/apps/swift").exists()
    (machine / "log").unlink()
    for _ in range(2):
        assert _install(machine, "ios").returncode == 0
        update, install = (machine / "log").read_text().splitlines()
        assert update.endswith(" update")
        assert " --download-only " in install
        assert {"swiftlang", "libc6-dev"} <= set(install.split())
    assert [path.name for path in (machine / "build/apps/swift").glob("done")] == ["done"]
    assert not (machine / "build/apps/swift/packages").exists()


def test_another_name_is_refused(machine: Path) -> None:
    done = _install(machine, "symbian")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no platform symbian" in done.stderr
    assert not (machine / "log").exists()
