"""What rounding costs, operator by operator: the network with one of them rounded, beside the network as it is."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.deploy.quantised import QuantisedOperator, chosen
from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.scheme import Scheme

HIGHEST_DB = 150.0
"""Beyond what float32 arithmetic can tell from no error at all."""


@torch.no_grad()
def sqnr_by_operator(
    network: nn.Module, scheme: Scheme, ranges: Ranges | None, images: Images, tell: Callable[[str], None]
) -> dict[str, float]:
    """Return the signal to quantisation-noise ratio of the outputs in dB, with each operator rounded alone.

    Args:
        network: the deploy graph.
        scheme: what is rounded, and how.
        ranges: of its activations; None where none are rounded by ranges.
        images: float32 (n, 3, height, width); a few do, for operators are compared with each other.
        tell: told how far it is.

    Returns:
        path of the operator -> dB, in the order of the graph; HIGHEST_DB where nothing is lost.
    """
    graph, inputs = copy.deepcopy(network).float().eval().requires_grad_(False), torch.from_numpy(images)
    exact, operators = graph(inputs).double(), chosen(graph, scheme)
    found: dict[str, float] = {}
    for path, operator in operators:
        tell(f"measuring what each operator loses: {len(found)} of {len(operators)}")
        of_operator = ranges[path] if ranges and scheme.calibrated else None
        graph.set_submodule(path, QuantisedOperator(copy.deepcopy(operator), scheme, of_operator))
        found[path] = _sqnr_db(exact, graph(inputs).double())
        graph.set_submodule(path, operator)
    return found


def _sqnr_db(exact: Tensor, rounded: Tensor) -> float:
    signal, noise = float(exact.square().sum()), float((rounded - exact).square().sum())
    if noise <= signal * 10 ** (-HIGHEST_DB / 10):
        return HIGHEST_DB
    return float(10 * np.log10(signal / noise))
