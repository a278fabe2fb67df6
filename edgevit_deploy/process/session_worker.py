"""The child's side of `session_child`: the messages, and the loop that enters a session and answers requests.

A message is four bytes of length, that much JSON, decoded into a typed dataclass, and the raw bytes of the arrays that it
announces. Nothing is pickled.
"""

import importlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

import msgspec
import numpy as np

from edgevit_deploy.errors import DeployError
from edgevit_deploy.process.memory import peak_memory_bytes
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import TensorSpec
from edgevit_deploy.text import one_line

MAX_MESSAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message: which session ("module:Class") to enter on which file."""

    session: str
    path: str
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


M = TypeVar("M", Setup, Request, Reply)


def send(stream: IO[bytes], message: Setup | Request | Reply, arrays: Sequence[Array]) -> None:
    """Write a message and the arrays that it announces."""
    text = msgspec.json.encode(message)
    stream.write(len(text).to_bytes(4, "little") + text)
    for array in arrays:
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def receive(stream: IO[bytes], kind: type[M]) -> M:
    """Read one message.

    Raises:
        EOFError: the other end is closed.
        msgspec.MsgspecError: what came is no message of that kind.
    """
    length = int.from_bytes(read_exactly(stream, 4), "little")
    if length > MAX_MESSAGE_BYTES:
        raise msgspec.DecodeError("too long")
    return msgspec.json.decode(read_exactly(stream, length), type=kind)


def receive_arrays(stream: IO[bytes], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Read the raw arrays that a message announced, once it is known that they may come."""
    arrays = {}
    for spec in specs:
        shape = tuple(int(size) for size in spec.shape)
        content = read_exactly(stream, math.prod(shape) * np.dtype(spec.dtype).itemsize)
        arrays[spec.name] = np.frombuffer(content, spec.dtype).reshape(shape).copy()  # writable
    return arrays


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Read `size` bytes; EOFError when the other end is closed before that."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def describe(arrays: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
    """Return the name, shape and type of each array."""
    return tuple(TensorSpec(name=name, shape=array.shape, dtype=str(array.dtype)) for name, array in arrays.items())


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


def take_over_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return the child's stdin and stdout for messages alone; whatever a library prints goes to stderr from here on."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def make_session(setup: Setup) -> Session:
    """Import and construct the session that the parent named."""
    module, _, name = setup.session.partition(":")
    session_type: type[Session] = getattr(importlib.import_module(module), name)
    return session_type(Path(setup.path), inputs=setup.inputs, outputs=setup.outputs, threads=setup.threads)


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
