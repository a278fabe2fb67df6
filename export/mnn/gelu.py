"""GELU without the error function: a sigmoid of a polynomial, in operators that MNN computes by vectors.

MNN 3.6.1 has one kernel for the exact GELU, which calls `erf` for one number after another: 6.8 ns each, and 47 % of the time of
XXS on x86. GELU(x) = x * sigmoid(x * P(x^2)) takes 2 ns, in 16 operators. With seven coefficients it is no approximation that
float32 could see: on [-8, 8] its largest error there is half of that of PyTorch's own kernel.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

COEFFICIENTS = (1.59576854, 7.26682982e-2, -6.60534038e-5, -1.10546773e-4, 7.94814146e-6, -2.67566393e-7, 3.62785441e-9)
"""Of P, the constant first, for squares up to `LARGEST_SQUARE`: docs/measurements/scripts/fit_gelu.py. By them the largest error
of GELU is 6.6e-8 in exact arithmetic."""

LARGEST_SQUARE = 28.0
"""Larger ones are taken for this one: the polynomial would turn, and GELU is x or 0 there in float32. Half precision has the
number exactly, as it must: MNN would cut another one off."""

UNIT = 32.0
"""In which squares are counted: a device that computes in half precision would lose the last coefficients. A power of two, so
that no digit changes."""

PATTERN = ("Div", "Erf", "Add", "Mul", "Mul")
NUMBERS = (math.sqrt(2), 1.0, 0.5)
"""What PyTorch's exporter makes of GELU for opsets before 20, and by which numbers; the first and the fourth read its input."""


def without_erf(model: "ModelProto") -> None:
    """Write each GELU of a convolution's output as a sigmoid of a polynomial, in place.

    Of another GELU the number of channels is not known here: it keeps MNN's kernel.
    """
    graph = model.graph
    nodes, constants = list(graph.node), {tensor.name: tensor for tensor in graph.initializer}
    convolutions = (
        node for node in nodes if node.op_type == "Conv" and node.input[1] in constants
    )  # others compute their weights
    channels = {node.output[0]: constants[node.input[1]].dims[0] for node in convolutions}
    readers = Counter([*(name for node in nodes for name in node.input), *(value.name for value in graph.output)])
    del graph.node[:]
    while nodes:
        found = nodes[: len(PATTERN)]
        if _is_gelu(found, constants, readers) and (source := found[0].input[0]) in channels:
            _append(graph, source, found[-1].output[0], channels[source])
            del nodes[: len(PATTERN)]
        else:
            graph.node.append(nodes.pop(0))
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _is_gelu(found: "Sequence[NodeProto]", constants: "Mapping[str, TensorProto]", readers: Mapping[str, int]) -> bool:
    """Say whether nodes compute GELU, and nothing else reads what is between them."""
    from onnx import numpy_helper

    if tuple(node.op_type for node in found) != PATTERN:
        return False
    divided, erf, added, product = (node.output[0] for node in found[:-1])
    (source, root), (_, one), (_, half) = found[0].input, found[2].input, found[4].input
    wiring = [[source, root], [divided], [erf, one], [source, added], [product, half]]
    if [list(node.input) for node in found] != wiring or not {root, one, half} <= constants.keys():
        return False
    numbers = [numpy_helper.to_array(constants[name]).tolist() for name in (root, one, half)]
    return numbers == np.array(NUMBERS, np.float32).tolist() and all(
        readers[name] == 1 for name in (divided, erf, added, product)
    )


def _append(graph: "GraphProto", source: str, result: str, channels: int) -> None:
    """Append the nodes and constants of the GELU of a value `(batch, channels, height, width)`.

    What is added to a value is the bias of a normalisation that does nothing else: MNN keeps those in float32 in every file,
    while a constant by itself would be cut off to half precision with the weights.
    """
    from onnx import helper, numpy_helper

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

    cap = constant(f"{result}/largest_square", np.array(LARGEST_SQUARE, np.float32))
    square = add("Min", f"{result}/square", add("Mul", f"{result}/square_of_all", source, source), cap)
    *others, next_to_last, last = (coefficient * UNIT**power for power, coefficient in enumerate(COEFFICIENTS))
    value = scaled(f"{result}/polynomial_{len(others)}", square, last / UNIT, next_to_last)
    for power in reversed(range(len(others))):
        product = add("Mul", f"{result}/product_{power}", value, square)
        value = scaled(f"{result}/polynomial_{power}", product, 1 / UNIT, others[power])
    exponent = add("Mul", f"{result}/exponent", source, value)
    add("Mul", result, source, add("Sigmoid", f"{result}/sigmoid", exponent))
