"""A `.tflite` file: its identifier, its one signature, what goes in and out of that, and what its operators are rounded by."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.identifier import IDENTIFIER as IDENTIFIER
from edgevit_deploy.formats.litert.identifier import check_identifier as check_identifier
from edgevit_deploy.spec import TensorSpec

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

SIGNATURE = "serving_default"
"""The only one that a file of ours has."""

ROUNDABLE = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators whose second input is a weight that may be rounded."""

OUTSIDE = (struct.error, TypeError, IndexError, ValueError, AttributeError)
"""What the library raises of a file whose tables point outside of it, or that lacks one: it has no verifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedOperator:
    """A convolution or a fully connected layer whose weights are in the file.

    Attributes:
        kind: one of `ROUNDABLE`.
        input: name of the tensor that it reads.
        output: name of the tensor that it writes.
        weights: (out, n) in PyTorch's order: float32, or int8 where it is rounded.
        scales: float32 (out,); None where it is not rounded.
    """

    kind: str
    input: str
    output: str
    weights: NDArray[Any]
    scales: NDArray[np.float32] | None


def find_signature(interpreter: "Interpreter") -> Any:
    """Return what runs the one signature of a loaded file.

    Raises:
        RunError: it has another one, none or several.
    """
    signatures = sorted(interpreter.get_signature_list())
    if signatures != [SIGNATURE]:
        raise RunError(f"it has the signatures {signatures}, expected [{SIGNATURE!r}]; convert it again")
    return interpreter.get_signature_runner(SIGNATURE)


def read_ends(details: Mapping[str, dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return what a signature says of its inputs or its outputs (`get_input_details`, `get_output_details`)."""
    return tuple(
        TensorSpec(name=name, shape=tuple(int(size) for size in detail["shape"]), dtype=detail["dtype"].__name__)
        for name, detail in details.items()
    )


def read_operators(path: Path) -> tuple[WeightedOperator, ...]:
    """Return the operators with weights of their own, in the order of execution.

    Raises:
        RunError: it is no `.tflite`, or damaged.
    """
    return _read(path).operators


def read_stored(path: Path) -> Stored:
    """Return what the operators of a file are rounded by.

    Raises:
        RunError: it is no `.tflite`, or damaged.
    """
    read = _read(path)
    rounded = [(operator.scales, operator.weights) for operator in read.operators]
    weights = tuple(StoredWeights(scales=scales, values=values) for scales, values in rounded if scales is not None)
    return Stored(activations=read.grids, weights=weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """The operators with weights, and scale and zero point of every computed tensor of int8."""

    operators: tuple[WeightedOperator, ...]
    grids: tuple[tuple[float, int], ...]


def _read(path: Path) -> _Content:
    from ai_edge_litert import schema_py_generated as schema

    check_identifier(path)
    content = path.read_bytes()
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
        (graph,) = model.subgraphs
        constants = [_constant(tensor, model.buffers[tensor.buffer], content) for tensor in graph.tensors]
        grids = [
            (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
            for tensor, constant in zip(graph.tensors, constants, strict=True)
            if tensor.type == schema.TensorType.INT8 and constant is None
        ]
        kinds = {getattr(schema.BuiltinOperator, kind): kind for kind in ROUNDABLE}
        found = [(kinds.get(model.operatorCodes[operator.opcodeIndex].builtinCode), operator) for operator in graph.operators]
        operators = [_weighted(kind, operator, graph.tensors, constants) for kind, operator in found if kind]
        return _Content(operators=tuple(operator for operator in operators if operator), grids=tuple(grids))
    except OUTSIDE as error:
        raise RunError(f"{path.name} is damaged: a table of it points outside of it; convert it again") from error


def _weighted(kind: str, operator: Any, tensors: list[Any], constants: list[NDArray[Any] | None]) -> WeightedOperator | None:
    source, weight = (int(place) for place in operator.inputs[:2])
    values = constants[weight]
    if values is None:
        return None
    return WeightedOperator(
        kind=kind,
        input=tensors[source].name.decode(),
        output=tensors[int(operator.outputs[0])].name.decode(),
        weights=_rows(kind, values),
        scales=np.asarray(tensors[weight].quantization.scale, np.float32) if values.dtype == np.int8 else None,
    )


def _constant(tensor: Any, buffer: Any, content: bytes) -> NDArray[Any] | None:
    """Return the constant of a tensor, None where it is computed or of a type that no weight of ours has.

    Its bytes are in the buffer's table or, as a quantiser writes them, behind all tables.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    dtypes: dict[int, np.dtype[Any]] = {TensorType.FLOAT32: np.dtype("<f4"), TensorType.INT8: np.dtype("i1")}
    dtype = dtypes.get(tensor.type)
    data = content[buffer.offset : buffer.offset + buffer.size] if buffer.offset else buffer.data
    return None if data is None or dtype is None else np.frombuffer(data, np.uint8).view(dtype).reshape(tensor.shape)


def _rows(kind: str, weights: NDArray[Any]) -> NDArray[Any]:
    """Bring weights to (out, n): they are (out, height, width, in), (1, height, width, out) or (out, in)."""
    axes = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), "FULLY_CONNECTED": (0, 1)}[kind]
    turned = weights.transpose(axes)
    return np.ascontiguousarray(turned).reshape(len(turned), -1)
