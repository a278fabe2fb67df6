"""Sessions in a child process: whatever happens there is one clear error here, and nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.process.session_child import ChildSession, isolated
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import OpTime, Session
from edgevit_deploy.spec import TensorSpec
from tests.helpers.child_fakes import Doubles, SpeaksForItself

ROOT = Path(__file__).parent.parent.parent
ONES = np.ones((2, 4), np.float32)


def make(kind: str, run_timeout_s: float = 60.0) -> ChildSession:
    class OneChild(ChildSession):
        name = "the fake"
        session = f"tests.helpers.child_fakes:{kind}"

        @classmethod
        def probe(cls) -> Availability:
            return Availability(ok=True, detail="")

    OneChild.run_timeout_s, OneChild.image_timeout_s = run_timeout_s, 0.0
    return OneChild(
        Path("model.fake"),
        inputs=(TensorSpec(name="x", shape=("batch", 4), dtype="float32"),),
        outputs=(TensorSpec(name="y", shape=("batch", 4), dtype="float32"),),
    )


def isolate(session_type: type[Session]) -> type[ChildSession]:
    return isolated(session_type, f"{session_type.__module__}:{session_type.__name__}")


def children() -> set[int]:
    """Process ids of this process's children, zombies too."""
    while True:
        try:
            return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread ended in between, and another one has its children now


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def nothing_left() -> object:
    """Every test ends without a child process and without an open pipe."""
    if not Path("/proc/self/task").exists():
        yield
        return
    before, descriptors = children(), open_descriptors()
    yield
    assert children() <= before
    assert open_descriptors() <= descriptors


def test_arrays_make_the_round_trip_whatever_is_printed() -> None:
    with make("Doubles") as session:
        for batch in (1, 5):
            x = np.random.default_rng(batch).standard_normal((batch, 4)).astype(np.float32)
            result = session.run({"x": x})["y"]
            np.testing.assert_array_equal(result, 2 * x)
            result[0, 0] = 7  # owned and writable


def test_an_error_while_running_leaves_the_session_usable() -> None:
    with make("Doubles") as session:
        with pytest.raises(RunError, match=r"the fake could not run model\.fake: it does not like -1"):
            session.run({"x": -ONES})
        with pytest.raises(RunError, match="ZeroDivisionError: by zero"):
            session.run({"x": -2 * ONES})
        np.testing.assert_array_equal(session.run({"x": ONES})["y"], 2 * ONES)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("CrashesOnLoad", r"could not load model\.fake: its process was killed by SIGSEGV: last words"),
        ("RefusesToLoad", r"could not load model\.fake: not such a file"),
        ("ExitsOnLoad", r"could not load model\.fake: its process ended with status 7"),
        ("NoSuchSession", r"could not load model\.fake: AttributeError: "),
    ],
)
def test_a_failure_while_loading_is_named(kind: str, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught, make(kind):
        pass
    assert "\n" not in str(caught.value)


def test_a_crash_while_running_is_named_and_ends_the_session() -> None:
    with make("CrashesOnRun") as session:
        with pytest.raises(RunError, match="its process was killed by SIGABRT"):
            session.run({"x": ONES})
        with pytest.raises(RunError, match="its process has failed before; open a new session"):
            session.run({"x": ONES})


def test_a_hang_is_ended() -> None:
    start = time.monotonic()
    with make("Hangs", run_timeout_s=1.0) as session, pytest.raises(RunError, match="no answer within 1 s"):
        session.run({"x": ONES})
    assert time.monotonic() - start < 300, "half of what the child sleeps"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("WrongShape", "its process announced .*, expected is"),
        ("WrongName", "its process announced .*, expected is"),
        ("SpeaksOutOfTurn", "its process sent what is no reply"),
        ("SpeaksTooDeep", "its process sent what is no reply"),
        ("SpeaksNoUtf8", "its process sent what is no reply"),
    ],
)
def test_what_the_child_says_is_checked_before_it_is_believed(kind: str, message: str) -> None:
    with make(kind) as session, pytest.raises(RunError, match=message):
        session.run({"x": ONES})


def test_runs_are_timed_in_the_child() -> None:
    with make("Doubles") as session:
        assert len(session.time_runs({"x": ONES}, 3)) == 3
        assert session.time_runs({"x": ONES}, 0) == []
    with pytest.raises(RunError, match="not open"):
        session.time_runs({"x": ONES}, 3)


def test_cpu_time_is_of_the_child() -> None:
    with make("Doubles") as session:
        before = session.cpu_time_ns()
        session.time_runs({"x": ONES}, 3)
        after = session.cpu_time_ns()
        assert before is not None
        assert after is not None
        assert 0 < before < after
    assert session.cpu_time_ns() is None


def test_the_profile_is_of_the_session_in_the_child() -> None:
    with make("Doubles") as session:
        assert session.profile({"x": ONES}, 2) == (OpTime(name="node", kind="Double", time_ms=2.0 * ONES.size),)


def test_a_session_can_be_opened_again() -> None:
    session = make("Doubles")
    for _ in range(2):
        with session:
            np.testing.assert_array_equal(session.run({"x": ONES})["y"], 2 * ONES)


class TestIsolated:
    def test_the_class_says_what_the_isolated_one_says(self) -> None:
        child = isolate(SpeaksForItself)
        assert issubclass(child, ChildSession)
        assert (child.__name__, child.name, child.executes_target) == ("SpeaksForItself", "speaks for itself", False)
        assert child.traced_as == {"Double": frozenset({"aten::mul"})}
        assert child.own_fact == 7  # type: ignore[attr-defined]
        assert child.probe() == SpeaksForItself.probe()
        assert [child.executes(precision) for precision in ("fp32", "fp16")] == [True, False]

    def test_what_it_does_not_say_is_the_base_class(self) -> None:
        child = isolate(Doubles)
        assert (child.executes_target, child.traced_as, child.executes("bf16")) == (True, None, True)

    def test_it_runs_in_another_process(self) -> None:
        session = isolate(SpeaksForItself)(
            Path("model.fake"),
            inputs=(TensorSpec(name="x", shape=("batch", 4), dtype="float32"),),
            outputs=(TensorSpec(name="y", shape=("batch", 4), dtype="float32"),),
        )
        with session:
            assert session.run({"x": ONES})["y"][0, 0] not in (2.0, os.getpid())
            assert session.peak_memory_bytes() is not None or not Path("/proc/self/status").exists()

    def test_one_class_for_one_session(self) -> None:
        assert isolate(Doubles) is isolate(Doubles)
        assert isolate(Doubles) is not isolate(SpeaksForItself)


WAITS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it, their children too
sys.path.insert(0, sys.argv[1])
import numpy as np
from tests.process.test_session_child import make
with make("Hangs", run_timeout_s=900.0) as session:
    print(session._child._process.pid, flush=True)
    session.run({"x": np.ones((1, 4), np.float32)})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_ends_the_child_too() -> None:
    command = [sys.executable, "-c", WAITS, str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(300) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
