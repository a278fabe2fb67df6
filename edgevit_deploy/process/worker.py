"""A worker process: a child that is asked many times, with limits of time and memory, of which nothing is left afterwards.

The child is a fresh interpreter (`subprocess`, not `multiprocessing`: that would run the user's main script again, cannot when
it comes from stdin, and leaves a resource tracker and its pipe behind). Requests go down the child's stdin, replies come up its
stdout; everything else that the child prints goes to a scratch file, whose last line explains a crash.

The child may have handled a file from anywhere, so nothing that it says is unpickled: messages are JSON, decoded into typed
dataclasses, and the raw bytes of announced arrays, whose names, types, shapes and sizes are checked here before they are read.
"""

import math
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Protocol, TypeVar

import msgspec
import numpy as np

from edgevit_deploy.outside.text import one_line
from edgevit_deploy.process.child import ChildFailure, Interpreter, end_group, environment, how_it_ended, python
from edgevit_deploy.process.memory import address_space_note
from edgevit_deploy.process.messages import receive, receive_arrays, send
from edgevit_deploy.session import Array
from edgevit_deploy.spec import TensorSpec

BEGIN = "import sys; from edgevit_deploy.process.worker_side import begin; begin(*sys.argv[1:3]); "
MAX_OUTPUT_BYTES = 1 << 30
LEAVE_TIMEOUT_S = 10.0
MEMORY_VARIABLE = "EDGEVIT_DEPLOY_MEMORY_GIB"
OUT_OF_MEMORY = re.compile(r"bad_alloc|alloc|memory", re.IGNORECASE)


class Answer(Protocol):
    """What every reply says: which arrays follow."""

    @property
    def arrays(self) -> tuple[TensorSpec, ...]: ...  # noqa: D102


A = TypeVar("A", bound=Answer)


class Worker:
    """The child process and both ends of its pipes; after `close`, nothing of them is left.

    Args:
        serve: Python code that answers requests until its stdin is closed.
        memory_bytes: how much the child may allocate; None for any amount.
        interpreter: that runs it; this one when None.
    """

    def __init__(self, serve: str, memory_bytes: int | None, interpreter: Interpreter | None = None) -> None:
        self._memory_bytes = _wanted_memory(memory_bytes)
        self._log = _log_file()
        self._timed_out = False
        self._in_step = True  # the last request was answered completely
        theirs, self._lifeline = os.pipe()  # closed by the system when this process dies, however that happens
        descriptors = (theirs,) if os.name == "posix" else ()
        limits = (str(self._memory_bytes or 0), str(theirs) if descriptors else "-1")
        try:
            self._process = subprocess.Popen(
                python(BEGIN + serve, *limits, interpreter=interpreter),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment(interpreter),
                pass_fds=descriptors,
                start_new_session=True,  # so that Ctrl-C is not sent to it too, and what it starts can be ended with it
            )
        except OSError as error:
            os.close(self._lifeline)
            self._log.close()
            raise ChildFailure(f"its process cannot be started ({error.strerror})") from error
        finally:
            os.close(theirs)

    def ask(
        self, message: object, arrays: Sequence[Array], kind: type[A], outputs: Sequence[TensorSpec], timeout_s: float
    ) -> tuple[A, dict[str, Array]]:
        """Send a message and the arrays it announces, wait for the reply and its arrays.

        Args:
            message: what to do.
            arrays: of the message, in its order.
            kind: of the reply.
            outputs: the only arrays that may come back.
            timeout_s: for all of it; a child that needs longer is killed.

        Raises:
            ChildFailure: it ended, took too long or sent what is no reply.
        """
        if not self._in_step:
            raise ChildFailure("its process has failed before; open a new session")
        self._in_step = False
        timer = threading.Timer(timeout_s, self._kill_late)
        timer.start()
        try:
            send(self._stdin, message, arrays)
            reply = receive(self._stdout, kind)
            refuse_unexpected(reply.arrays, outputs)
            received = receive_arrays(self._stdout, reply.arrays)
        except (EOFError, OSError):
            self._process_ended()
            raise ChildFailure(self._how_it_ended(timeout_s)) from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise ChildFailure("its process sent what is no reply") from None
        finally:
            timer.cancel()
            timer.join()
        self._in_step = True
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
            self._kill()
            self._process.wait()
            with suppress(OSError):
                self._stdin.close()
            self._stdout.close()
            self._log.close()
            os.close(self._lifeline)

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._in_step and self._process.poll() is None

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _kill(self) -> None:
        """End the process and whatever it has started."""
        end_group(self._process)

    def _kill_late(self) -> None:
        self._timed_out = True
        self._kill()

    def _process_ended(self) -> None:
        """Wait for the end of a process whose pipe is closed, and make it come if it does not."""
        try:
            self._process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()

    def _how_it_ended(self, timeout_s: float) -> str:
        if self._timed_out:
            return f"no answer within {timeout_s:g} s, so its process was ended"
        self._log.seek(0)
        return self.with_limit(f"its process {how_it_ended(self._process.returncode, self._log.read())}")

    def with_limit(self, reason: str) -> str:
        """Say what the process's memory was limited to, where that may be why it failed."""
        if self._memory_bytes is None or not OUT_OF_MEMORY.search(reason) or address_space_note():
            return reason
        return f"{reason}; its memory is limited to {self._memory_bytes / 2**30:.3g} GiB, {MEMORY_VARIABLE}=N allows N GiB"


def _log_file() -> IO[bytes]:
    """Return a file for what a child prints: in memory where there is such a thing, so that no full disk stands in the way."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("child"), "w+b")
    return tempfile.TemporaryFile()


def _wanted_memory(size: int | None) -> int | None:
    """Return the limit in bytes: the user's, where the environment names one."""
    wanted = os.environ.get(MEMORY_VARIABLE, "")
    if size is None or not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 7 and int(wanted)):
        return size
    return int(wanted) << 30


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
