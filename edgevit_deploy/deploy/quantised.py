"""A deploy graph whose operators round what they take, their weights and what they give: what an integer file computes.

The same module is three things: what an exporter writes (in one of two dialects), what PyTorch runs as the yardstick of that
file, and the list of scales and zero points that must be found in it.
"""

import copy
from dataclasses import replace
from itertools import accumulate
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgevit_deploy.deploy.e4m3 import E4M3WeightRounding
from edgevit_deploy.deploy.form import ROUNDING
from edgevit_deploy.deploy.observe import operators_of
from edgevit_deploy.deploy.palette import PaletteRounding
from edgevit_deploy.deploy.ranges import OperatorRanges, Range, Ranges
from edgevit_deploy.deploy.rounding import Rounding, RoundingOfEachRun, WeightRounding, grid_of, weight_scales
from edgevit_deploy.deploy.scheme import LARGEST_E4M3, Scheme
from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.outside.text import shortened


class QuantisedOperator(nn.Module):
    """A convolution or a linear map that rounds its input and its weight, and its output where a scheme says so.

    Args:
        operator: float32.
        scheme: what is rounded, and how.
        ranges: of its input and its output; None where no activation is rounded by one.
    """

    def __init__(self, operator: nn.Conv2d | nn.Linear, scheme: Scheme, ranges: OperatorRanges | None) -> None:
        super().__init__()
        self.operator = operator
        self.round_weight = _weight_rounding(operator.weight, scheme)
        self.round_by(scheme, ranges)

    def round_by(self, scheme: Scheme, ranges: OperatorRanges | None) -> None:
        """Round the input, and the output where the scheme says so, by these ranges."""
        self.before = _before(self.operator, scheme, ranges)
        self.after = _rounding(scheme, ranges.output) if ranges and scheme.outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """As the operator's."""
        operator, x, weight = self.operator, self.before(x), self.round_weight(self.operator.weight)
        if isinstance(operator, nn.Linear):
            return self.after(nn.functional.linear(x, weight, operator.bias))  # type: ignore[no-any-return]
        return self.after(operator._conv_forward(x, weight, operator.bias))  # type: ignore[no-any-return]


def quantised(network: nn.Module, scheme: Scheme, ranges: Ranges | None) -> nn.Module:
    """Return a float32 copy of a deploy graph in which every operator that a scheme names rounds.

    Args:
        network: the deploy graph.
        scheme: what is rounded, and how.
        ranges: of all operators, as `observe` gives them; None where the scheme needs none.
    """
    graph = copy.deepcopy(network).float().eval().requires_grad_(False)
    for path, operator in chosen(graph, scheme):
        graph.set_submodule(path, QuantisedOperator(operator, scheme, ranges[path] if ranges and scheme.calibrated else None))
    return graph


def emulation(network: nn.Module, scheme: Scheme, ranges: Ranges | None) -> nn.Module:
    """Return the same as what PyTorch runs, whatever the dialect in which it is written.

    Its weights are those that are stored; rounding them once more changes none, nor does rounding them to half precision before.
    """
    graph = quantised(network, replace(scheme, dialect="trace"), ranges)
    for module in graph.modules():
        if isinstance(module, QuantisedOperator):
            module.operator.weight.copy_(module.round_weight.rounded(module.operator.weight))
    return graph


def chosen(network: nn.Module, scheme: Scheme) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """Return the operators of a deploy graph that a scheme rounds, by their paths.

    Raises:
        UsageError: the scheme leaves something in floating point that the network does not have.
    """
    operators = list(operators_of(network))
    for name in scheme.floating:
        if not any(replace(scheme, floating=(name,)).leaves(path) for path, _ in operators):
            known = {prefix for path, _ in operators for prefix in accumulate(path.split("."), "{}.{}".format)}
            suggestion = did_you_mean(name, known, few={prefix for prefix in known if "." not in prefix})
            raise UsageError(f"[{ROUNDING}] floating: no operator {shortened(name)!r} to leave in floating point; {suggestion}")
    return [(path, module) for path, module in operators if _suits(module, scheme) and not scheme.leaves(path)]


def _suits(module: nn.Conv2d | nn.Linear, scheme: Scheme) -> bool:
    """Say whether an operator is of a kind and a width that a scheme rounds."""
    return (scheme.depthwise or not is_depthwise(module)) and fewest_channels(module) >= scheme.fewest_channels


def rounded_operators(network: nn.Module) -> list[QuantisedOperator]:
    """Return the operators of a rounded graph that round."""
    return [module for module in network.modules() if isinstance(module, QuantisedOperator)]


def is_depthwise(module: nn.Module) -> bool:
    """Say whether a module convolves each channel by itself."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def fewest_channels(module: nn.Conv2d | nn.Linear) -> int:
    """Return how many channels an operator multiplies at once, or gives, whichever are fewer: 1 of a depthwise convolution."""
    return min(module.weight.shape[:2])


def stored(network: nn.Module) -> Stored:
    """Return what a file of a quantised graph must state."""
    operators = rounded_operators(network)
    roundings = [end for module in operators for end in (module.before, module.after) if isinstance(end, Rounding)]
    return Stored(
        activations=tuple((rounding.grid.scale, rounding.grid.zero_point) for rounding in roundings),
        weights=tuple(
            StoredWeights(
                scales=module.round_weight.scales.numpy(),
                values=cast("NDArray[np.int8]", module.round_weight.integers(module.operator.weight.detach()).numpy()),
            )
            for module in operators
        ),
    )


def _weight_rounding(weight: Tensor, scheme: Scheme) -> WeightRounding | PaletteRounding | E4M3WeightRounding:
    if scheme.weights == "palette8":
        return PaletteRounding(weight, half=scheme.half)
    if scheme.weights == "e4m3":
        return E4M3WeightRounding(weight_scales(weight, highest=LARGEST_E4M3))
    return WeightRounding(weight, scheme.dialect, half=scheme.half)


def _before(operator: nn.Conv2d | nn.Linear, scheme: Scheme, ranges: OperatorRanges | None) -> nn.Module:
    if scheme.activations == "each run":
        return RoundingOfEachRun(operator)
    return _rounding(scheme, ranges.input) if ranges else nn.Identity()


def _rounding(scheme: Scheme, extent: Range) -> Rounding:
    return Rounding(grid_of(extent, scheme), scheme.dialect)
