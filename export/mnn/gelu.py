"""GELU without the error function: a sigmoid of a polynomial, in operators that MNN computes by vectors.

MNN 3.6.1 has one kernel for the exact GELU, which calls `erf` for one number after another: 6.8 ns each, and 47 % of the time of
XXS on x86. GELU(x) = x * sigmoid(x * P(x^2)) takes 2 ns, in 16 operators. With seven coefficients it is no approximation that
float32 could see: on [-8, 8] its largest error there is half of that of PyTorch's own kernel.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

COEFFICIENTS = (1.59576854, 7.26682982e-2, -6.60534038e-5, -1.10546773e-4, 7.94814146e-6, -2.67566393e-7, 3.62785441e-9)
"""Of P, the constant first, for squares up to `LARGEST_SQUARE`: docs/measurements/scripts/fit_gelu.py. By them the largest error
of GELU is 6.6e-8 in exact arithmetic."""

LARGEST_SQUARE = 28.0
"""Larger ones are taken for this one: the polynomial would turn, and GELU is x or 0 there in float32. Half precision has the
number exactly, as it must: MNN would cut another one off."""

PATTERN = ("Div", "Erf", "Add", "Mul", "Mul")
"""What PyTorch's exporter makes of GELU for opsets before 20; the first and the fourth read its input."""


def without_erf(model: "ModelProto") -> None:
    """Write each GELU of a convolution's output as a sigmoid of a polynomial, in place.

    Of another GELU the number of channels is not known here: it keeps MNN's kernel.
    """
    graph = model.graph
    nodes, shapes = list(graph.node), {tensor.name: tensor.dims for tensor in graph.initializer}
    convolutions = (node for node in nodes if node.op_type == "Conv" and node.input[1] in shapes)  # others compute their weights
    channels = {node.output[0]: shapes[node.input[1]][0] for node in convolutions}
    del graph.node[:]
    while nodes:
        found = nodes[: len(PATTERN)]
        width = channels.get(found[0].input[0])
        if tuple(node.op_type for node in found) == PATTERN and found[3].input[0] == found[0].input[0] and width is not None:
            _append(graph, found[0].input[0], found[-1].output[0], width)
            del nodes[: len(PATTERN)]
        else:
            graph.node.append(nodes.pop(0))
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _append(graph: "GraphProto", source: str, result: str, channels: int) -> None:
    """Append the nodes and constants of the GELU of a value `(batch, channels, height, width)`.

    What is added to a value is the bias of a normalisation that does nothing else: MNN keeps those in float32 in every file,
    while a constant by itself would be cut off to half precision with the weights.
    """
    from onnx import helper, numpy_helper

    scope = result.rpartition("/")[0]

    def constant(name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> str:
        graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def add(kind: str, name: str, *inputs: str, epsilon: float | None = None) -> str:
        graph.node.append(helper.make_node(kind, inputs, [name], name=name, epsilon=epsilon))
        return name

    def scaled(name: str, value: str, factor: float, bias: float) -> str:
        numbers = {"factor": factor, "bias": bias, "mean": 0, "variance": 1}
        constants = (constant(f"{name}_{key}", np.full(channels, number, np.float32)) for key, number in numbers.items())
        return add("BatchNormalization", name, value, *constants, epsilon=0.0)

    cap = constant(f"{scope}/largest_square", np.array(LARGEST_SQUARE, np.float32))
    square = add("Min", f"{scope}/square", add("Mul", f"{scope}/square_of_all", source, source), cap)
    *others, next_to_last, last = COEFFICIENTS
    value = scaled(f"{scope}/polynomial_{len(others)}", square, last, next_to_last)
    for power in reversed(range(len(others))):
        product = add("Mul", f"{scope}/product_{power}", value, square)
        value = scaled(f"{scope}/polynomial_{power}", product, 1, others[power])
    exponent = add("Mul", f"{scope}/exponent", source, value)
    add("Mul", result, source, add("Sigmoid", f"{scope}/sigmoid", exponent))
