"""The constants of an `.mnn`: in what they are stored, whether there are as many as their operator reads, and int8 weights.

MNN believes an operator's sizes and reads its lists to that length, so they are counted before it does. Rounded weights are in
a list of bytes: their shape, a table of all 256 values in order, and each weight as its place in that table.

Format: MNN 3.6.1, schema/default/CaffeOp.fbs and Tensor.fbs, source/core/IDSTEncoder.hpp.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from flatbuffers.number_types import Int32Flags, Uint8Flags
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import StoredWeights
from edgevit_deploy.formats.mnn.integers import Ends, read_ends
from edgevit_deploy.formats.mnn.operators import DTYPES, TRANSPOSED
from edgevit_deploy.outside.flat_table import FlatTable

Storage = Literal["float32", "float16", "int8"]

HALF, ROUNDED = 3, 1
"""Of IDSTQuan's `type`: what a list of bytes holds."""

MAX_AXES = 8

BITS = 8
TABLE = np.arange(-128, 128, dtype=np.int8).tobytes()
"""Every value of eight bits, in order; its length is stored in a byte, as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A list of numbers where it lies in the file.

    Attributes:
        storage: their type.
        values: float32 or float16 numbers, or int8 in rows of one output channel each.
        scales: float32, of each row of int8 numbers.
        ends: the steps of the operator's input and output, where these are rounded too.
    """

    storage: str
    values: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    ends: Ends | None = None

    def stored(self) -> StoredWeights:
        """Return int8 weights with their scales."""
        assert self.scales is not None
        return StoredWeights(scales=self.scales, values=self.values)


def read_weights(kind: str, parameters: FlatTable) -> Constant:
    """Return the weights of a convolution.

    Raises:
        ValueError: they are more or fewer than its sizes say, in another file, or stored in a way that is never written here.
    """
    common = parameters.child(0)
    outputs, inputs, group, width, height = (common.number(field, Int32Flags) for field in (10, 11, 9, 2, 3))
    if min(outputs, inputs, group, width, height) < 1 or (outputs if kind in TRANSPOSED else inputs) % group:
        raise ValueError(f"{kind} has the sizes {outputs}, {inputs}, {group}, {height} x {width}")
    refuse_elsewhere(parameters, 6)
    if biases := len(parameters.array(2, "<f4")):
        expect(kind, "biases", biases, outputs)
    if parameters.has(5):
        raise ValueError(f"{kind} has a sparse product")
    count = outputs * inputs // group * width * height
    if not parameters.has(3):
        if parameters.has(4):
            raise ValueError(f"{kind} has activations in integers, and weights that are not")
        values = parameters.array(1, "<f4")
        expect(kind, "weights", len(values), count)
        return Constant(storage="float32", values=values)
    expect(kind, "weights", len(parameters.array(1, "<f4")), 0)
    constant = _read_stored(kind, parameters.child(3), count, outputs)
    if not parameters.has(4):
        return constant
    if constant.storage != "int8":
        raise ValueError(f"{kind} has activations in integers, and weights that are not")
    return replace(constant, ends=read_ends(parameters.child(4), parameters.child(3)))


def _read_stored(kind: str, stored: FlatTable, count: int, outputs: int) -> Constant:
    """Read weights that are not float32."""
    content = stored.array(0, "u1")
    how = stored.number(2, Int32Flags)
    if how == HALF:
        expect(kind, "bytes of weights", len(content), 2 * count)
        return Constant(storage="float16", values=content.view("<f2"))
    if how != ROUNDED or stored.number(7, Int32Flags) != BITS or stored.number(14, Uint8Flags):
        raise ValueError(f"{kind} has weights of another kind than float32, float16 and int8")
    if len(content) < count:  # so that none of its sizes is beyond what a head can say
        raise ValueError(f"{kind} has {len(content)} bytes of weights, its sizes say {count}")
    scales = stored.array(1, "<f4")
    expect(kind, "scales", len(scales), outputs)
    head = _head((outputs, count // outputs), wide=bool(stored.number(11, Uint8Flags)))
    expect(kind, "bytes of weights", len(content), len(head) + count)
    if content[: len(head)].tobytes() != head:
        raise ValueError(f"{kind} has weights of another shape than its sizes say, or with a table of its own")
    places = content[len(head) :].reshape(outputs, -1)
    return Constant(storage="int8", values=(places ^ np.uint8(128)).view(np.int8), scales=scales)


def _head(shape: tuple[int, int], *, wide: bool) -> bytes:
    sizes = np.array(shape, "<u4" if wide else "<u2").tobytes() if wide or max(shape) < 2**16 else b""
    return bytes([len(shape)]) + sizes + bytes([len(TABLE) % 256]) + TABLE


def read_constant(parameters: FlatTable) -> tuple[tuple[int, ...], Constant]:
    """Return the shape and the numbers of a constant.

    Raises:
        ValueError: there are more or fewer than its shape says, they are in another file, or of a type or with more axes than
            any network has.
    """
    refuse_elsewhere(parameters, 8)
    shape = read_shape(parameters, 0)
    dtype = DTYPES.get(parameters.number(2, Int32Flags), "")
    fields = {"float32": (7, "<f4"), "float16": (3, "<f2"), "int32": (5, "<i4"), "uint8": (3, "u1")}
    if dtype not in fields or any(size < 0 for size in shape):
        raise ValueError(f"a constant has the type {dtype or 'of no network'} and the shape {shape}")
    field, numbers = fields[dtype]
    values = parameters.array(field, "u1").view(numbers) if dtype == "float16" else parameters.array(field, numbers)
    expect("Const", "numbers", len(values), math.prod(shape))
    return shape, Constant(storage=dtype, values=values)


def read_shape(parameters: FlatTable, field: int) -> tuple[int, ...]:
    """Return the sizes of a tensor.

    Raises:
        ValueError: it has more axes than any here.
    """
    sizes = parameters.array(field, "<i4")
    if len(sizes) > MAX_AXES:
        raise ValueError(f"a tensor has {len(sizes)} axes, expected at most {MAX_AXES}")
    return tuple(int(size) for size in sizes)


def refuse_elsewhere(parameters: FlatTable, field: int) -> None:
    """Refuse numbers that lie in another file.

    Raises:
        ValueError: a field says where.
    """
    if len(parameters.array(field, "<i8")):
        raise ValueError("it has weights in another file")


def expect(kind: str, what: str, found: int, expected: int) -> None:
    """Refuse another number of something than an operator reads.

    Raises:
        ValueError: with both numbers.
    """
    if found != expected:
        raise ValueError(f"{kind} has {found} {what}, its sizes say {expected}")
