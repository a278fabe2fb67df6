"""A `.onnx` file: one protobuf message with everything inside, what goes in and out of it, and which operators it has.

ONNX Runtime's own format for the same is in `ort.py`.

Also what the exporter and the runtime must both know of ONNX Runtime, which judges the file and runs it.
"""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.onnx.ort import OrtModel, by_channel, is_ort, read_ort, stored_in
from edgevit_deploy.spec import TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

SILENT = 4
"""ONNX Runtime's severity `fatal`: its errors are raised; it need not print them as well."""

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
"""What marks a value that is rounded to integers, or to E4M3 numbers: to them, and back."""

E4M3 = "float8_e4m3fn"
"""What onnx calls the type of such numbers in an array."""

UNREADABLE = (KeyError, ValueError, TypeError, IndexError)
"""What onnx and NumPy raise of a constant of an unknown type, or with more or fewer bytes than its shape has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """The bytes of a file, and what ONNX Runtime must be told to load them: name of a setting -> its value."""

    data: bytes
    settings: dict[str, str]


def read_onnx(path: Path) -> OnnxFile:
    """Read a file whole and refuse it if weights of it lie elsewhere: a foreign bundle must not make us open other files.

    The bytes that were looked at here are those that run. Of which format they are, they say themselves, as for ONNX Runtime.

    Raises:
        RunError: it cannot be read, is no ONNX, or names another file.
    """
    data, model = _read(path)
    return OnnxFile(data=data, settings={} if isinstance(model, OrtModel) else settings_for(model))


def _read(path: Path) -> "tuple[bytes, ModelProto | OrtModel]":
    """Return the bytes of a file and what they say, for `read_onnx` and `read_stored`; a large file is not parsed twice."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        data = path.read_bytes()
        if is_ort(data):
            return data, read_ort(data, path.name)
        model = onnx.load_model_from_string(data)
    except (OSError, DecodeError) as error:
        raise RunError(f"{path.name} cannot be read ({first_line(error)}); convert again") from error
    for name in outside(model):
        raise RunError(f"{path.name} keeps {name!r} in another file, which is never read; embed the weights")
    return data, model


def settings_for(model: "ModelProto") -> dict[str, str]:
    """Return what ONNX Runtime must be told to load a model: that roundings to E4M3 are not to be fused with a product.

    Its CPU computes QuantizeLinear and DequantizeLinear of the type, and its optimiser makes integer operators of those around a
    MatMul or Gemm, which it then refuses as of a wrong type (microsoft/onnxruntime#22269; so is 1.31).
    """
    from onnx import TensorProto

    rounds = any(tensor.data_type == TensorProto.FLOAT8E4M3FN for tensor in model.graph.initializer)
    return {"session.disable_quant_qdq": "1"} if rounds else {}


def outside(model: "ModelProto") -> Iterator[str]:
    """Yield the name of every tensor whose values lie in another file."""
    from onnx import TensorProto

    return (tensor.name for tensor in _tensors(model) if tensor.data_location == TensorProto.EXTERNAL)


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every TensorProto at any depth of a protobuf message: initialisers, attributes, subgraphs, functions."""
    if message.DESCRIPTOR.full_name == "onnx.TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(child)


def read_ends(values: "Sequence[ValueInfoProto]") -> tuple[TensorSpec, ...]:
    """Return what a graph says of its inputs or its outputs; a free axis has its name, and one without a name is 0."""
    return tuple(_read_end(value) for value in values)


def _read_end(value: "ValueInfoProto") -> TensorSpec:
    from onnx import helper

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return TensorSpec(name=value.name, shape=(), dtype=str(kind))
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, shape=shape, dtype=str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))


def count_operators(graph: "GraphProto") -> dict[str, int]:
    """Count the nodes of each operator type, in alphabetical order."""
    return dict(sorted(collections.Counter(node.op_type for node in graph.node).items()))


def read_stored(path: Path) -> Stored:
    """Read what a quantised file rounds by: the grid of every activation, and every weight that is stored in eight bits.

    Raises:
        RunError: it cannot be read, or rounds in a way that is never written here.
    """
    _, model = _read(path)
    if isinstance(model, OrtModel):
        return stored_in(model, path.name)
    return _stored_in(model.graph, path.name)


def _stored_in(graph: "GraphProto", name: str) -> Stored:
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    if len(constants) < len(graph.initializer):
        raise RunError(f"{name} has two constants with one name; do not use this file")
    values = cache(lambda constant: numpy_helper.to_array(constants[constant]))  # once, however many operators read it
    rows = cache(lambda constant, axis: by_channel(values(constant), axis))
    activations: list[tuple[float, int]] = []
    weights: list[StoredWeights] = []
    types: set[str] = set()
    for node in (node for node in graph.node if node.op_type in (QUANTIZE, DEQUANTIZE)):
        if len(node.input) != 3 or any(constant not in constants for constant in node.input[1:]):
            raise RunError(f"{name}: {node.op_type} {node.name} has no constant scale and zero point; convert again")
        try:
            scale, zero_point = (values(constant) for constant in node.input[1:])
            types.add(str(zero_point.dtype))
            if node.input[0] in constants:
                axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)  # ONNX's default
                weights.append(_weights(rows(node.input[0], axis), scale, zero_point, node, name))
            elif scale.size == 1:
                activations.append((float(scale.reshape(())), _zero_point(zero_point, node, name)))
            else:
                raise RunError(f"{name}: {node.op_type} {node.name} has {scale.size} grids for an activation; convert again")
        except UNREADABLE as error:
            raise RunError(
                f"{name}: what {node.op_type} {node.name} rounds by is damaged ({first_line(error)}); convert again"
            ) from error
    if E4M3 in types and len(types) > 1:
        raise RunError(f"{name}: rounds to {' and '.join(sorted(types))} at once; convert again")
    return Stored(activations=tuple(activations), weights=tuple(weights))


def _zero_point(values: Any, node: "NodeProto", name: str) -> int:
    """Return the one zero point of an activation; of E4M3 numbers, which could be 0.5 or NaN, it must be 0."""
    integer = values.dtype.kind in "iu"
    if values.size != 1 or (not integer and float(values.reshape(())) != 0):
        expected = "one zero point" if integer else "one zero point, which is 0"
        raise RunError(f"{name}: {node.op_type} {node.name} rounds to {values.dtype} and has not {expected}; convert again")
    return int(values.reshape(()))


def _weights(rows: Any, scales: Any, zero_points: Any, node: "NodeProto", name: str) -> StoredWeights:
    if str(rows.dtype) not in ("int8", E4M3) or zero_points.any() or scales.shape != (len(rows),):
        raise RunError(
            f"{name}: the weights of {node.name} are not int8, or E4M3, with a scale for each channel and zero point 0; convert "
            "again"
        )
    return StoredWeights(scales=scales, values=rows.view(np.int8))


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return ONNX Runtime's exception types, which have no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return RuntimeError, *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
