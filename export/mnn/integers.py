"""Activations in integers, by our ranges: a second pass of MNN's converter, over the float32 file of the same network.

The pass takes a list of operators with the steps of their ends and of their weights; MNN's own calibration is not used. Given
with the ONNX file the same list loses the weights of large convolutions (MNN 3.6.1), and of an ONNX file that rounds by itself
(QuantizeLinear) the converter crashes.

Steps spread: what MNN can compute in integers it does, unasked, where all that it reads and gives has steps, be it through a
change of layout. Residuals would be added up so, each sum rounded to the steps of the next convolution. What a rounded operator
takes from a sum or a normalisation is therefore compared with the lowest number first, which changes nothing and has no steps.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.deploy.ranges import Range, Ranges
from edgevit_deploy.deploy.scheme import LARGEST_WEIGHT, Scheme
from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.mnn import MnnModel, MnnOperator, read_mnn
from edgevit_deploy.formats.mnn.integers import BITS, HIGHEST, LOWEST
from export.mnn.converter import Source, identity_of
from export.mnn.storage import on_the_grid

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from torch import nn

ROUNDING_NAME = "rounding.json"

LOWEST_NUMBER = float(np.finfo(np.float32).min)
"""A product by 1 or a sum with 0 would do as well, but the converter takes those out."""

SPREADING = frozenset({"Add", "LayerNormalization", "Softmax", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"})
LAYOUT = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Identity", "Pad"})
PRODUCTS = frozenset({"Conv", "MatMul", "Gemm"})
"""Operators of ONNX: behind which steps would spread, what changes layout alone, and what is rounded."""

INTEGER_KINDS = frozenset({"BinaryOp", "LayerNorm", "Softmax", "Scale", "Pooling", "Interp", "ReLU", "ReLU6"})
LAYOUT_KINDS = frozenset(
    {
        *("ConvertTensor", "Permute", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
        *("Slice", "SliceTf", "StridedSlice", "Concat", "GatherV2", "Padding", "DepthToSpace"),
        *("Pooling", "Interp", "ReLU", "ReLU6"),
    }
)
"""Operators of MNN: what it can compute in integers besides convolutions, and through what steps spread."""

INTEGERS_NOTE = (
    "MNN computes {operators} convolutions and linear maps in integers, and rounds what goes into them and what comes out; all "
    "else is float32 between them. {apart} comparisons with the lowest number are there for that, or MNN would add residuals "
    "up in integers too. Compared with precision high on the CPU. Timed on x86 alone, where float32 is faster at 224 x 224; w8 "
    "is as small and more exact."
)


def rounding_of(twin: Path, module: "nn.Module", scheme: Scheme, ranges: Ranges) -> Source:
    """Write beside a float32 file how it is to be rounded, and return what is to be converted once more.

    Args:
        twin: the file, of weights that lie on their grids already.
        module: the prepared network that it was made of.
        scheme: what is rounded, and how.
        ranges: of all operators.

    Raises:
        ExportError: an operator is not in the file, or cannot be told from another.
    """
    layers = list(_layers(read_mnn(twin), on_the_grid(module, scheme), scheme, ranges))
    rounding = {"type": "QUANTIZE", "quant_params": {"layer": layers}}
    name = hashlib.sha256(twin.read_bytes() + json.dumps(rounding).encode()).digest()
    path = twin.with_name(ROUNDING_NAME)
    path.write_text(json.dumps({**identity_of(name), "algo": [rounding]}))
    return Source(path=twin.absolute(), identity=path.absolute())


def _layers(twin: MnnModel, module: "nn.Module", scheme: Scheme, ranges: Ranges) -> Iterator[dict[str, Any]]:
    """Yield the description of each rounded operator, as MNN's MNN_compression.proto has it."""
    from edgevit_deploy.deploy.quantised import chosen
    from edgevit_deploy.deploy.rounding import weight_scales

    by_weights = _by_weights(twin)
    for path, operator in chosen(module.get_submodule("network"), scheme):
        found = by_weights[operator.weight.detach().numpy().tobytes()]
        if len(found) != 1:
            raise ExportError(
                f"{path} is {len(found)} operators of MNN's file by its weights, and must be one; use --precision w8, or leave "
                "it in floating point by a --form"
            )
        reads, writes = (twin.tensors[places[0]] for places in (found[0].inputs, found[0].outputs))
        yield {
            "input": [_end(reads, ranges[path].input, scheme)],
            "output": [_end(writes, ranges[path].output, scheme)],
            "weight": [
                {
                    "name": writes,
                    "bits": BITS,
                    "scales": weight_scales(operator.weight).tolist(),
                    "clamp_min": -LARGEST_WEIGHT,
                    "clamp_max": LARGEST_WEIGHT,
                }
            ],
        }


def _by_weights(twin: MnnModel) -> dict[bytes, list[MnnOperator]]:
    found: dict[bytes, list[MnnOperator]] = defaultdict(list)
    for op in twin.weights:
        if op.kind != "Const" and op.constant is not None:
            found[np.asarray(op.constant.values, np.float32).tobytes()].append(op)
    return found


def _end(tensor: str, extent: Range, scheme: Scheme) -> dict[str, Any]:
    from edgevit_deploy.deploy.rounding import integer_grid

    grid = integer_grid(extent, scheme)
    return {
        "name": tensor,
        "bits": BITS,
        "scales": [grid.scale],
        "zero_point": grid.zero_point,
        "clamp_min": LOWEST,
        "clamp_max": HIGHEST,
    }


def keep_apart(model: "ModelProto") -> None:
    """Compare what rounded operators of a traced network take from a sum or a normalisation with the lowest number."""
    from onnx import helper, numpy_helper

    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    lowest = numpy_helper.from_array(np.array(LOWEST_NUMBER, np.float32), "lowest_number")
    nodes = []
    for node in graph.node:
        if node.op_type in PRODUCTS and node.input[1] in constants and _origin(node.input[0], producers) in SPREADING:
            apart = f"{node.output[0]}_apart"
            nodes.append(helper.make_node("Max", [node.input[0], lowest.name], [apart], name=apart))
            node.input[0] = apart
        nodes.append(node)
    graph.initializer.append(lowest)
    del graph.node[:]
    graph.node.extend(nodes)


def _origin(name: str, producers: "Mapping[str, NodeProto]") -> str:
    """Return the kind of what computes a value, before changes of its layout; of an input, nothing."""
    node = producers.get(name)
    while node is not None and node.op_type in LAYOUT:
        node = producers.get(node.input[0])
    return "" if node is None else node.op_type


def check_apart(model: MnnModel) -> None:
    """Refuse a file of which MNN would compute more in integers than what is rounded.

    Raises:
        ExportError: naming the first such operator.
    """
    stepped = {
        place for op in model.weights if op.constant is not None and op.constant.ends for place in (*op.inputs, *op.outputs)
    }
    found = 0
    while found != len(stepped):
        found = len(stepped)
        for op in (op for op in model.operators if op.kind in LAYOUT_KINDS):
            changed = op.inputs if op.kind == "Concat" else op.inputs[:1]
            if stepped.issuperset(changed) or not stepped.isdisjoint(op.outputs):
                stepped.update(changed, op.outputs)
    for op in model.operators:
        if op.kind.partition(" ")[0] in INTEGER_KINDS and stepped.issuperset((*op.inputs, *op.outputs)):
            raise ExportError(f"MNN would compute {op.name} in integers, which is to be in floating point; use another --form")


def integers_note(model: MnnModel) -> str:
    """Say what a file of integers computes in them, and how fast that was."""
    rounded = sum(op.constant is not None and op.constant.ends is not None for op in model.weights)
    return INTEGERS_NOTE.format(operators=rounded, apart=model.operator_counts().get("BinaryOp MAXIMUM", 0))
