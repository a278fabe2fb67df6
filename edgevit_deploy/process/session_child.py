"""Sessions in a child process, for runtimes that a bad file could crash: `isolated` puts any session there.

The child is a fresh interpreter (`subprocess`, not `multiprocessing`: that would run the user's main script again, cannot when
it comes from stdin, and leaves a resource tracker and its pipe behind). Requests go down the child's stdin, replies come up its
stdout; everything else that the child prints goes to a scratch file, whose last line explains a crash.

The child has handled a file from anywhere, so nothing that it says is unpickled: messages are JSON, decoded into typed
dataclasses, and the raw bytes of announced arrays, whose names, types, shapes and sizes are checked here before they are read.
"""

import inspect
import math
import subprocess
import tempfile
import threading
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import IO, Any, ClassVar

import msgspec
import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.process.child import ChildFailure, environment, how_it_ended, python
from edgevit_deploy.process.session_worker import Reply, Request, Setup, describe, receive, receive_arrays, send
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import TensorSpec
from edgevit_deploy.text import one_line

START = "from edgevit_deploy.process.session_worker import serve; serve()"

MAX_OUTPUT_BYTES = 1 << 30
LEAVE_TIMEOUT_S = 10.0


class ChildSession(Session):
    """Forwards to a session in a child process; `isolated` makes a subclass that names it.

    Whatever happens in the child ends in a RunError that names the file, the phase and the reason: an error of the runtime, a
    crash, or no answer in time. Ctrl-C in a terminal reaches only this process, which ends the child on the way out.
    """

    session: ClassVar[str]
    """The session that is entered in the child, as "module:Class"."""

    load_timeout_s: ClassVar[float] = 300.0
    run_timeout_s: ClassVar[float] = 600.0
    """For each run. Importing a library and running a large batch on a busy machine take seconds; more than this is a hang."""

    _child: "Child | None" = None
    _peak_memory_bytes: int | None = None
    _cpu_time_ns: int | None = None

    def _load(self) -> None:
        setup = Setup(
            session=self.session,
            path=str(self.path.absolute()),
            inputs=self.inputs,
            outputs=self.outputs,
            threads=self.threads,
        )
        self._child = Child()
        with ExitStack() as on_failure:
            on_failure.callback(self._unload)
            reply, _ = self._ask("load", setup, [], self.load_timeout_s)
            self.substitute = one_line(reply.substitute)
            on_failure.pop_all()

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        _, outputs = self._ask("run", Request(arrays=describe(feeds)), list(feeds.values()), self.run_timeout_s)
        return outputs

    def _unload(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = self._peak_memory_bytes = self._cpu_time_ns = None

    def time_runs(self, feeds: Mapping[str, Array], count: int) -> list[float]:
        """Run `count` times and return each latency in milliseconds, measured inside the child: the pipe is not in it."""
        self._check_feeds(feeds)
        if count < 1:
            return []
        request = Request(arrays=describe(feeds), timed_runs=count)
        reply, _ = self._ask("run", request, list(feeds.values()), self.run_timeout_s * count)
        if len(reply.latencies_ms) != count:
            raise RunError(f"{self.name} ran {self.path.name} {len(reply.latencies_ms)} times, {count} were asked for")
        return list(reply.latencies_ms)

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...] | None:
        """Return what the session in the child says of each operation."""
        self._check_feeds(feeds)
        request = Request(arrays=describe(feeds), profiled_runs=runs)
        reply, _ = self._ask("profile", request, list(feeds.values()), self.run_timeout_s * runs)
        return reply.ops

    def cpu_time_ns(self) -> int | None:
        """CPU time of the child as of its last answer."""
        return self._cpu_time_ns

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the child as of its last answer; None where the system does not tell."""
        return self._peak_memory_bytes

    def _ask(
        self, task: str, message: Setup | Request, arrays: Sequence[Array], timeout_s: float
    ) -> tuple[Reply, dict[str, Array]]:
        assert self._child is not None
        try:
            reply, outputs = self._child.ask(message, arrays, self.outputs, timeout_s)
        except ChildFailure as failure:
            raise RunError(f"{self.name} could not {task} {self.path.name}: {failure}") from None
        self._peak_memory_bytes, self._cpu_time_ns = reply.peak_memory_bytes, reply.cpu_time_ns
        return reply, outputs


@cache
def isolated(session_type: type[Session], location: str) -> type[ChildSession]:
    """Return a session that runs another one in a child process, and says of itself what that one says.

    What a class says is copied: its public attributes and class methods (name, probe, ...). What an instance does is forwarded to
    the child by `ChildSession`.

    Args:
        session_type: the session to run there.
        location: of its class, as "module:Class"; the child imports it from there.

    Returns:
        The same class for the same arguments; a session that is in a child already, as it is.
    """
    if issubclass(session_type, ChildSession):
        return session_type

    def fill(body: dict[str, Any]) -> None:
        body.update({name: getattr(session_type, name) for name in _said_by_the_class(session_type)})
        body.update(__module__=session_type.__module__, __doc__=session_type.__doc__, session=location)

    return types.new_class(session_type.__name__, (ChildSession,), exec_body=fill)


def _said_by_the_class(session_type: type[Session]) -> list[str]:
    """Return the names of a class's public attributes and class methods, its base classes' too."""
    return [
        name
        for name, value in inspect.getmembers_static(session_type)
        if not name.startswith("_")
        and (isinstance(value, classmethod | staticmethod) or not (callable(value) or isinstance(value, property)))
    ]


class Child:
    """The child process and both ends of its pipes; after `close`, nothing of them is left."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._timed_out = False
        self._in_step = True  # the last request was answered completely
        self._process = subprocess.Popen(
            python(START),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            start_new_session=True,  # so that Ctrl-C is not sent to it too
        )

    def ask(
        self, message: Setup | Request, arrays: Sequence[Array], outputs: Sequence[TensorSpec], timeout_s: float
    ) -> tuple[Reply, dict[str, Array]]:
        """Send a message and the arrays it announces, wait for the reply and its arrays.

        Args:
            message: what to do.
            arrays: of the message, in its order.
            outputs: the only arrays that may come back.
            timeout_s: for all of it; a child that needs longer is killed.

        Raises:
            ChildFailure: it reported an error, ended, took too long or sent what is no reply.
        """
        if not self._in_step:
            raise ChildFailure("its process has failed before; open a new session")
        self._in_step = False
        timer = threading.Timer(timeout_s, self._kill_late)
        timer.start()
        try:
            send(self._stdin, message, arrays)
            reply = receive(self._stdout, Reply)
            refuse_unexpected(reply.arrays, outputs)
            received = receive_arrays(self._stdout, reply.arrays)
        except (EOFError, OSError):
            self._process_ended()
            raise ChildFailure(self._how_it_ended(timeout_s)) from None
        except msgspec.MsgspecError:
            raise ChildFailure("its process sent what is no reply") from None
        finally:
            timer.cancel()
            timer.join()
        self._in_step = True
        if reply.error:
            raise ChildFailure(one_line(reply.error))
        return reply, received

    def close(self) -> None:
        """Let an idle child leave by itself, kill any other, and release the pipes; never raises, never waits long."""
        try:
            if self._in_step:
                with suppress(OSError):
                    self._stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(LEAVE_TIMEOUT_S)
        finally:
            self._in_step = False
            self._process.kill()
            self._process.wait()
            with suppress(OSError):
                self._stdin.close()
            self._stdout.close()
            self._log.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _kill_late(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _process_ended(self) -> None:
        """Wait for the end of a process whose pipe is closed, and make it come if it does not."""
        try:
            self._process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _how_it_ended(self, timeout_s: float) -> str:
        if self._timed_out:
            return f"no answer within {timeout_s:g} s, so its process was ended"
        self._log.seek(0)
        return f"its process {how_it_ended(self._process.returncode, self._log.read())}"


def refuse_unexpected(arrays: Sequence[TensorSpec], expected: Sequence[TensorSpec]) -> None:
    """Refuse announced arrays that are not those expected.

    Raises:
        ChildFailure: an unknown or repeated name, another type or shape, or more bytes than any classifier returns.
    """
    specs = {spec.name: spec for spec in expected}
    for array in arrays:
        spec = specs.pop(array.name, None)
        sizes = [size for size in array.shape if isinstance(size, int)]
        if spec is None or array.dtype != spec.dtype or sizes != list(array.shape) or not spec.accepts(tuple(sizes)):
            raise ChildFailure(f"its process announced {one_line(str(array))}, expected is {tuple(expected)}")
        if math.prod(sizes) * np.dtype(spec.dtype).itemsize > MAX_OUTPUT_BYTES:
            raise ChildFailure(f"its process announced {array.name!r} of shape {tuple(sizes)}, which is too large")
