"""Sessions in a child process: whatever runs a file from outside runs there, and `isolated` puts any session there."""

import inspect
import os
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, ClassVar

from edgevit_deploy.errors import RunError
from edgevit_deploy.outside.text import one_line
from edgevit_deploy.process.child import ChildFailure, Interpreter
from edgevit_deploy.process.messages import describe
from edgevit_deploy.process.session_worker import Reply, Request, Setup
from edgevit_deploy.process.sysroot import UNDER_EMULATION, Sysroot
from edgevit_deploy.process.worker import Worker
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import DYNAMIC_BATCHES, Precision, TensorSpec, tensor_bytes

SERVE = "from edgevit_deploy.process.session_worker import serve; serve()"

BASE_MEMORY_BYTES = 4 << 30
MEMORY_PER_INPUT = 128
"""Chosen to be generous. Attention grows faster than the picture, so a very large one may need more; then the error names the
limit and what lifts it."""

FREE_SIDE = 1024
"""What a free height or width is taken for, in pixels."""


class ChildSession(Session):
    """Forwards to a session in a child process; `isolated` makes a subclass that names it.

    Whatever happens in the child ends in a RunError that names the file, the phase and the reason: an error of the runtime, a
    crash, or no answer in time. Ctrl-C in a terminal reaches only this process, which ends the child on the way out.
    """

    session: ClassVar[str]
    """The session that is entered in the child, as "module:Class"."""

    load_timeout_s: ClassVar[float] = 300.0
    run_timeout_s: ClassVar[float] = 180.0
    """For each run, and `image_timeout_s` more for each image: a picture takes a fraction of a second, or seconds on a busy
    machine; more than this is a hang."""

    image_timeout_s: ClassVar[float] = 10.0

    interpreter: ClassVar[Interpreter | None] = None
    """That runs the child; None for this one."""

    _child: Worker | None = None
    _peak_memory_bytes: int | None = None
    _cpu_time_ns: int | None = None

    def _load(self) -> None:
        setup = Setup(
            session=self.session,
            path=os.fsencode(self.path.absolute()),
            inputs=self.inputs,
            outputs=self.outputs,
            threads=self.threads,
        )
        try:
            self._child = Worker(SERVE, memory_limit_bytes(self.inputs) if self.memory_limited else None, self.interpreter)
        except ChildFailure as failure:
            raise RunError(f"{self.name} could not load {self.path.name}: {failure}") from None
        with ExitStack() as on_failure:
            on_failure.callback(self._unload)
            reply, _ = self._ask("load", setup, [], self.load_timeout_s)
            self.substitute = one_line(reply.substitute)
            on_failure.pop_all()

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        _, outputs = self._ask("run", Request(arrays=describe(feeds)), list(feeds.values()), self._timeout_s(feeds))
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
        reply, _ = self._ask("run", request, list(feeds.values()), self._timeout_s(feeds) * count)
        if len(reply.latencies_ms) != count:
            raise RunError(f"{self.name} ran {self.path.name} {len(reply.latencies_ms)} times, {count} were asked for")
        return list(reply.latencies_ms)

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...] | None:
        """Return what the session in the child says of each operation."""
        self._check_feeds(feeds)
        request = Request(arrays=describe(feeds), profiled_runs=runs)
        reply, _ = self._ask("profile", request, list(feeds.values()), self._timeout_s(feeds) * (1 + runs))
        return reply.ops

    def cpu_time_ns(self) -> int | None:
        """CPU time of the child as of its last answer."""
        return self._cpu_time_ns

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the child as of its last answer; None where the system does not tell."""
        return self._peak_memory_bytes

    def _timeout_s(self, feeds: Mapping[str, Array]) -> float:
        images = max((len(array) for array in feeds.values() if array.ndim), default=1)
        return self.run_timeout_s + self.image_timeout_s * images

    def _ask(
        self, task: str, message: Setup | Request, arrays: Sequence[Array], timeout_s: float
    ) -> tuple[Reply, dict[str, Array]]:
        assert self._child is not None
        try:
            reply, outputs = self._child.ask(message, arrays, Reply, self.outputs, timeout_s)
            if reply.error:
                raise ChildFailure(self._child.with_limit(one_line(reply.error)))
        except ChildFailure as failure:
            raise RunError(f"{self.name} could not {task} {self.path.name}: {failure}") from None
        self._peak_memory_bytes, self._cpu_time_ns = reply.peak_memory_bytes, reply.cpu_time_ns
        return reply, outputs


def memory_limit_bytes(inputs: Sequence[TensorSpec]) -> int:
    """Return how much memory a file may take that has these inputs: generous for any EdgeViT, and not the whole machine's."""
    free = {"batch": max(DYNAMIC_BATCHES)}
    shapes = [[axis if isinstance(axis, int) else free.get(axis, FREE_SIDE) for axis in spec.shape] for spec in inputs]
    return BASE_MEMORY_BYTES + MEMORY_PER_INPUT * sum(map(tensor_bytes, shapes))


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


@cache
def emulated(session_type: type[Session], location: str, sysroot: Sysroot) -> type[ChildSession]:
    """Return a session that runs another one in a child process of a sysroot's Python, and says so in its name.

    Args:
        session_type: the session to run there.
        location: of its class, as "module:Class".
        sysroot: that has what the session needs.
    """

    class EmulatedSession(isolated(session_type, location)):  # type: ignore[misc]
        """Takes its time, and claims none of it."""

        name = f"{session_type.name}, {UNDER_EMULATION}"
        executes_target = False
        interpreter = sysroot.interpreter
        load_timeout_s, run_timeout_s, image_timeout_s = 900.0, 900.0, 300.0

        @classmethod
        def probe(cls) -> Availability:
            """Say whether the sysroot has its packages."""
            missing = sysroot.without(cls.packages)
            return Availability(ok=not missing, detail=f"{', '.join(missing)} not in {sysroot.folder}" if missing else cls.name)

        @classmethod
        def executes(cls, precision: Precision) -> bool:  # noqa: ARG003
            """Say yes: what is executed instead is known after loading, not from the processor of this machine."""
            return True

    return EmulatedSession


def _said_by_the_class(session_type: type[Session]) -> list[str]:
    """Return the names of a class's public attributes and class methods, its base classes' too."""
    return [
        name
        for name, value in inspect.getmembers_static(session_type)
        if not name.startswith("_")
        and (isinstance(value, classmethod | staticmethod) or not (callable(value) or isinstance(value, property)))
    ]
