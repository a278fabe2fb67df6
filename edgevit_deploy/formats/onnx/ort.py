"""A `.ort` file: one FlatBuffer, the graph as ONNX Runtime had it in memory when it was saved, optimised.

ONNX Runtime has a verifier for such buffers and runs it before it reads one. Python's FlatBuffers have none, so that all that is
read is counted here, shared tables each time, and what a damaged table raises is one error. The graph has no graphs in it, so one
walk over its nodes sees everything.
"""

import importlib.util
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError

IDENTIFIER = b"ORTM"
"""At bytes 4 to 7, as FlatBuffers place it; by it ONNX Runtime tells the format of bytes, whatever the file is called."""

DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
"""Types of constants that a network of ours may have, by ONNX's numbers."""

MAX_NODES = 2**15
"""The deepest network of ours, 64 blocks in each stage, has half as many."""

ENTRY_BYTES = 100
"""About what Python keeps of a table, a number or a name, beside its letters; in a file a shared one takes four."""

MAX_READ_BYTES = 2**25
"""Of entries and letters together; the deepest network of ours has two thirds of it."""

OUTSIDE = (struct.error, TypeError, IndexError, ValueError, AttributeError, OverflowError)
"""What the library raises of a buffer whose tables point outside of it, or that lacks one."""

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators, which are the same on every processor."""

GRIDS: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {
    ("", "QuantizeLinear"): ((1, 2),),
    ("", "DequantizeLinear"): ((1, 2),),
    (MICROSOFT, "QuantizeLinear"): ((1, 2),),
    (MICROSOFT, "DequantizeLinear"): ((1, 2),),
    ("", "QLinearConv"): ((1, 2), (6, 7)),
    (MICROSOFT, "QLinearConv"): ((1, 2), (6, 7)),
    ("", "QLinearMatMul"): ((1, 2), (6, 7)),
    (MICROSOFT, "QGemm"): ((1, 2), (7, 8)),
    (MICROSOFT, "MatMulIntegerToFloat"): ((2, 4),),
}
"""Operators that round, by domain and type: which of their inputs are scale and zero point of an activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlaces:
    """Which inputs are an operator's rounded weights, their scales and zero points, and on which axis the channels are."""

    weight: int
    scale: int
    zero_point: int
    axis: int


WEIGHTS: dict[tuple[str, str], WeightPlaces] = {
    ("", "QLinearConv"): WeightPlaces(weight=3, scale=4, zero_point=5, axis=0),
    (MICROSOFT, "QLinearConv"): WeightPlaces(weight=3, scale=4, zero_point=5, axis=0),
    ("", "QLinearMatMul"): WeightPlaces(weight=3, scale=4, zero_point=5, axis=1),
    (MICROSOFT, "QGemm"): WeightPlaces(weight=3, scale=4, zero_point=5, axis=1),
    (MICROSOFT, "MatMulIntegerToFloat"): WeightPlaces(weight=1, scale=3, zero_point=5, axis=1),
}
"""Operators with rounded weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtNode:
    """One operator: its domain (empty for ONNX's own) and type, since which opset it is that, and what it reads and writes."""

    name: str
    domain: str
    kind: str
    since: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtModel:
    """What a file holds.

    Attributes:
        version: of the format.
        opsets: domain -> version.
        properties: what was written into the model about it.
        nodes: all operators.
        constants: all constants of a type in `DTYPES`, by name.
    """

    version: str
    opsets: dict[str, int]
    properties: dict[str, str]
    nodes: tuple[OrtNode, ...]
    constants: dict[str, NDArray[Any]]


def is_ort(data: bytes) -> bool:
    """Say whether ONNX Runtime would read bytes as its own format."""
    return data[4:8] == IDENTIFIER


def schema(table: str) -> Any:
    """Return the module of a table of the format, as ONNX Runtime's own tools have it.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed.
    """
    _find_schema()
    return importlib.import_module(f"ort_flatbuffers_py.fbs.{table}")


@cache
def _find_schema() -> None:
    """Put the package of the schema where it is found, as the tools do; they themselves load PyTorch, where it is installed."""
    runtime = importlib.util.find_spec("onnxruntime")
    if runtime is None or runtime.origin is None:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    sys.path.append(str(Path(runtime.origin).parent / "tools" / "ort_format_model"))


def read_ort(data: bytes, name: str) -> OrtModel:
    """Read a file, and refuse in it what no file of ours has.

    Args:
        data: of the file.
        name: what errors call it.

    Raises:
        RunError: it is damaged, or has constants in another file, graphs within its graph, or optimisations
            to be replayed.
    """
    try:
        session = schema("InferenceSession").InferenceSession.GetRootAs(data, 0)
        model = session.Model()
        graph = model.Graph()
        reader = _Reader(len(data), name)
        reader.refuse_what_is_never_written(graph)
        opsets = reader.each(model.OpsetImport, model.OpsetImportLength())
        properties = reader.each(model.MetadataProps, model.MetadataPropsLength())
        return OrtModel(
            version=reader.text(session.OrtVersion()),
            opsets={reader.text(entry.Domain()): entry.Version() for entry in opsets},
            properties={reader.text(entry.Key()): reader.text(entry.Value()) for entry in properties},
            nodes=tuple(map(reader.node, reader.each(graph.Nodes, graph.NodesLength()))),
            constants=reader.constants(graph),
        )
    except OUTSIDE as error:
        raise RunError(f"{name} is damaged: a table of it points outside of it; convert again") from error


class _Reader:
    """Reads tables of one file, and no more of them than a network of ours has; nor more constants than the file can hold."""

    def __init__(self, size: int, name: str) -> None:
        self.name = name
        self._left, self._left_of_constants = MAX_READ_BYTES, size

    def each(self, entry: Callable[[int], Any], count: int) -> Iterator[Any]:
        """Yield the entries of a vector."""
        self._take(ENTRY_BYTES * count)
        return (entry(place) for place in range(count))

    def text(self, value: bytes | None) -> str:
        """Return a text; where there is none, it is empty."""
        if value is None:
            return ""
        self._take(len(value))
        return value.decode()

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._refuse_as_too_large()

    def _refuse_as_too_large(self) -> None:
        raise RunError(f"{self.name} has more operators, names or constants than any network of ours; do not use this file")

    def refuse_what_is_never_written(self, graph: Any) -> None:
        if graph.NodesLength() > MAX_NODES:
            self._refuse_as_too_large()
        if graph.RuntimeOptimizations() is not None:
            raise RunError(f"{self.name} has optimisations to be replayed, which ONNX Runtime trusts; do not use this file")
        if graph.SparseInitializersLength():
            raise RunError(f"{self.name} has sparse constants, which no network of ours has; do not use this file")

    def node(self, node: Any) -> OrtNode:
        attributes = list(self.each(node.Attributes, node.AttributesLength()))
        for attribute in attributes:
            if attribute.G() is not None or attribute.GraphsLength():
                raise RunError(f"{self.name} has a graph within its graph, which no network of ours has; do not use this file")
            tensors = self.each(attribute.Tensors, attribute.TensorsLength())
            for tensor in (*tensors, *([attribute.T()] if attribute.T() is not None else [])):
                self.check_inside(tensor)
        return OrtNode(
            name=self.text(node.Name()),
            domain=self.text(node.Domain()),
            kind=self.text(node.OpType()),
            since=node.SinceVersion(),
            inputs=tuple(map(self.text, self.each(node.Inputs, node.InputsLength()))),
            outputs=tuple(map(self.text, self.each(node.Outputs, node.OutputsLength()))),
            attributes={self.text(attribute.Name()): attribute.I() for attribute in attributes},
        )

    def constants(self, graph: Any) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for tensor in self.each(graph.Initializers, graph.InitializersLength()):
            self.check_inside(tensor)
            dtype = DTYPES.get(tensor.DataType())
            if dtype is not None:
                self._left_of_constants -= tensor.RawDataLength()
                if self._left_of_constants < 0:  # several tables share one array, which whoever copies them does not
                    self._refuse_as_too_large()
                shape = list(self.each(tensor.Dims, tensor.DimsLength()))
                values = tensor.RawDataAsNumpy() if tensor.RawDataLength() else np.empty(0, np.uint8)
                name = self.text(tensor.Name())
                if name in found:
                    raise RunError(f"{self.name} has two constants with the name {name!r}; do not use this file")
                found[name] = values.view(dtype).reshape(shape)
        return found

    def check_inside(self, tensor: Any) -> None:
        if tensor.ExternalDataOffset() != -1:  # -1: the format's own default, in the file itself
            raise RunError(
                f"{self.name} keeps {self.text(tensor.Name())!r} in another file, which is never read; embed the weights"
            )


def stored_in(model: OrtModel, name: str) -> Stored:
    """Return by what a quantised file rounds: its activations, and every weight that is stored in eight bits.

    Args:
        model: of the file.
        name: what errors call it.

    Raises:
        RunError: it rounds in a way that is never written here.
    """
    activations: list[tuple[float, int]] = []
    weights: list[StoredWeights] = []
    constants = model.constants
    rows = cache(lambda constant, axis: by_channel(constants[constant], axis))  # once, however many operators read it
    try:
        for node in model.nodes:
            kind = (node.domain, node.kind)
            places = WEIGHTS.get(kind)
            if places is not None and node.inputs[places.weight] in constants:
                weights.append(_weights(node, places, constants, rows))
            for scale, zero_point in GRIDS.get(kind, ()):
                if len(node.inputs) > scale and node.inputs[scale]:  # what gives float32 has no grid for it
                    activations.append(_grid(constants[node.inputs[scale]], constants[node.inputs[zero_point]]))
    except (KeyError, *OUTSIDE) as error:
        raise RunError(f"{name}: {node.kind} {node.name} rounds in a way that is never written here; convert again") from error
    return Stored(activations=tuple(activations), weights=tuple(weights))


def _grid(scale: NDArray[Any], zero_point: NDArray[Any]) -> tuple[float, int]:
    if scale.size != 1 or zero_point.size != 1 or zero_point.dtype.kind not in "iu":
        raise ValueError(scale.shape)
    return float(scale.reshape(())), int(zero_point.reshape(()))


def _weights(
    node: OrtNode, places: WeightPlaces, constants: Mapping[str, NDArray[Any]], rows: Callable[[str, int], NDArray[Any]]
) -> StoredWeights:
    values = rows(node.inputs[places.weight], 0 if node.attributes.get("transB") else places.axis)
    scales = constants[node.inputs[places.scale]]
    zero_point = node.inputs[places.zero_point] if len(node.inputs) > places.zero_point else ""
    if values.dtype != np.int8 or scales.shape != (len(values),) or (zero_point and constants[zero_point].any()):
        raise ValueError(values.dtype)
    return StoredWeights(scales=scales.astype(np.float32, copy=False), values=values)


def by_channel(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return weights as (channels, n), by the axis that their channels are on."""
    rows = np.moveaxis(values, axis, 0)
    return rows.reshape(len(rows), -1)
