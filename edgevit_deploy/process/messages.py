"""Messages between this process and a child: typed JSON and raw arrays, nothing that could be unpickled.

A message is four bytes of length, that much JSON, decoded into a typed dataclass, and the raw bytes of the arrays that it
announces.
"""

import math
from collections.abc import Mapping, Sequence
from typing import IO, TypeVar

import msgspec
import numpy as np

from edgevit_deploy.session import Array
from edgevit_deploy.spec import TensorSpec

MAX_MESSAGE_BYTES = 4 << 20

M = TypeVar("M")


def send(stream: IO[bytes], message: object, arrays: Sequence[Array]) -> None:
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
