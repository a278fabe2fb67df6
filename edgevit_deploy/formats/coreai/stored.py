"""By what the program of a Core AI asset rounds: grids of activations, and weights in eight bits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.coreai import LOADER_ERRORS, load_program
from edgevit_deploy.formats.coreai.program import Graph, Operation

TABLE_MIDDLE = 128
WEIGHTS = ("blockwise_shift_scale", "lut_to_dense")
"""Operations whose result is a constant that is stored in eight bits."""

INTEGERS = ("quantize", "dequantize")


def read_stored(asset: Path) -> Stored:
    """Read by what a written asset rounds; weights in the order (out, n).

    Raises:
        RunError: it cannot be read, or rounds in a way that is never written here.
    """
    graph = load_program(asset).main
    try:
        return Stored(
            activations=tuple(_grid(graph, operation) for operation in graph.operations if operation.kind in INTEGERS),
            weights=tuple(_weights(graph, operation) for operation in graph.operations if operation.kind in WEIGHTS),
        )
    except LOADER_ERRORS as error:
        raise RunError(f"{asset.name}: what it rounds by cannot be read ({first_line(error)}); convert again") from error


def readers_of_eight_bits(graph: Graph) -> Iterator[Operation]:
    """Yield the operations that multiply by a weight in eight bits."""
    rounded = {operation.results[0].key for operation in graph.operations if operation.kind in WEIGHTS}
    for operation in graph.operations:
        if operation.kind == "transpose" and operation.operands[0] in rounded:
            rounded.add(operation.results[0].key)  # of a linear map
        elif operation.kind in ("conv2d", "broadcasting_batch_matmul") and operation.operands[1] in rounded:
            yield operation


def producer(graph: Graph, key: str) -> Operation | None:
    """Return the operation that a value comes from, behind what only moves or casts its elements; of an input, None."""
    by_result = {result.key: operation for operation in graph.operations for result in operation.results}
    found = by_result.get(key)
    while found is not None and found.kind in ("reshape", "transpose", "pad", "cast"):
        found = by_result.get(found.operands[0])
    return found


def _constant(graph: Graph, key: str) -> NDArray[Any]:
    """Return a constant, behind a reshape.

    Raises:
        ValueError: it is computed.
    """
    for operation in graph.operations:
        if operation.results and operation.results[0].key == key:
            if operation.kind == "reshape":
                return _constant(graph, operation.operands[0])
            if operation.constant is not None:
                return operation.constant
    raise ValueError("a step or an integer is computed")


def _grid(graph: Graph, operation: Operation) -> tuple[float, int]:
    scale, offset1, offset2 = (_constant(graph, key) for key in operation.operands[1:4])
    if scale.size != 1 or np.any(offset2):
        raise ValueError(f"{operation.kind} has more than one step, or a second offset")
    return float(scale.item()), int(offset1.item())


def _weights(graph: Graph, operation: Operation) -> StoredWeights:
    values = [_constant(graph, key) for key in operation.operands]
    scales, integers = values[1], values[0].astype(np.int16)
    if operation.kind == "lut_to_dense":
        integers = integers - TABLE_MIDDLE
    elif np.any(values[2]) or np.any(values[3]):
        raise ValueError("a weight has a zero point")
    return StoredWeights(scales=scales.astype(np.float32).flatten(), values=integers.astype(np.int8).reshape(len(integers), -1))
