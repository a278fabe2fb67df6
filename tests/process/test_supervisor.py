"""A program whose address space is limited: however it ends, there is one line that says so, and nothing is left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgevit_deploy import cli
from edgevit_deploy.process.child import environment
from edgevit_deploy.process.supervisor import OWN_CODES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="`ulimit -v` is POSIX's")

SUPERVISED = """
import os
from pathlib import Path
from edgevit_deploy.process.supervisor import ends, supervise, writes
supervise(lambda place: place.rmdir())
"""


def supervised(code: str, limit: str = "ulimit -v 3145728") -> "subprocess.CompletedProcess[str]":
    command = ["bash", "-c", f'{limit}; "$@"', "-", sys.executable, "-P", "-c", SUPERVISED + code]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("os._exit(1)", "ended with status 1"),  # as libgomp does, which cannot have a thread
        ("os._exit(127)", "ended with status 127"),  # as the loader of libraries does
        ("os.abort()", "was killed by SIGABRT"),
        ("raise SystemError", "ended with status 1"),
    ],
)
def test_an_end_that_was_not_its_own_is_said_and_cleared(tmp_path: Path, ending: str, how: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    result = supervised(f"writes(Path({str(place)!r})); {ending}")
    assert result.returncode == 1
    said = f"error: the program {how}; memory is limited to 3 GiB here (`ulimit -v`), which may be why: lift the limit"
    assert result.stderr.splitlines()[-1] == said
    assert not place.exists()


@pytest.mark.parametrize("code", OWN_CODES)
def test_what_it_said_itself_is_not_said_again(tmp_path: Path, code: int) -> None:
    place = tmp_path / "place"
    place.mkdir()
    result = supervised(f"writes(Path({str(place)!r})); ends(); os._exit({code})")
    assert (result.returncode, result.stderr) == (code, "")
    assert place.exists()  # it has cleared what it had to


def test_a_process_that_hears_nothing_is_killed_after_a_grace(tmp_path: Path) -> None:
    """As CPython does that has no memory for an exception; the place is cleared all the same."""
    place = tmp_path / "place"
    place.mkdir()
    code = SUPERVISED.replace("supervise(", "import edgevit_deploy.process.supervisor as it; it.GRACE_S = 1; supervise(")
    code += f"""
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
writes(Path({str(place)!r}))
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    command = ["bash", "-c", 'ulimit -v 3145728; "$@"', "-", sys.executable, "-P", "-c", code]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode == 1
    assert result.stderr.startswith("error: the program was killed by SIGKILL; memory is limited to 3 GiB here")
    assert not place.exists()


def test_there_is_room_for_the_last_words() -> None:
    """Of a process that has taken all it may."""
    code = """
from edgevit_deploy.commands.console import print_error
import edgevit_deploy.process.memory
taken, size = [], 2**26
while size > 64:
    try: taken.append(bytearray(size))
    except MemoryError: size //= 2
try: bytearray(2**20)
except MemoryError: os.write(2, b"none left; ")
print_error("memory ran out")
bytearray(2**20)
ends()
"""
    result = supervised(code, "ulimit -v 1048576")
    assert (result.returncode, result.stderr) == (0, "none left; error: memory ran out\n")


def test_a_grandchild_that_lives_on_is_not_waited_for() -> None:
    code = "import time\nif os.fork() == 0: time.sleep(30)\nelse: ends(); os._exit(1)"
    result = subprocess.run(
        ["bash", "-c", 'ulimit -v 3145728; "$@"', "-", sys.executable, "-P", "-c", SUPERVISED + code],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=20,
    )
    assert result.returncode == 1


def test_python_itself_short_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """An import that runs out of memory may end in a SystemError, which says nothing of memory."""

    def fails(tokens: object) -> object:
        def app(*_: object, **__: object) -> None:
            raise SystemError("error return without exception set")

        return app

    monkeypatch.setattr(cli, "build_app", fails)
    with pytest.raises(SystemError):  # without a limit it is a defect, and keeps its traceback
        cli.run(["onnx"])
    monkeypatch.setattr(cli, "address_space_note", lambda: "; memory is limited")
    assert cli.run(["onnx"]) == 1
    assert capfd.readouterr().err == "error: error return without exception set; memory is limited\n"
