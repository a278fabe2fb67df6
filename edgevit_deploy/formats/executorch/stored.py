"""What the integers of a `.pte` are rounded by: read from XNNPACK's own graph, which is each delegate's data.

A delegate's data are a header, a FlatBuffer with the graph, and no constants: those are segments of the program, named after the
SHA-256 of their bytes. Formats: ExecuTorch 1.5, schema/program.fbs and backends/xnnpack/serialization/schema.fbs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flatbuffers.number_types import Int32Flags, Uint8Flags, Uint16Flags, Uint32Flags

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.executorch import MAX_PROGRAM_BYTES, split
from edgevit_deploy.outside.flat_table import DAMAGED, FlatTable, TooManyError

XNNPACK_HEADER = struct.Struct("<4x4sHIIIQ")
XNNPACK_MAGIC = b"XH00"

SEGMENT = 1
"""Of the enumeration DataLocation; the other is in the program's own FlatBuffer."""

FILTERS = {2: 1, 7: 16, 13: 16}
"""Of the union XNodeUnion, fully connected, convolution and depthwise convolution: in which field each names its weights."""

QUANTISED_VALUE = 2
PER_CHANNEL, PER_TENSOR = 1, 2
"""Of the unions XValueUnion and XNNQuantParams."""

INT8, INT8_PER_CHANNEL = 3, 6
"""Of the enumeration XNNDatatype."""


def read_stored(path: Path) -> Stored:
    """Return what the operators of a program are rounded by.

    Raises:
        RunError: it is no program, or damaged.
    """
    program, data = split(path.name, path.read_bytes())
    try:
        found = [_graph(graph, constants) for graph, constants in _delegates(program, data)]
    except (*DAMAGED, TooManyError, KeyError, ValueError) as error:
        raise RunError(f"{path.name} is damaged: a table of its program points outside of it; convert it again") from error
    return Stored(
        activations=tuple(grid for stored in found for grid in stored.activations),
        weights=tuple(weights for stored in found for weights in stored.weights),
    )


def _delegates(program: bytes, data: bytes) -> Iterator[tuple[FlatTable, dict[str, bytes]]]:
    """Yield the graph of each delegate, and all constants by their names."""
    root = FlatTable.root(program)
    segments = [data[(start := segment.number(0)) : start + segment.number(1)] for segment in root.children(4)]
    constants = {named.text(0): segments[named.number(1, Uint32Flags)] for named in root.children(7)}
    for delegate in root.children(1)[0].children(7):
        where = delegate.child(1)
        place = where.number(1, Uint32Flags)
        inside = where.number(0, Uint8Flags) != SEGMENT
        content = root.children(3)[place].content(0, MAX_PROGRAM_BYTES) if inside else segments[place]
        magic, _, start, length, *_ = XNNPACK_HEADER.unpack_from(content)
        if magic != XNNPACK_MAGIC:
            raise ValueError(magic)
        yield FlatTable.root(content[start : start + length]), constants


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A value of a graph that is quantised."""

    tensor: FlatTable
    kind: int
    parameters: FlatTable

    @property
    def datatype(self) -> int:
        return self.tensor.number(0, Uint16Flags)


def _graph(graph: FlatTable, constants: dict[str, bytes]) -> Stored:
    values = {value.tensor.number(6, Uint32Flags): value for value in _quantised(graph)}
    names = [constant.text(2) for constant in graph.children(8)]
    grids = [
        (value.parameters.real(0), value.parameters.number(1, Int32Flags))
        for value in values.values()
        if value.kind == PER_TENSOR and value.datatype == INT8
    ]
    filters = [values[node] for node in _filters(graph) if node in values]
    weights = [_weights(value, names, constants) for value in filters if value.datatype == INT8_PER_CHANNEL]
    return Stored(activations=tuple(grids), weights=tuple(weights))


def _quantised(graph: FlatTable) -> Iterator[_Value]:
    for value in graph.children(2):
        if value.number(0, Uint8Flags) == QUANTISED_VALUE:
            held = value.child(1)
            yield _Value(tensor=held.child(0), kind=held.number(1, Uint8Flags), parameters=held.child(2))


def _filters(graph: FlatTable) -> Iterator[int]:
    """Yield the number of the value that holds the weights of each operator that has some."""
    for node in graph.children(1):
        if field := FILTERS.get(node.number(0, Uint8Flags)):
            yield node.child(1).number(field, Uint32Flags)


def _weights(value: _Value, names: list[str], constants: dict[str, bytes]) -> StoredWeights:
    """Return weights as (out, n); which of their axes is out, their parameters say."""
    parameters = value.parameters
    integers = constants[names[value.tensor.number(3, Uint32Flags)]]
    scales = constants[names[parameters.number(2, Uint32Flags)]]
    turned = np.moveaxis(np.frombuffer(integers, "i1").reshape(value.tensor.numbers(2)), parameters.number(1, Int32Flags), 0)
    return StoredWeights(
        scales=np.frombuffer(scales, "<f4")[: parameters.number(3, Uint32Flags)], values=turned.reshape(len(turned), -1)
    )
