"""What a worker says of a file that it read, as raw arrays and JSON: the file may be from anywhere, so nothing is unpickled."""

from typing import Any

import msgspec
import numpy as np

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError
from edgevit_deploy.session import Array
from edgevit_deploy.spec import TensorSpec
from edgevit_deploy.spec.description import Description

STORED = (
    TensorSpec(name="activations", shape=("grids", 2), dtype="float64"),
    TensorSpec(name="scales", shape=("scales",), dtype="float32"),
    TensorSpec(name="values", shape=("values",), dtype="int8"),
    TensorSpec(name="sizes", shape=("operators", 3), dtype="int64"),
)
"""The arrays by which a rounding travels; `sizes` says of each operator how many scales, rows and columns it has."""


def pack_stored(stored: Stored) -> dict[str, Array]:
    """Return a rounding as the arrays of `STORED`, without those that would be empty."""
    weights = stored.weights
    sizes = [(each.scales.size, *each.values.shape) for each in weights]
    arrays = {
        "activations": np.array(stored.activations, np.float64).reshape(-1, 2),
        "scales": np.concatenate([np.empty(0, np.float32), *(each.scales.ravel() for each in weights)]),
        "values": np.concatenate([np.empty(0, np.int8), *(each.values.ravel() for each in weights)]),
        "sizes": np.array(sizes, np.int64).reshape(-1, 3),
    }
    return {name: array for name, array in arrays.items() if array.size}


def unpack_stored(arrays: dict[str, Array]) -> Stored:
    """Return the rounding that arrays of these names, types and ranks hold.

    Raises:
        RunError: they do not fit each other.
    """
    activations, scales, values, sizes = (arrays.get(spec.name, np.empty(0, spec.dtype)) for spec in STORED)
    weights, scale, value = list[StoredWeights](), 0, 0
    for count, rows, columns in sizes.tolist():
        ends = scale + count, value + rows * columns
        if min(count, rows, columns) < 0 or ends[0] > scales.size or ends[1] > values.size:
            break
        weights.append(StoredWeights(scales=scales[scale : ends[0]], values=values[value : ends[1]].reshape(rows, columns)))
        scale, value = ends
    if len(weights) < len(sizes) or (scale, value) != (scales.size, values.size):
        raise RunError("what it rounds by is of other sizes than it says; convert again")
    if not all(zero_point.is_integer() for _, zero_point in activations.tolist()):
        raise RunError("it rounds by a zero point that is no whole number; convert again")
    return Stored(activations=tuple((step, int(zero_point)) for step, zero_point in activations.tolist()), weights=tuple(weights))


def unpack_description(said: Any) -> Description | None:
    """Return the description that a JSON document holds.

    Raises:
        RunError: it is none; numbers that are not finite have no place in JSON.
    """
    try:
        return msgspec.convert(said, type=Description | None)
    except msgspec.MsgspecError as error:
        raise RunError(f"what it says of its pixels and classes cannot be taken ({error}); convert again") from error
