"""The Core AI operators that round to eight bits and back, and those that hold constants in eight bits.

See `runtimes.coreai.evaluation.operators` for what all of them have in common. The type that a result is rounded to is the
declared one, and offset1 has it.
"""

from typing import NoReturn

import torch
from torch import Tensor

from edgevit_deploy.dataflow import ints, not_implemented

INTEGERS = {torch.int8: (-128, 127), torch.uint8: (0, 255)}

TABLE = 256


def quantize(x: Tensor, scale: Tensor, offset1: Tensor, offset2: Tensor, axis: Tensor) -> Tensor:
    """Return (x - offset2) / scale, rounded half to even, plus offset1, and what lies beyond the type as its end."""
    if offset1.dtype not in INTEGERS:
        not_implemented("Core AI operator quantize", "type of offset1", offset1.dtype, ", ".join(map(str, INTEGERS)))
    steps = ((x - _along("quantize", offset2, x, axis)) / _along("quantize", scale, x, axis)).round()
    return (steps + _along("quantize", offset1, x, axis).float()).clamp(*INTEGERS[offset1.dtype])


def dequantize(x: Tensor, scale: Tensor, offset1: Tensor, offset2: Tensor, axis: Tensor) -> Tensor:
    """Return (x - offset1) * scale + offset2."""
    scale, offset1, offset2 = (_along("dequantize", values, x, axis).float() for values in (scale, offset1, offset2))
    return (x.float() - offset1) * scale + offset2


def blockwise_shift_scale(x: Tensor, scale: Tensor, offset1: Tensor, offset2: Tensor) -> Tensor:
    """Return (x - offset1) * scale + offset2; each number of these stands for a block of x, equal in every axis."""
    scale, offset1, offset2 = (_blocks("blockwise_shift_scale", values, x).float() for values in (scale, offset1, offset2))
    return (x.float() - offset1) * scale + offset2


def lut_to_dense(indices: Tensor, lut: Tensor, axis: Tensor) -> Tensor:  # noqa: ARG001 - of tables of vectors, these are of numbers
    """Return the values of one table, (1, ..., 1, 256, 1), at the indices."""
    known = (*[1] * indices.ndim, TABLE, 1)
    if tuple(lut.shape) != known:
        not_implemented(
            "Core AI operator lut_to_dense", "shape of lut", tuple(lut.shape), f"one table of {TABLE} numbers, {known}"
        )
    return lut.flatten()[indices.long()]


def _along(op: str, values: Tensor, x: Tensor, axis: Tensor) -> Tensor:
    """Return a scalar as it is, or a vector as long as one axis in a shape that broadcasts along it."""
    if values.ndim == 0:
        return values
    axes = ints(axis.flatten())
    if len(axes) != 1 or values.shape != (x.shape[axes[0]],):
        _refuse_shape(op, values, f"one number, or one for each entry of axis {axes}")
    return values.reshape([-1 if place == axes[0] % x.ndim else 1 for place in range(x.ndim)])


def _blocks(op: str, values: Tensor, x: Tensor) -> Tensor:
    if values.ndim != x.ndim or any(size % blocks for size, blocks in zip(x.shape, values.shape, strict=True)):
        _refuse_shape(op, values, f"divisors of {tuple(x.shape)}")
    for axis, size in enumerate(x.shape):
        values = values.repeat_interleave(size // values.shape[axis], axis)
    return values


def _refuse_shape(op: str, values: Tensor, known: str) -> NoReturn:
    not_implemented(f"Core AI operator {op}", "shape of scale or offset", tuple(values.shape), known)
