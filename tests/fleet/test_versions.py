"""Workers with other versions, and a machine without dask: refused by name."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.errors import MissingError
from edgevit_deploy.fleet.abilities import declared, describe, differences, source_hash, to_convert, to_run
from tests.helpers import fleet
from tests.helpers.fakes import FAKE_COMMAND

ROOT = Path(__file__).parent.parent.parent
MINE = {"edgevit-deploy": "0.1.0", "source": "aaa", "python": "3.11", "torch": "2.13.0", "onnx": "1.23.2"}


@pytest.fixture
def other_msgspec(tmp_path: Path) -> dict[str, str]:
    """An environment in which the installed msgspec says that it is another version."""
    folder = tmp_path / "packages" / "msgspec-0.0.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: msgspec\nVersion: 0.0.1\n")
    return {"PYTHONPATH": f"{folder.parent}:{ROOT}:{':'.join(sys.path)}"}


@pytest.mark.slow
def test_a_worker_with_another_version_is_refused_by_name(tmp_path: Path, other_msgspec: dict[str, str]) -> None:
    with (
        fleet.scheduler(tmp_path) as address,
        fleet.workers(address, ("odd", ()), env=other_msgspec),
        pytest.raises(MissingError, match=r"worker odd on .* has other versions: msgspec 0\.0\.1, here it is [1-9.]*") as caught,
        fleet.connected(address, 1),
    ):
        pass
    assert "install the same ones there" in str(caught.value)


def test_versions_that_matter_are_compared_and_no_others() -> None:
    assert differences(MINE, MINE) == []
    assert differences(MINE, {**MINE, "openvino": "2026.4.1"}) == [], "a converter that only the worker has"
    assert differences(MINE, {name: version for name, version in MINE.items() if name != "onnx"}) == []
    assert differences(MINE, {**MINE, "onnx": "1.0"}) == ["onnx 1.0, here it is 1.23.2"]
    assert differences(MINE, {**MINE, "source": "bbb", "python": "3.12"}) == [
        "source bbb, here it is aaa",
        "python 3.12, here it is 3.11",
    ]
    assert differences(MINE, {name: version for name, version in MINE.items() if name != "torch"}) == [
        "torch (none), here it is 2.13.0"
    ]


def test_this_machine_says_its_versions() -> None:
    versions = describe().versions
    assert {"edgevit-deploy", "source", "python", "torch", "numpy", "msgspec", "distributed"} <= set(versions)
    assert "+" not in versions["torch"], "`+cpu` is of one machine"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Our own code in small: two modules, and what decides a bundle besides."""
    for name in ("export/onnx/__init__.py", "export/onnx/form.toml", "export/onnx/usage.md", "runtimes/onnx.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    return tmp_path


@pytest.mark.parametrize("name", ["export/onnx/__init__.py", "export/onnx/form.toml", "export/onnx/usage.md", "runtimes/new.py"])
def test_another_source_is_another_version_whatever_the_file(checkout: Path, name: str) -> None:
    before = source_hash(checkout)
    (checkout / name).write_text("other")
    assert source_hash(checkout) != before


def test_what_python_and_file_managers_leave_is_no_source_nor_is_the_end_of_a_line(checkout: Path) -> None:
    before = source_hash(checkout)
    (checkout / "export" / "__pycache__").mkdir()
    for name in ("export/__pycache__/x.pyc", "export/onnx/.DS_Store", "README.md"):
        (checkout / name).write_text("x")
    (checkout / "export" / "onnx" / "form.toml").write_bytes(b"one\r\ntwo\r\n")
    assert source_hash(checkout) == before


def test_what_this_machine_declares_is_what_doctor_finds(fake_target: None) -> None:
    from edgevit_deploy.host import RUNTIMES, TARGETS

    names = set(declared())
    assert {"slot", "build-fake", "run-fake"} <= names
    assert {"linux", "macos", "windows"} & names
    for name, line in TARGETS.items():
        assert (f"build-{name}" in names) == line.load().probe().ok
    for name, line in RUNTIMES.items():
        assert (f"run-{name}" in names) == line.load().probe().ok


def test_a_target_says_what_its_jobs_ask_for() -> None:
    assert to_convert("tensorrt")[0] == {"build-tensorrt", "run-tensorrt", "nvidia"}
    assert to_convert("coreml")[0] == {"build-coreml", "run-coreml", "macos"}
    assert to_convert("coreml")[-1] == {"build-coreml"}
    assert to_run(["coreml", "ncnn"]) == (
        {"run-coreml", "macos", "run-ncnn"},
        {"run-mil-reference", "run-ncnn"},
    )


def test_without_dask_the_flags_that_need_it_name_what_installs_it(
    only_fake: None, expect_error: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "distributed" else found(name, *rest))
    for tokens in (("all", *FAKE_COMMAND[1:], "--on", "local"), ("worker", "tcp://127.0.0.1:1")):
        assert "needs Dask: distributed not installed; pip install -e '.[fleet]'" in expect_error(3, *tokens)


HERE_ALONE = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('dask', 'distributed'):
            raise ImportError(f'{name} is blocked')
sys.meta_path.insert(0, Blocker())
from tests.helpers.fleet import register_fake_target
import export
export.TARGETS.clear()
register_fake_target()
from edgevit_deploy.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_without_on_nothing_imports_dask(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HERE_ALONE, "all", *FAKE_COMMAND[1:], "--output", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "fake-fp32" / "manifest.json").is_file()
