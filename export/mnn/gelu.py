"""GELU without the error function: by a quotient of polynomials, in operators that MNN computes by vectors.

MNN 3.6.1 has one kernel for the exact GELU, which calls `erf` for one number after another: 47 % of the time of XXS on x86.
GELU(x) = x * (1/2 + x * P(x^2) / Q(x^2)) is faster, as exact as PyTorch's own near 0 too, and without the `exp` of MNN, whose
kernel for ARM64 is 6e-5 off (docs/decisions/0024).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

ABOVE = (0.398942213, 0.0346926072, 0.00472592454, 0.000176941565, 6.36490693e-06, 2.18187352e-08)
BELOW = (1, 0.253627049, 0.0291193145, 0.00193057374, 7.60237249e-05, 1.17127165e-06)
"""Of P and Q, the constants first, for squares up to `LARGEST_SQUARE`: docs/measurements/scripts/fit_gelu.py."""

LARGEST_SQUARE = 32.0
"""Larger ones are taken for this one: from there on the share of x that is kept grows with x, and is cut at 0 and 1. Half
precision has these three numbers exactly, as it must: MNN would cut others off. It is also the unit in which squares are counted,
since a device that computes in half precision would lose the last coefficients; a power of two, so that no digit changes."""

QUOTIENT = "/quotient"
"""How the name of the one division of each ends."""

PATTERN = ("Div", "Erf", "Add", "Mul", "Mul")
NUMBERS = (math.sqrt(2), 1.0, 0.5)
"""What PyTorch's exporter makes of GELU for opsets before 20, and by which numbers; the first and the fourth read its input."""


def without_erf(model: "ModelProto") -> None:
    """Write each GELU of a convolution's output by a quotient of polynomials, in place.

    Of another GELU the number of channels is not known here: it keeps MNN's kernel.
    """
    graph = model.graph
    nodes, constants = list(graph.node), {tensor.name: tensor for tensor in graph.initializer}
    # A convolution that computes its weights does not tell its channels here.
    convolutions = (node for node in nodes if node.op_type == "Conv" and node.input[1] in constants)
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
    alone = all(readers[name] == 1 for name in (divided, erf, added, product))
    return alone and numbers == np.array(NUMBERS, np.float32).tolist()


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

    def polynomial(name: str, square: str, coefficients: Sequence[float]) -> str:
        *others, next_to_last, last = (value * LARGEST_SQUARE**power for power, value in enumerate(coefficients))
        value = scaled(f"{name}_{len(others)}", square, last / LARGEST_SQUARE, next_to_last)
        for power in reversed(range(len(others))):
            product = add("Mul", f"{name}_times_{power}", value, square)
            value = scaled(f"{name}_{power}", product, 1 / LARGEST_SQUARE, others[power])
        return value

    largest, one, zero = (constant(f"{result}/{value:g}", np.array(value, np.float32)) for value in (LARGEST_SQUARE, 1, 0))
    square = add("Min", f"{result}/square", add("Mul", f"{result}/square_of_all", source, source), largest)
    above, below = polynomial(f"{result}/above", square, ABOVE), polynomial(f"{result}/below", square, BELOW)
    quotient = add("Div", f"{result}{QUOTIENT}", add("Mul", f"{result}/odd", source, above), below)
    share = scaled(f"{result}/share", quotient, 1, 0.5)
    add("Mul", result, source, add("Max", f"{result}/kept", add("Min", f"{result}/at_most", share, one), zero))
