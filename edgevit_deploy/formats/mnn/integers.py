"""Activations in integers: to which steps MNN rounds a tensor, as a file says of the tensor and again of each rounded operator.

MNN goes by what is said of the tensors, and an operator that knows integers computes in them where all of its tensors have steps.
So a tensor that no rounded operator reads or writes must have none.

Format: MNN 3.6.1, schema/default/Tensor.fbs, MNN.fbs (TensorDescribe, TensorQuantInfo) and CaffeOp.fbs (QuantizedFloatParam).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from flatbuffers.number_types import Int8Flags, Int32Flags

from edgevit_deploy.formats.mnn.operators import DTYPES
from edgevit_deploy.outside.flat_table import FlatTable

LOWEST, HIGHEST, BITS = -128, 127, 8
"""What a field that is absent stands for, and the only numbers that are written here."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of one tensor: value = scale * (integer - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The steps that an operator says of its input and of its output."""

    input: Grid
    output: Grid


def read_grids(descriptions: Iterable[FlatTable]) -> dict[int, Grid]:
    """Return the steps of every tensor that has some, by its number.

    Raises:
        ValueError: a tensor is described twice, by something else, or is rounded otherwise than to 256 steps.
    """
    grids: dict[int, Grid] = {}
    for description in descriptions:
        place = description.number(1, Int32Flags)
        if place in grids or description.has(0) or description.has(3) or not description.has(4):
            raise ValueError(f"tensor {place} is described twice, or by more than its steps")
        steps = description.child(4)
        ends = (steps.real(2) if steps.has(2) else LOWEST, steps.real(3) if steps.has(3) else HIGHEST)
        if DTYPES.get(steps.number(4, Int32Flags)) != "int8" or ends != (LOWEST, HIGHEST):
            raise ValueError(f"tensor {place} is rounded to other numbers than {LOWEST} to {HIGHEST}")
        grids[place] = _grid(steps.real(0), steps.real(1))
    return grids


def read_ends(rounded: FlatTable, weights: FlatTable) -> Ends:
    """Return the steps that a convolution says of its ends.

    Args:
        rounded: its table QuantizedFloatParam.
        weights: its table IDSTQuan.

    Raises:
        ValueError: it has a second list of weights, a transform of Winograd's, or other than eight bits.
    """
    if any(len(rounded.array(field, "u1")) for field in (0, 1, 2, 3, 10, 12)):
        raise ValueError("a rounded operator has two lists of weights, or transformed ones")
    bits, lowest, highest = (
        rounded.number(field, kind) if rounded.has(field) else otherwise
        for field, kind, otherwise in ((5, Int32Flags, BITS), (8, Int8Flags, LOWEST), (9, Int8Flags, HIGHEST))
    )
    if (rounded.number(4, Int8Flags), bits, lowest, highest) != (0, BITS, LOWEST, HIGHEST):
        raise ValueError(f"an operator is rounded in another way, or to other numbers than {LOWEST} to {HIGHEST}")
    return Ends(
        input=_grid(weights.real(5), rounded.number(6, Int8Flags)), output=_grid(weights.real(6), rounded.number(7, Int8Flags))
    )


def check_grids(grids: dict[int, Grid], operators: Iterable[tuple[str, tuple[int, ...], tuple[int, ...], Ends]]) -> None:
    """Hold what is said of tensors against what rounded operators say of their ends.

    Args:
        grids: of tensors.
        operators: name, tensors read, tensors written and ends of each that is rounded.

    Raises:
        ValueError: the two differ, or a tensor has steps that no rounded operator reads or writes.
    """
    said: set[int] = set()
    for name, inputs, outputs, ends in operators:
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"{name} is rounded and has several inputs or outputs")
        if (grids.get(inputs[0]), grids.get(outputs[0])) != (ends.input, ends.output):
            raise ValueError(f"{name} has other steps than its tensors")
        said |= {inputs[0], outputs[0]}
    if idle := grids.keys() - said:
        raise ValueError(f"tensor {min(idle)} is rounded, and no rounded operator reads or writes it")


def _grid(scale: float, zero_point: float) -> Grid:
    if not (math.isfinite(scale) and scale > 0) or zero_point not in range(LOWEST, HIGHEST + 1):
        raise ValueError(f"a tensor has the scale {scale:.6g} and the zero point {zero_point:.6g}")
    return Grid(scale, int(zero_point))
