"""One-shot children: they find our modules, and however they end is told in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevit_deploy.process import memory
from edgevit_deploy.process.child import (
    ChildFailure,
    NotStarted,
    how_it_ended,
    last_line,
    one_line,
    python,
    python_module,
    run_once,
)

ROOT = Path(__file__).parent.parent.parent
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def test_a_child_imports_what_its_parent_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("if __name__ == '__main__':\n    import sys\n    print(sys.argv[1])\n")
    monkeypatch.syspath_prepend(tmp_path)
    ended = run_once(python("import edgevit_deploy, only_here, sys; print(sys.argv[1])", "said"), timeout_s=60, folder=tmp_path)
    assert (ended.status, ended.stdout.decode().strip(), ended.stderr) == (0, "said", b"")
    assert run_once(python_module("only_here", "said"), timeout_s=60).stdout.decode().strip() == "said"


def test_nothing_is_imported_from_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "stray.py").touch()
    ended = run_once(python("import stray"), timeout_s=60, folder=tmp_path)
    assert (ended.status, last_line(ended.stderr)) == (1, "ModuleNotFoundError: No module named 'stray'")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("pass", "ended with status 0"),
        ("import sys; sys.exit(3)", "ended with status 3"),
        ("import sys; sys.exit('no memory')", "ended with status 1: no memory"),
        ("raise ValueError('by\\nzero')", "ended with status 1: zero"),
        ("import os, sys; os.write(2, b'\\x1b[31m\\xff red'); sys.exit(2)", "ended with status 2: [31m\ufffd red"),
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV", marks=posix_only),
        pytest.param(
            "import os, signal; os.write(2, b'last words'); os.kill(os.getpid(), signal.SIGKILL)",
            "was killed by SIGKILL, perhaps because memory ran out: last words",
            marks=posix_only,
        ),
    ],
)
def test_how_it_ended_is_one_line(code: str, how: str) -> None:
    assert run_once(python(code), timeout_s=60).how == how


def test_without_words_there_is_only_the_status() -> None:
    assert how_it_ended(7) == "ended with status 7"
    assert last_line(b" \n\n") == ""
    assert len(one_line("x" * 10_000)) == 500


def test_it_has_no_input() -> None:
    assert run_once(python("print(repr(input()))"), timeout_s=60).how == "ended with status 1: EOFError: EOF when reading a line"


def test_a_hang_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(ChildFailure, match=r"^did not end within 1 s$"):
        run_once(python("import time; time.sleep(600)"), timeout_s=1.0)
    assert time.monotonic() - start < 300, "half of what the child sleeps"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match=r"^cannot be started \(No such file or directory\)$"):
        run_once([str(tmp_path / "nowhere")], timeout_s=60)


WAITS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it, their children too
sys.path.insert(0, sys.argv[1])
from edgevit_deploy.process.child import python, run_once
code = "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()} {os.getpgid(0)}.'); time.sleep(600)"
run_once(python(code, sys.argv[2]), timeout_s=600)
"""


def assert_gone(pid: int) -> None:
    """Whoever adopts a killed child may take a moment to bury it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


@posix_only
def test_ctrl_c_reaches_the_parent_only_which_ends_the_child(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", WAITS, str(ROOT), str(told)], stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 300
        while not told.is_file() or not told.read_text().endswith("."):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pid, group = map(int, told.read_text()[:-1].split())
        assert group == pid, "a terminal sends Ctrl-C to a whole group"
        parent.send_signal(signal.SIGINT)
        assert parent.wait(30) != 0
    assert_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the figure is /proc's")
def test_peak_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = memory.peak_memory_bytes()
    assert before is not None
    assert 1e7 < before < 1e11
    status = tmp_path / "status"
    status.write_text("VmPeak:\t 999 kB\nVmHWM:\t  1234 kB\nVmRSS:\t 1 kB\n")
    monkeypatch.setattr(memory, "STATUS", status)
    assert memory.peak_memory_bytes() == 1234 * 1024
    status.write_text("Name:\tpython\n")
    assert memory.peak_memory_bytes() is None
