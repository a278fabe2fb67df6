"""Small LiteRT models for tests: converted ones, one written by hand, and files that are changed after they were written."""

import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.spec import Preprocess
from export.litert import LiteRTExporter, LiteRTOptions
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[LiteRTOptions] = SmallTarget(
    exporter=LiteRTExporter(), defaults={"graph": "deploy", "form": THIS_HOST.find_exporter("litert").form}
)

LABELS = ("zebra", "Ameise", "été", "4", "dog, brown", "eel", "fox", "gnu", "hen", "ibis")


def plan(labels: tuple[str, ...] = LABELS, preprocess: Preprocess | None = None, **changes: Any) -> ExportPlan[Any]:
    """A plan of the small network whose classes have names."""
    made = SMALL.plan_of(labels=labels, **changes)
    return replace(made, spec=replace(made.spec, preprocess=preprocess)) if preprocess else made


def write(model: Any, path: Path) -> Path:
    """Write a model of the schema's object interface."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def changed(source: Path, path: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a file with something in it changed."""
    from ai_edge_litert import schema_py_generated as schema

    content = source.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for buffer in model.buffers:  # a quantiser writes them behind the tables, where the object interface does not look
        if buffer.offset:
            buffer.data = np.frombuffer(content[buffer.offset : buffer.offset + buffer.size], np.uint8)
            buffer.offset = buffer.size = 0
    change(model)
    return write(model, path)


def write_handwritten(
    path: Path,
    shape: Sequence[int] = (1, 3, 4, 4),
    output: str = "y",
    signatures: Sequence[str] = ("serving_default",),
    custom: str = "",
    integers: bool = False,
) -> Path:
    """y = 2 x, in one MUL, or in a custom operator of that name.

    Follows tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3.
    """
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, sizes: Sequence[int], buffer: int) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, list(sizes), buffer
        made.type = schema.TensorType.INT32 if integers else schema.TensorType.FLOAT32
        return made

    def signature(key: str) -> Any:
        made, source, result = schema.SignatureDefT(), schema.TensorMapT(), schema.TensorMapT()
        source.name, source.tensorIndex = "x", 0
        result.name, result.tensorIndex = output, 2
        made.signatureKey, made.inputs, made.outputs = key, [source], [result]
        return made

    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM if custom else schema.BuiltinOperator.MUL
    code.version, code.customCode = 1, custom or None
    operator.inputs, operator.outputs = [0, 1], [2]
    if not custom:
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
    graph, none, two = schema.SubGraphT(), schema.BufferT(), schema.BufferT()
    graph.tensors = [tensor("a", shape, 0), tensor("b", [1], 1), tensor("c", shape, 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    two.data = np.array([2], np.int32 if integers else np.float32).view(np.uint8)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [none, two]
    model.signatureDefs = [signature(key) for key in signatures]
    return write(model, path)


def zipped(tables: bytes, *files: tuple[str, str], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Put files behind the tables, as any writer of ZIPs may."""
    file = BytesIO(tables)
    file.seek(0, 2)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as packed:
        warnings.simplefilter("ignore", UserWarning)  # it says that a name is there twice
        packed.comment = comment
        for name, text in files:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = method
            packed.writestr(entry, text)
    return file.getvalue()
