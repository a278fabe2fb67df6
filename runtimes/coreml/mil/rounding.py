"""The MIL operators that round to eight bits and back, and those that hold constants in eight bits.

See `runtimes.coreml.mil.ops` for what all of them have in common. Integers of eight bits are tensors of their own type; scales
and results are float32, as everywhere here.
"""

import torch
from torch import Tensor

from runtimes.coreml.mil.operands import Operand, ints, refuse

INTEGERS = {"int8": (-128, 127), "uint8": (0, 255)}

TABLE = 256


def quantize(
    *,
    input: Tensor,  # noqa: A002 - MIL's own name
    scale: Operand,
    output_dtype: str,
    zero_point: Operand | None = None,
    axis: int | None = None,
) -> Tensor:
    """Return input / scale, rounded half to even, plus the zero point, and what lies beyond the type as its end."""
    if output_dtype not in INTEGERS:
        refuse("quantize", "output_dtype", output_dtype, ", ".join(INTEGERS))
    steps = (input / _along("quantize", scale, input, axis)).round()
    return (steps + _along("quantize", 0 if zero_point is None else zero_point, input, axis)).clamp(*INTEGERS[output_dtype])


def dequantize(
    *,
    input: Tensor,  # noqa: A002 - MIL's own name
    scale: Operand,
    zero_point: Operand | None = None,
    axis: int | None = None,
) -> Tensor:
    """Return scale * (input - zero_point)."""
    shifted = input.float() - _along("dequantize", 0 if zero_point is None else zero_point, input, axis)
    return _along("dequantize", scale, input, axis) * shifted


def constexpr_affine_dequantize(*, quantized_data: Tensor, zero_point: Operand, scale: Operand, axis: int) -> Tensor:
    """Return scale * (quantized_data - zero_point); a vector belongs to the axis."""
    return dequantize(input=quantized_data, scale=scale, zero_point=zero_point, axis=axis)


def constexpr_blockwise_shift_scale(*, data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Return scale * (data - offset); each number of scale and offset stands for a block of data, equal in every axis."""
    shifted = data.float() if offset is None else data.float() - _blocks("offset", offset, data)
    return _blocks("scale", scale, data) * shifted


def constexpr_lut_to_dense(
    *,
    indices: Tensor,
    lut: Tensor,
    shape: Tensor | None = None,
    vector_axis: int | None = None,  # noqa: ARG001 - of tables of vectors, and these are of numbers
) -> Tensor:
    """Return the table's values at the indices, which are whole bytes of one table.

    Up to iOS 17 the indices are a vector and a shape is given; from iOS 18 on they have the result's shape, and the table has two
    axes more: (1, ..., 1, 256, 1).
    """
    known = (TABLE,) if shape is not None else (*[1] * indices.ndim, TABLE, 1)
    if tuple(lut.shape) != known:
        refuse("constexpr_lut_to_dense", "shape of lut", tuple(lut.shape), f"one table of {TABLE} numbers, {known}")
    values = lut.flatten()[indices.long()]
    return values if shape is None else values.reshape(ints(shape))


def _along(op: str, values: Operand, x: Tensor, axis: int | None) -> Tensor:
    """Return a scalar as it is, or a vector as long as an axis in a shape that broadcasts along it."""
    vector = torch.as_tensor(values, dtype=torch.float32)
    if vector.ndim == 0:
        return vector
    if axis is None or vector.shape != (x.shape[axis],):
        refuse(op, "shape of scale or zero_point", tuple(vector.shape), f"one number, or one for each entry of axis {axis}")
    return vector.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def _blocks(name: str, values: Tensor, data: Tensor) -> Tensor:
    if values.ndim != data.ndim or any(size % blocks for size, blocks in zip(data.shape, values.shape, strict=True)):
        refuse("constexpr_blockwise_shift_scale", f"shape of {name}", tuple(values.shape), f"divisors of {tuple(data.shape)}")
    for axis, size in enumerate(data.shape):
        values = values.repeat_interleave(size // values.shape[axis], axis)
    return values.float()
