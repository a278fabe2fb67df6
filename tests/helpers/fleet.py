"""A scheduler and workers in processes of their own, on loopback and on ports that the system gives.

Run as a script this is a worker that knows the fake target too: `python tests/helpers/fleet.py ADDRESS NAME RESOURCES`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
START_S = 60.0
PROCESS = "scheduler.pid"
CAN = ("build-fake", "run-fake", "build-torchscript", "run-torch-lite", "build-onnx", "run-onnxruntime")
"""What a worker has that can build and run the fake target and the two that are quickest."""


RUNTIME = "TESTS_FLEET_RUNTIME"
"""In the environment of a worker, what runs the fake target's files, whatever it says of itself: `nothing`, or what `refuses`."""


@contextmanager
def scheduler(folder: Path, *flags: str) -> Iterator[str]:
    """Start a scheduler and give its address."""
    told = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    command += ["--scheduler-file", str(told), *(flags or ("--host", "127.0.0.1"))]
    with process(command) as running:
        (folder / PROCESS).write_text(str(running.pid))
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if told.is_file() and (text := told.read_text()):
                yield str(json.loads(text)["address"])
                return
            time.sleep(0.05)
        raise TimeoutError("the scheduler did not start")


def end_scheduler(folder: Path) -> None:
    """End the scheduler that was started with a folder, as Ctrl-C does."""
    os.kill(int((folder / PROCESS).read_text()), signal.SIGINT)


@contextmanager
def workers(
    address: str, *each: tuple[str, Sequence[str]], env: Mapping[str, str] | None = None, tls: Sequence[Path] = ()
) -> Iterator[None]:
    """Start workers, each a name and its resources; they have come when `connected` says so."""
    with ExitStack() as started:
        for name, resources in each:
            command = [sys.executable, __file__, address, name, ",".join(("slot", *resources)), *map(str, tls)]
            started.enter_context(process(command, env))
        yield


@contextmanager
def process(
    command: Sequence[str], env: Mapping[str, str] | None = None, said: Path | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a command until the end of a `with` block, and kill it then with what it has started; `said` gets its output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **(env or {})}
    with Path(os.devnull if said is None else said).open("wb") as output:
        running = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):  # it has ended, and been waited for
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder: path inside (POSIX) -> content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_until(so: Callable[[], bool]) -> None:
    """Wait until something is so; fail where it is not within the time that a start may take."""
    end = time.monotonic() + START_S
    while not so():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to that")
        time.sleep(0.05)


@contextmanager
def connected(address: str, count: int, access: Any = None, say: Any = lambda _: None) -> Iterator[Any]:
    """Give the cluster at an address once it has that many workers; `say` is told of those that come later and are left out."""
    from edgevit_deploy.errors import MissingError
    from edgevit_deploy.fleet.access import Access
    from edgevit_deploy.fleet.connection import open_cluster

    end = time.monotonic() + START_S
    while True:
        try:
            with open_cluster(address, access or Access(), say) as cluster:
                while len(cluster.seats()) < count and time.monotonic() < end:
                    time.sleep(0.1)
                yield cluster
                return
        except MissingError as error:
            if "has no workers" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Return a word, and what was given with it."""

    word: str

    def run(self, given: Any) -> Any:
        return self.word, given


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Fail if another such job runs in this process, and say in which one this was."""

    folder: Path

    def run(self, given: Any) -> int:
        mark = self.folder / str(os.getpid())
        mark.touch(exist_ok=False)
        time.sleep(0.2)
        mark.unlink()
        return os.getpid()


@dataclass(frozen=True, slots=True, kw_only=True)
class Die:
    """Kill the worker's process, the first few times."""

    folder: Path
    times: int

    def run(self, given: Any) -> int:
        count = len(list(self.folder.iterdir()))
        if count < self.times:
            from distributed import get_worker

            (self.folder / f"{get_worker().name}-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return count


@dataclass(frozen=True, slots=True, kw_only=True)
class KilledInTheMiddle:
    """Do another job, and be killed a moment after it has begun, the first time."""

    folder: Path
    job: Any

    def run(self, given: Any) -> Any:
        if not list(self.folder.iterdir()):
            (self.folder / str(os.getpid())).touch()
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return self.job.run(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Raise an error."""

    error: Exception

    def run(self, given: Any) -> None:
        raise self.error


def register_fake_target() -> None:
    """Add the fake target for good."""
    import export
    import runtimes
    from tests.helpers.fakes import FAKE_RUNTIME, FAKE_TARGET, REFUSING_RUNTIME

    export.TARGETS["fake"] = FAKE_TARGET
    chosen = {"": FAKE_RUNTIME, "nothing": None, "refuses": REFUSING_RUNTIME}[os.environ.get(RUNTIME, "")]
    if chosen is not None:
        runtimes.RUNTIMES["fake"] = chosen


if __name__ in ("__main__", "__mp_main__"):
    sys.path = [entry for entry in sys.path if entry != str(Path(__file__).parent)]  # or `shared` and others would shadow
    register_fake_target()

if __name__ == "__main__":
    from edgevit_deploy.fleet.access import Access
    from edgevit_deploy.fleet.worker import serve

    where, called, has, *tls = sys.argv[1:]
    flags = dict(zip(("ca", "cert", "key"), map(Path, tls), strict=False))
    serve(where, dict.fromkeys(has.split(","), 1.0), access=Access(**flags), name=called)
