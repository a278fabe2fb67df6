"""ai-edge-quantizer on a float `.tflite`: the operators that a scheme names, rounded to our grids and not to those it would find.

It takes smallest and largest values by the names of tensors; those are given so that its own arithmetic ends in our scale and
zero point. Which operator of the file is which of the network, their weights say: names are the converter's, and get lost.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.deploy.quantised import chosen
from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.rounding import Grid, integer_grid
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.litert import WeightedOperator, read_operators

if TYPE_CHECKING:
    from torch import nn

BITS = 8


def quantise(source: Path, destination: Path, network: "nn.Module", scheme: Scheme, ranges: Ranges | None) -> None:
    """Write a copy of a float file in which the operators of a scheme are rounded.

    Args:
        source: written from `network`.
        destination: where to.
        network: the deploy graph, float32.
        scheme: which of its operators, and whether their activations have ranges.
        ranges: of its operators; None where the scheme needs none.

    Raises:
        ExportError: an operator of the scheme is not in the file with its own weights, or a tensor would have two grids.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(str(source))
    grids: dict[str, Grid] = {}
    for path, operator in matched(read_operators(source), network, scheme):
        scope = f"^{re.escape(operator.output)};$"
        if ranges is None:
            quantizer.add_dynamic_config(scope, operator.kind, num_bits=BITS)
            continue
        quantizer.add_static_config(scope, operator.kind, activation_num_bits=BITS, weight_num_bits=BITS)
        for name, extent in ((operator.input, ranges[path].input), (operator.output, ranges[path].output)):
            grid = integer_grid(extent, scheme)
            if grids.setdefault(name, grid) != grid:
                raise ExportError(f"{path} shares a tensor with an operator that has other ranges for it; calibrate again")
    table = {name: _extremes(grid) for name, grid in grids.items()}
    content = quantizer.quantize(table or None, enable_progress_report=False).quantized_model
    destination.write_bytes(content)  # its own way of writing makes the file executable


def matched(
    operators: tuple[WeightedOperator, ...], network: "nn.Module", scheme: Scheme
) -> Iterator[tuple[str, WeightedOperator]]:
    """Yield the operators of a file that a scheme rounds, each with its path in the network; equal weights go by their order.

    Raises:
        ExportError: one is missing: the converter has changed its weights, or left it out.
    """
    paths: dict[bytes, deque[str]] = defaultdict(deque)
    for path, module in chosen(network, scheme):
        paths[module.weight.detach().numpy().astype("<f4").tobytes()].append(path)
    for operator in operators:
        if left := paths.get(operator.weights.tobytes()):
            yield left.popleft(), operator
    if missing := [path for left in paths.values() for path in left]:
        raise ExportError(f"{len(missing)} operators are not in the float file with their own weights, the first is {missing[0]}")


def _extremes(grid: Grid) -> dict[str, Any]:
    """Return the values at the ends of a grid, exactly: the quantiser's scale and zero point are then the grid's own."""
    low, high = (np.array([(end - grid.zero_point) * grid.scale]) for end in (grid.lowest, grid.highest))
    return {"min": low, "max": high}
