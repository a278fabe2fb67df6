"""Small files in ONNX Runtime's own format: written by it from graphs made by hand, or table by table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgevit_deploy.formats.onnx.ort import IDENTIFIER, MICROSOFT, schema

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def value(name: str, shape: Sequence[int], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def product() -> onnx.ModelProto:
    """y = WEIGHTS x + 1."""
    constants = [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(np.ones(4, np.float32), "ones")]
    nodes = [helper.make_node("Gemm", ["x", "weights", "ones"], ["y"], name="product", transB=1)]
    return model_of(nodes, constants, [value("x", [1, 3])], [value("y", [1, 4])])


def choice() -> onnx.ModelProto:
    """A graph with two graphs in it."""
    branches = {
        name: helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [value(name, [1, 3])])
        for name, kind in (("then", "Neg"), ("else", "Abs"))
    }
    nodes = [helper.make_node("If", ["which"], ["y"], name="if", then_branch=branches["then"], else_branch=branches["else"])]
    return model_of(nodes, [], [value("x", [1, 3]), value("which", [], TensorProto.BOOL)], [value("y", [1, 3])])


def two_roundings() -> onnx.ModelProto:
    """A sum of two rounded values, which ONNX Runtime can make one operator of, or note that it could."""
    grid = [numpy_helper.from_array(np.float32(0.5), "scale"), numpy_helper.from_array(np.uint8(3), "zero")]
    nodes = []
    for name in ("x", "z"):
        nodes.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}q", "scale", "zero"], [f"{name}d"]))
    nodes += [
        helper.make_node("Add", ["xd", "zd"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "scale", "zero"], ["sumq"]),
        helper.make_node("DequantizeLinear", ["sumq", "scale", "zero"], ["y"]),
    ]
    return model_of(nodes, grid, [value("x", [1, 3]), value("z", [1, 3])], [value("y", [1, 3])])


def model_of(nodes: list[NodeProto], constants: list[TensorProto], inputs: list[Any], outputs: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "made", inputs, outputs, initializer=constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def saved(model: onnx.ModelProto, path: Path, **settings: str) -> bytes:
    """What ONNX Runtime writes of a model, untouched."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    for name, setting in settings.items():
        options.add_session_config_entry(name.replace("__", "."), setting)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path.read_bytes()


def rounded_product(kind: str, zero_point: int) -> onnx.ModelProto:
    """An input of three numbers, rounded, by int8 weights with a scale and this zero point for each channel.

    Args:
        kind: of the integer operator: QLinearConv, QLinearMatMul, QGemm or MatMulIntegerToFloat.
        zero_point: of each channel of the weights.
    """
    integers = np.arange(9, dtype=np.int8).reshape(3, 3)
    pictures = kind == "QLinearConv"
    constants = [
        numpy_helper.from_array(np.float32(0.5), "s"),
        numpy_helper.from_array(np.uint8(3), "z"),
        numpy_helper.from_array(integers.reshape(3, 3, 1, 1) if pictures else integers, "w"),
        numpy_helper.from_array(np.full(3, 0.1, np.float32), "ws"),
        numpy_helper.from_array(np.full(3, zero_point, np.int8), "wz"),
    ]
    grid, weights = ["s", "z"], ["w", "ws", "wz"]
    inputs = {
        "QLinearConv": [*grid, *weights, *grid],
        "QLinearMatMul": [*grid, *weights, *grid],
        "QGemm": [*grid, *weights, "", *grid],
        "MatMulIntegerToFloat": ["w", "s", "ws", "z", "wz"],
    }[kind]
    domain = MICROSOFT if kind in ("QGemm", "MatMulIntegerToFloat") else ""
    result = "y" if kind == "MatMulIntegerToFloat" else "yq"
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *grid], ["xq"]),
        helper.make_node(kind, ["xq", *inputs], [result], name="product", domain=domain),
    ]
    if result != "y":
        nodes.append(helper.make_node("DequantizeLinear", [result, *grid], ["y"]))
    shape = [1, 3, 1, 1] if pictures else [1, 3]
    return model_of(nodes, constants, [value("x", shape)], [value("y", shape)])


def with_a_constant(offset: int) -> bytes:
    """A file without operators, and with a constant that lies in another file from `offset` on; in this one, where that is -1."""
    return with_constants(["weights"], offset=offset)


def with_constants(names: Sequence[str], *, floats: int = 1, offset: int = -1) -> bytes:
    """A file without operators whose constants share one array: a seven, so many times."""
    builder, tensor = flatbuffers.Builder(256), schema("Tensor")
    raw = builder.CreateByteVector(np.full(floats, 7, np.float32).tobytes())
    builder.StartVector(8, 1, 8)
    builder.PrependInt64(floats)
    shape = builder.EndVector()
    tensors = []
    for name in names:
        called = builder.CreateString(name)
        tensor.Start(builder)
        tensor.AddName(builder, called)
        tensor.AddDims(builder, shape)
        tensor.AddDataType(builder, 1)
        tensor.AddRawData(builder, raw)
        tensor.AddExternalDataOffset(builder, offset)
        tensors.append(tensor.End(builder))
    return _around(builder, "AddInitializers", tensors)


def with_one_name(length: int, times: int) -> bytes:
    """A file with one operator, which reads one value many times."""
    builder, node = flatbuffers.Builder(256), schema("Node")
    inputs = _vector(builder, [builder.CreateString("x" * length)] * times)
    node.Start(builder)
    node.AddInputs(builder, inputs)
    return _around(builder, "AddNodes", [node.End(builder)])


def with_one_operator(times: int, attributes: int = 0) -> bytes:
    """A file with one operator, many times; it has one attribute, many times."""
    builder, node, attribute = flatbuffers.Builder(256), schema("Node"), schema("Attribute")
    name = builder.CreateString("a")
    attribute.Start(builder)
    attribute.AddName(builder, name)
    shared = _vector(builder, [attribute.End(builder)] * attributes)
    node.Start(builder)
    node.AddAttributes(builder, shared)
    return _around(builder, "AddNodes", [node.End(builder)] * times)


def _around(builder: Any, add: str, tables: list[int]) -> bytes:
    """Finish a file whose graph has these tables and nothing else."""
    graph, model, session = (schema(table) for table in ("Graph", "Model", "InferenceSession"))
    version, entries = builder.CreateString("6"), _vector(builder, tables)
    graph.Start(builder)
    getattr(graph, add)(builder, entries)
    inner = graph.End(builder)
    model.Start(builder)
    model.AddGraph(builder, inner)
    outer = model.End(builder)
    session.Start(builder)
    session.AddOrtVersion(builder, version)
    session.AddModel(builder, outer)
    builder.Finish(session.End(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in offsets:
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
