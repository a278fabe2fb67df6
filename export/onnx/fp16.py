"""ONNX graph, fp32 -> fp16: half weights and activations, float32 where half would hurt, the ends as they were.

An own converter instead of `onnxruntime.transformers.float16`: that one leaves the nodes unsorted (onnx's own checker refuses
its result), lifts tiny weights to the smallest half instead of rounding them and clips too large ones instead of refusing them.
"""

import collections
from typing import TYPE_CHECKING

import numpy as np

from edgevit_deploy.errors import ExportError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

FLOAT32_OPERATORS = ("LayerNormalization", "ReduceMean", "Softmax")
"""They sum many values: in half, the square in a variance overflows from 256 on, and a long sum loses digits."""

HALF_OPERATORS = ("BatchNormalization", "Conv", "ConvTranspose", "Erf", "Gelu", "Gemm", "MatMul")
"""They hold the weights and do the work: with one of them left in float32 a file would be fp16 in name only."""


def to_half(model: "ModelProto") -> "ModelProto":
    """Return an fp16 copy of an fp32 model; nodes stay in topological order and each value is cast at most once.

    Float32 remain `FLOAT32_OPERATORS`, whatever comes before the first convolution, and the model's ends; bytes stay
    bytes. Before the first convolution stands the normalisation of an image: in half, the mean of 123.675 alone would be off
    by 0.0125.

    Raises:
        ExportError: a weight is too large for float16.
    """
    from onnx import ModelProto, TensorProto, helper

    half, float32 = int(TensorProto.FLOAT16), int(TensorProto.FLOAT)
    graph = model.graph
    types = value_types(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    results = [value.name for value in graph.output]
    front = _before_first_convolution(graph)
    nodes: list[NodeProto] = []
    half_weights: list[TensorProto] = []
    # (value of the fp32 graph, type) -> its name in the new graph
    names: dict[tuple[str, int], str] = {(name, float32): name for name in (*weights, *(value.name for value in graph.input))}

    def cast(name: str, kind: int, new_name: str) -> None:
        present = names[name, float32 if kind == half else half]
        nodes.append(helper.make_node("Cast", [present], [new_name], name=f"{new_name}/Cast", to=kind))

    def in_type(name: str, kind: int) -> str:
        if types.get(name) != float32:
            return name  # sizes and indices, and the empty name of an input that is left out
        if (name, kind) not in names:
            new_name = f"{name}_{'fp16' if kind == half else 'fp32'}"
            if name in weights:
                half_weights.append(_rounded(weights[name], new_name))
            else:
                cast(name, kind, new_name)
            names[name, kind] = new_name
        return names[name, kind]

    for node in graph.node:
        kind = float32 if node.op_type in FLOAT32_OPERATORS or node.output[0] in front else half
        inputs = [in_type(name, kind) for name in node.input]
        outputs = [f"{name}_fp16" if name in results and kind == half else name for name in node.output]
        names.update({(name, kind): new_name for name, new_name in zip(node.output, outputs, strict=True)})
        nodes.append(_with_values(node, inputs, outputs))
    for name in results:
        if (name, float32) not in names:
            cast(name, float32, name)

    converted = ModelProto()
    converted.CopyFrom(model)
    del converted.graph.node[:], converted.graph.initializer[:]
    converted.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    converted.graph.initializer.extend(tensor for tensor in (*graph.initializer, *half_weights) if tensor.name in used)
    return converted


def check_precision(model: "ModelProto") -> dict[str, object]:
    """Read from an fp16 model in which type each operator computes.

    Returns:
        `float32_islands` (operator type -> how many compute in float32) and `casts`.

    Raises:
        ExportError: one of `FLOAT32_OPERATORS` takes anything but float32, or one of `HALF_OPERATORS` anything but float16.
    """
    from onnx import TensorProto

    types = value_types(model)
    expected = dict.fromkeys(FLOAT32_OPERATORS, TensorProto.FLOAT) | dict.fromkeys(HALF_OPERATORS, TensorProto.FLOAT16)
    islands: collections.Counter[str] = collections.Counter()
    casts = 0
    for node in model.graph.node:
        found = {types[name] for name in node.input if name} & {TensorProto.FLOAT, TensorProto.FLOAT16}
        if node.op_type in expected and found != {expected[node.op_type]}:
            raise ExportError(
                f"{node.op_type} {node.name} should compute in {TensorProto.DataType.Name(expected[node.op_type])}, "
                f"its inputs in the fp16 file are {' and '.join(sorted(TensorProto.DataType.Name(kind) for kind in found))}"
            )
        if node.op_type == "Cast":
            casts += len(found)  # from one float type to the other; casts of sizes are not counted
        elif types[node.output[0]] == TensorProto.FLOAT:
            islands[node.op_type] += 1
    return {"float32_islands": dict(sorted(islands.items())), "casts": casts}


def value_types(model: "ModelProto") -> dict[str, int]:
    """Infer the element type of every value: name -> TensorProto.DataType."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {tensor.name: tensor.data_type for tensor in graph.initializer} | {
        value.name: value.type.tensor_type.elem_type for value in values
    }


def _before_first_convolution(graph: "GraphProto") -> set[str]:
    """Return the names of all values from which the first convolution's input is computed."""
    producers = {name: node for node in graph.node for name in node.output}
    wanted = [next(node for node in graph.node if node.op_type == "Conv").input[0]]
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in producers and name not in found:
            found.add(name)
            wanted.extend(producers[name].input)
    return found


def _with_values(node: "NodeProto", inputs: list[str], outputs: list[str]) -> "NodeProto":
    from onnx import NodeProto

    copied = NodeProto()
    copied.CopyFrom(node)
    copied.input[:], copied.output[:] = inputs, outputs
    return copied


def _rounded(tensor: "TensorProto", name: str) -> "TensorProto":
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if np.isinf(rounded).any():
        raise ExportError(
            f"weight {tensor.name} reaches {np.abs(values).max():.3g}, float16 ends at {np.finfo(np.float16).max:g}; "
            "use --precision fp32"
        )
    return numpy_helper.from_array(rounded, name)
