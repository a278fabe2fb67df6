"""The child's side of `session_child`: what is said, and the loop that enters a session and answers requests."""

import importlib
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from edgevit_deploy.errors import DeployError
from edgevit_deploy.outside.text import one_line
from edgevit_deploy.process.memory import peak_memory_bytes
from edgevit_deploy.process.messages import describe, receive, receive_arrays, send
from edgevit_deploy.process.worker_side import take_over_pipes
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message: which session ("module:Class") to enter on which file."""

    session: str
    path: bytes  # a name need not be UTF-8, JSON is
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Run on the arrays that follow: once for the outputs, `timed_runs` times for latencies, or as often for a profile."""

    arrays: tuple[TensorSpec, ...]
    timed_runs: int = 0
    profiled_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a `Setup` or a `Request`; `error` is one line, and then nothing else is there."""

    error: str = ""
    arrays: tuple[TensorSpec, ...] = ()
    latencies_ms: tuple[float, ...] = ()
    ops: tuple[OpTime, ...] | None = None
    cpu_time_ns: int | None = None
    peak_memory_bytes: int | None = None
    substitute: str = ""


def serve() -> None:
    """Be the child: enter the session, answer requests until the parent closes the pipe, leave the session."""
    requests, replies = take_over_pipes()
    with ExitStack() as resources, suppress(EOFError, BrokenPipeError):
        setup = receive(requests, Setup)
        try:
            session = resources.enter_context(make_session(setup))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer
            send(replies, Reply(error=explain(error)), [])
            return
        send(replies, used(Reply(substitute=session.substitute)), [])
        while True:
            request = receive(requests, Request)
            feeds = receive_arrays(requests, request.arrays)
            try:
                reply, arrays = perform(session, request, feeds)
            except Exception as error:  # noqa: BLE001 - as above
                reply, arrays = Reply(error=explain(error)), []
            send(replies, used(reply), arrays)


def make_session(setup: Setup) -> Session:
    """Import and construct the session that the parent named, in the folder of its file: libraries take names in UTF-8 only."""
    path = Path(os.fsdecode(setup.path))
    os.chdir(path.parent)
    module, _, name = setup.session.partition(":")
    session_type: type[Session] = getattr(importlib.import_module(module), name)
    return session_type(Path(path.name), inputs=setup.inputs, outputs=setup.outputs, threads=setup.threads)


def perform(session: Session, request: Request, feeds: Mapping[str, Array]) -> tuple[Reply, list[Array]]:
    """Do what a request asks for."""
    if request.timed_runs:
        return Reply(latencies_ms=tuple(session.time_runs(feeds, request.timed_runs))), []
    if request.profiled_runs:
        return Reply(ops=session.profile(feeds, request.profiled_runs)), []
    outputs = session.run(feeds)
    return Reply(arrays=describe(outputs)), list(outputs.values())


def used(reply: Reply) -> Reply:
    """Add to a reply what this process has used so far."""
    return replace(reply, cpu_time_ns=time.process_time_ns(), peak_memory_bytes=peak_memory_bytes())


def explain(error: Exception) -> str:
    """Return an error as one line: our own ones speak for themselves, others need their type."""
    return one_line(str(error) if isinstance(error, DeployError) else f"{type(error).__name__}: {error}")
