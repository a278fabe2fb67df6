"""The integer side of an ONNX file: weights stored as int8, and what must stand around each operator that computes in integers.

The rounded graph is traced, so it holds float weights behind a QuantizeLinear each; here they become the int8 that they are, or
the E4M3 numbers, of which an engine is built: all is the same there but for the type, which the zero points have.
Every Conv, MatMul and Gemm that is rounded then stands between DequantizeLinear and QuantizeLinear, which a runtime turns into
one integer operator: `check_integers` reads that from the written file, `check_kernels` from what ONNX Runtime makes of it.
"""

import collections
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edgevit_deploy.deploy.scheme import LARGEST_E4M3, LARGEST_WEIGHT, Activations, Scheme
from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.formats.onnx import DEQUANTIZE, QUANTIZE, SILENT, runtime_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

TYPES = {"s8": "int8", "u8": "uint8", "e4m3": "float8e4m3fn"}
"""What a scheme rounds to, as ONNX calls it, in small letters."""

PRODUCTS = ("Conv", "Gemm", "MatMul")
"""What a rounded operator is in a file."""

INTEGER_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger")
"""What ONNX Runtime computes in integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """What of a written file is rounded to integers, or to numbers of eight bits.

    Attributes:
        rounded_operators: those with rounded weights, type -> how many.
        float_products: Conv, Gemm and MatMul that are float by design, type -> how many.
        activations: what a scheme calls the type of their inputs.
    """

    rounded_operators: dict[str, int]
    float_products: dict[str, int]
    activations: str


def store_integers(model: "ModelProto") -> "ModelProto":
    """Return a model whose weights behind a QuantizeLinear are stored in eight bits, transposed where a Transpose followed.

    What the DequantizeLinear gives keeps its value; names of constants are followed through Identity nodes, which go.
    """
    from onnx import ModelProto, numpy_helper

    stored = ModelProto()
    stored.CopyFrom(model)
    graph = stored.graph
    _drop_identities(graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = _readers(graph)
    gone: list[NodeProto] = []
    written: dict[str, np.ndarray] = {}
    for node in list(graph.node):
        if node.op_type != QUANTIZE or node.input[0] not in constants:
            continue
        (dequantize,) = readers[node.output[0]]
        weight, scales, zero_points = (constants[name] for name in node.input)
        integers = _as_stored(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)), zero_points.dtype)
        following = readers[dequantize.output[0]]
        if [reader.op_type for reader in following] == ["Transpose"]:
            integers = np.ascontiguousarray(integers.T)
            _set_axis(dequantize, 1)
            dequantize.output[0] = following[0].output[0]
            gone.append(following[0])
        name = f"{node.input[0]}.{integers.dtype}"
        while not np.array_equal(written.setdefault(name, integers), integers):  # a weight of two operators, transposed for one
            name += ".other"
        dequantize.input[0] = name
        gone.append(node)
    graph.initializer.extend(numpy_helper.from_array(integers, name) for name, integers in written.items())
    for node in gone:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return stored


def check_integers(model: "ModelProto", scheme: Scheme, rounded: int) -> Integers:
    """Read from a written model that as many operators as were rounded are integer ones.

    Args:
        model: as written.
        scheme: what was to be rounded.
        rounded: how many operators of the network.

    Raises:
        ExportError: naming an operator with rounded weights whose input is not rounded, or whose output is not where it should
            be; or another number of operators, or another type than was asked for.
    """
    from onnx import TensorProto

    graph = model.graph
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    makers, readers = {name: node for node in graph.node for name in node.output}, _readers(graph)
    if left := [node.input[0] for node in graph.node if node.op_type == QUANTIZE and node.input[0] in constants]:
        raise ExportError(f"{len(left)} weights are rounded at each start and not stored as integers, {left[0]} first")

    weights, activations = TYPES[scheme.weights], TYPES[scheme.activations]

    def integer_weight(node: "NodeProto") -> bool:
        maker = makers.get(node.input[1])
        stored = None if maker is None or maker.op_type != DEQUANTIZE else constants.get(maker.input[0])
        return stored is not None and stored == TensorProto.DataType.Value(weights.upper())

    products = [node for node in graph.node if node.op_type in PRODUCTS]
    integer = [node for node in products if integer_weight(node)]
    for node in integer:
        before = makers.get(node.input[0])
        if before is None or not _rounds(before, makers):
            raise ExportError(f"{node.op_type} {node.name} has {weights} weights and takes {node.input[0]}, which is not rounded")
        if scheme.outputs and not all(reader.op_type == QUANTIZE for reader in _behind_bias(node, readers, constants)):
            raise ExportError(f"{node.op_type} {node.name} has {weights} weights, and what it gives is not rounded to integers")
    if len(integer) != rounded:
        raise ExportError(f"{rounded} operators were rounded, {len(integer)} have {weights} weights in the file")
    zero_points = {constants.get(node.input[2]) for node in graph.node if node.op_type == QUANTIZE}
    if zero_points != {TensorProto.DataType.Value(activations.upper())}:
        raise ExportError(f"activations should be {scheme.activations}, the file has types {sorted(map(str, zero_points))}")
    return Integers(
        rounded_operators=_counted(node.op_type for node in integer),
        float_products=_counted(node.op_type for node in products if not integer_weight(node)),
        activations=scheme.activations,
    )


def check_kernels(path: Path, activations: Activations) -> dict[str, int]:
    """Ask ONNX Runtime what it makes of a written file on the CPU of this machine.

    Args:
        path: of the file, with rounded outputs: without those ONNX Runtime has no integer convolution.
        activations: s8 is judged as on ARM, where ONNX Runtime keeps them; on x86 it turns them into u8 by operators more.

    Returns:
        The integer operators of the optimised graph, and what of it rounds to integers or reads them back: type -> count.

    Raises:
        ExportError: it cannot be loaded, or int8 weights are read back to float32 for an operator.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1" if activations == "s8" else "0")
    with TemporaryDirectory() as scratch:
        optimised = Path(scratch) / path.name
        options.optimized_model_filepath = str(optimised)
        try:
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            graph = onnx.load(optimised).graph
        except runtime_errors() as error:
            raise ExportError(f"ONNX Runtime cannot load {path.name}: {first_line(error)}") from error
    constants = {tensor.name for tensor in graph.initializer}
    if back := [node for node in graph.node if node.op_type == DEQUANTIZE and node.input[0] in constants]:
        raise ExportError(
            f"{path.name}: ONNX Runtime reads {len(back)} of the int8 weights back to float32 and computes with those, "
            f"{back[0].name} first"
        )
    return _counted(node.op_type for node in graph.node if node.op_type in (*INTEGER_KERNELS, QUANTIZE, DEQUANTIZE))


def _as_stored(steps: "NDArray[np.float32]", dtype: "np.dtype[np.generic]") -> "NDArray[np.generic]":
    """Return what is stored of weights that are divided by their scales: integers, or E4M3 numbers."""
    if np.issubdtype(dtype, np.integer):
        return np.clip(np.rint(steps), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(dtype)
    return np.clip(steps, -LARGEST_E4M3, LARGEST_E4M3).astype(dtype)


def _drop_identities(graph: "GraphProto") -> None:
    constants = {tensor.name for tensor in graph.initializer}
    origin: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        source = origin.get(node.input[0], node.input[0])
        if source in constants:
            origin[node.output[0]] = source
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [origin.get(name, name) for name in node.input]


def _readers(graph: "GraphProto") -> "dict[str, list[NodeProto]]":
    readers: dict[str, list[NodeProto]] = collections.defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def _set_axis(node: "NodeProto", axis: int) -> None:
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == "axis")
    attribute.i = axis


def _rounds(node: "NodeProto", makers: "Mapping[str, NodeProto]") -> bool:
    """Say whether a value comes from a DequantizeLinear of what a QuantizeLinear gave, with the same grid."""
    before = makers.get(node.input[0])
    return node.op_type == DEQUANTIZE and before is not None and before.op_type == QUANTIZE and before.input[1:] == node.input[1:]


def _behind_bias(node: "NodeProto", readers: "Mapping[str, list[NodeProto]]", constants: Mapping[str, int]) -> "list[NodeProto]":
    """Return what reads an operator's result; a MatMul's bias is an Add of its own, and a clamp is part of its operator."""
    following = readers[node.output[0]]
    if node.op_type == "MatMul" and [reader.op_type for reader in following] == ["Add"]:
        (add,) = following
        if any(name in constants for name in add.input):
            return readers[add.output[0]]
    if [reader.op_type for reader in following] in (["Relu"], ["Clip"]):
        return readers[following[0].output[0]]
    return following


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(kinds).items()))
