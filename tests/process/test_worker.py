"""Worker processes: they end with their parent, stay within their memory, take what they started with them; so do exporters."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import ExportError, RunError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.exporter.child import ExportWorkers, isolated, read_artifact
from edgevit_deploy.process.child import environment, python
from edgevit_deploy.process.memory import address_space_note, physical_memory_bytes
from edgevit_deploy.process.scratch import scratch_beside, scratch_folder
from edgevit_deploy.process.session_child import BASE_MEMORY_BYTES, MEMORY_PER_INPUT, memory_limit_bytes
from edgevit_deploy.process.worker import MEMORY_VARIABLE
from edgevit_deploy.spec import TensorSpec
from tests.helpers.child_fakes import FaultyExporter
from tests.helpers.small import plan_for, prepared, tiny_network
from tests.process.test_child import assert_gone
from tests.process.test_session_child import make

ROOT = Path(__file__).parent.parent.parent
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes are POSIX's")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what is allocated")
LOCATION = "tests.helpers.child_fakes:FaultyExporter"

PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it, their children too
sys.path.insert(0, {root!r})
import numpy as np
from tests.process.test_session_child import make
with make("HangsWithGrandchild", run_timeout_s=900.0) as session:
    print(session._child._process.pid, flush=True)
    session.run({{"x": np.ones((1, 4), np.float32)}})
"""


@posix_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_parent_ends_the_child_and_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "GRANDCHILD": str(tmp_path / "pid")}
    command = [sys.executable, "-c", PARENT.format(root=str(ROOT))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 300
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.send_signal(number)
        parent.wait(300)
    assert_gone(child)
    assert_gone(int((tmp_path / "pid").read_text()))


@linux_only
def test_more_memory_than_allowed_is_refused_to_the_child_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, "1")
    with make("TakesMemory") as session:
        np.testing.assert_array_equal(session.run({"x": np.full((1, 4), 0.1, np.float32)})["y"], 1)  # GiB
        with pytest.raises(RunError, match=f"memory is limited to 1 GiB, {MEMORY_VARIABLE}=N allows N GiB"):
            session.run({"x": np.full((1, 4), 3.0, np.float32)})
        np.testing.assert_array_equal(session.run({"x": np.full((1, 4), 0.1, np.float32)})["y"], 1)


@linux_only
def test_the_control_a_larger_limit_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, "4")
    with make("TakesMemory") as session:
        np.testing.assert_array_equal(session.run({"x": np.full((1, 4), 1.5, np.float32)})["y"], 1)


def test_the_limit_grows_with_the_input() -> None:
    def limit(*shape: int | str) -> int:
        return memory_limit_bytes([TensorSpec(name="input", shape=shape, dtype="float32")])

    assert limit(1, 3, 224, 224) == BASE_MEMORY_BYTES + MEMORY_PER_INPUT * 4 * 3 * 224 * 224
    assert limit(64, 3, 224, 224) > 2 * limit(1, 3, 224, 224)
    assert limit("batch", 3, "height", "width") > limit(1, 3, 224, 224)


def test_the_machine_has_memory() -> None:
    size = physical_memory_bytes()
    assert size is None or size > 2**28


@posix_only
def test_a_limit_of_the_address_space_is_named() -> None:
    assert address_space_note() == ""
    command = python("from edgevit_deploy.process.memory import address_space_note as note; print(note())")
    shell = ["bash", "-c", 'ulimit -v 3145728; "$@"', "-", *command]
    said = subprocess.run(shell, env=environment(), capture_output=True, text=True, check=True).stdout
    assert "memory is limited to 3 GiB here (`ulimit -v`)" in said


@pytest.fixture
def faulty() -> Any:
    """Exports in a worker, by an exporter that does what its flag says."""
    workers = ExportWorkers()
    network = tiny_network(seed=0)
    import torch

    module = prepared(network, torch.float32)

    def export(fault: str, folder: Path) -> Artifact:
        plan = plan_for(network.spec, FaultyExporter.options_type(fault=fault))
        return workers.export(LOCATION, module, plan, folder)

    yield export
    workers.close()


def test_an_artifact_comes_back_as_it_was(faulty: Any, tmp_path: Path) -> None:
    network = tiny_network(seed=0)
    plan = plan_for(network.spec, FaultyExporter.options_type(fault=""))
    artifact = faulty("", tmp_path)
    import torch

    (tmp_path / "direct").mkdir()
    direct = FaultyExporter().export(prepared(network, torch.float32), plan, tmp_path / "direct")
    assert (tmp_path / "model.fake").stat().st_size > 1000
    assert replace(artifact, path=direct.path, facts={**artifact.facts, "pid": os.getpid()}) == direct
    assert artifact.path == tmp_path / "model.fake"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@posix_only
@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("abort", ExportError, "its process was killed by SIGABRT"),
        ("segmentation", ExportError, "its process was killed by SIGSEGV"),
        ("exit", ExportError, "its process ended with status 3"),
        ("usage", UsageError, "use another flag"),
        ("export", ExportError, "it cannot be converted"),
        ("defect", ExportError, "the converter failed: ZeroDivisionError"),
        ("memory", ExportError, "the converter failed: MemoryError"),
        ("disk", OSError, "No space left on device"),
    ],
)
def test_however_an_exporter_ends_it_is_one_line_and_the_next_one_works(
    faulty: Any, tmp_path: Path, fault: str, kind: type[Exception], message: str
) -> None:
    (tmp_path / "first").mkdir()
    with pytest.raises(kind, match=message) as caught:
        faulty(fault, tmp_path / "first")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    if fault == "disk":
        assert caught.value.errno == errno.ENOSPC
    if fault == "defect":
        assert "in export" in caught.value.__notes__[0], "a defect of ours keeps its traceback"
    (tmp_path / "second").mkdir()
    assert faulty("", tmp_path / "second").path.is_file()


def test_one_worker_serves_several_conversions(faulty: Any, tmp_path: Path) -> None:
    pids = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        pids.add(faulty("", tmp_path / name).facts["pid"])
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_threads_take_turns(faulty: Any, tmp_path: Path) -> None:
    def export(name: str) -> int:
        (tmp_path / name).mkdir()
        return int(faulty("", tmp_path / name).facts["pid"])

    with ThreadPoolExecutor(3) as threads:
        pids = set(threads.map(export, ["first", "second", "third"]))
    assert len(pids) == 1


def test_a_network_that_cannot_be_sent_is_one_line(tmp_path: Path) -> None:
    network = tiny_network(seed=0)
    network.register_forward_hook(lambda *_: None)
    plan = plan_for(network.spec, FaultyExporter.options_type(fault=""))
    with pytest.raises(ExportError, match="cannot be sent to the converter's process"):
        ExportWorkers().export(LOCATION, network, plan, tmp_path)


def test_an_isolated_exporter_says_what_the_other_one_says() -> None:
    exporter = isolated(FaultyExporter, LOCATION)
    assert issubclass(exporter, FaultyExporter)
    assert (exporter.__name__, exporter.target) == ("FaultyExporter", "fake")
    assert isolated(FaultyExporter, LOCATION) is exporter


def test_what_a_file_was_built_from_lies_in_the_folder_too() -> None:
    document = {"target": "a", "path": "x/model", "inputs": [], "outputs": [], "tools": {}}
    artifact = read_artifact({**document, "built_from": {**document, "path": "source"}}, Path("/place"))
    assert artifact.built_from is not None
    assert (artifact.path, artifact.built_from.path) == (Path("/place/x/model"), Path("/place/source"))


def test_scratch_files_beside_a_file_stay_after_an_error(tmp_path: Path) -> None:
    with scratch_beside(tmp_path) as scratch:
        (scratch / "large").touch()
    assert list(tmp_path.iterdir()) == []

    def fill() -> None:
        with scratch_beside(tmp_path) as scratch:
            (scratch / "large").touch()
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fill()
    (scratch,) = tmp_path.iterdir()
    assert (scratch / "large").is_file(), "what fills the disk must be seen by whoever asks why"


@pytest.mark.parametrize("users", ["", "kept"])
def test_no_cache_comes_back_where_a_folder_has_gone(tmp_path: Path, users: str) -> None:
    """PyTorch writes the folder of its first use into the environment, and makes it again at the next."""
    code = f"""
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from edgevit_deploy.process.scratch import use_for_temporary_files
from torch._inductor.runtime.cache_dir_utils import cache_dir
for name in ("one", "two"):
    folder = Path(name)
    folder.mkdir()
    use_for_temporary_files(folder.absolute())
    print(Path(cache_dir()).relative_to(Path.cwd()))
    shutil.rmtree(folder)
"""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / users)} if users else {**os.environ}
    if not users:
        environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.stdout.split() == ([users, users] if users else ["one/compiler-cache", "two/compiler-cache"]), result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ([users] if users else [])


def test_without_a_folder_for_temporary_files_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def nowhere(*_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **_: nowhere())
    with pytest.raises(UsageError, match="set TMPDIR to one that can"), scratch_folder():
        pass
