"""What an operator of MNN is told beside its weights: each field of its table of parameters, bit for bit.

So two files of one network can be compared without knowing what a field means. Where the weights are stored, and in which type,
is left out: that is what may differ.

Format: MNN 3.6.1, schema/default/CaffeOp.fbs, TensorflowOp.fbs, Tensor.fbs and UserDefine.fbs.
"""

from collections.abc import Iterator
from typing import Any

from flatbuffers.number_types import Uint8Flags, Uint32Flags
from numpy.typing import NDArray

from edgevit_deploy.outside.flat_table import FlatTable

Parameters = dict[str, int | NDArray[Any]]
"""The number of a field, with that of its table's before it where it is in an inner one -> its bits, or its list of bytes."""

WORD, BYTE, WORDS, BYTES, COMMON, STORE = "w", "b", "W", "B", "C", "-"
"""A field's kind: a number of 32 bits, of 8 bits, a list of either, the sizes of a convolution, and where weights are stored."""

FIELDS: dict[int, str] = {
    0: "",
    4: "w",
    6: "www",
    7: "Wb--------",
    8: "ww",
    9: "C-W----",
    17: "ww",
    19: "www",
    21: "Wwb",
    22: "wwwwwbbwwwbwww",
    25: "wbbWW",
    29: "W",
    31: "wwbwwwwbbwbWb",
    50: "bWwbw",
    51: "w",
    52: "ww",
    55: "Wb",
    58: "wWW-",
    61: "wWb",
    64: "W",
    65: "wwwwwwww",
    66: "bb",
    69: "w",
    70: "wwB",
    75: "wb",
    79: "WWWbbb",
    84: "b",
    88: "WwWWw-b",
}
"""Of each table that an operator's parameters may be, by its number in OpParameter: the kinds of its fields, in order."""

COMMON_FIELDS = "wwwwwwwwbwwwbbWWb"
"""Of Convolution2DCommon."""


def read_parameters(main: int, operator: FlatTable) -> Parameters:
    """Return the parameters of an operator, and its order of axes.

    Args:
        main: the number of its table of parameters.
        operator: its own table.

    Raises:
        ValueError: it has a field that this version of the schema does not.
    """
    found: Parameters = {"order": operator.number(6, Uint8Flags) if operator.has(6) else -1}
    if operator.has(2):
        found.update(_fields(operator.child(2), FIELDS[main], ""))
    return found


def _fields(table: FlatTable, kinds: str, prefix: str) -> Iterator[tuple[str, int | NDArray[Any]]]:
    for field in table.fields():
        kind, name = kinds[field : field + 1], f"{prefix}{field}"
        if not kind:
            raise ValueError(f"an operator has the parameter {name}, which no file of ours has")
        if kind == COMMON:
            yield from _fields(table.child(field), COMMON_FIELDS, f"{name}.")
        elif kind in (WORDS, BYTES):
            yield name, table.array(field, "u1" if kind == BYTES else "<u4").view("u1")
        elif kind != STORE:
            yield name, table.number(field, Uint8Flags if kind == BYTE else Uint32Flags)
