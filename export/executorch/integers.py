"""Rounded weights as the integers that they are: XNNPACK takes constants of int8, and ExecuTorch cannot make them from floats."""

import copy

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.quantised import QuantisedOperator
from edgevit_deploy.deploy.rounding import WeightRounding
from edgevit_deploy.deploy.scheme import LARGEST_WEIGHT


class IntegerWeight(nn.Module):
    """Gives the weight of a rounded operator from its integers and their steps."""

    integers: Tensor
    scales: Tensor
    zero_points: Tensor

    def __init__(self, rounded: QuantisedOperator) -> None:
        super().__init__()
        weight, rounding = rounded.operator.weight.detach(), rounded.round_weight
        assert isinstance(rounding, WeightRounding)
        self.register_buffer("integers", rounding.integers(weight).view_as(weight))
        self.register_buffer("scales", rounding.scales)
        self.register_buffer("zero_points", rounding.zero_points)

    def forward(self, _: Tensor) -> Tensor:
        """Takes what the operator has for a weight, which is nothing -> (out, ...)."""
        grid = (0, -LARGEST_WEIGHT, LARGEST_WEIGHT, torch.int8)
        decomposed = torch.ops.quantized_decomposed
        return decomposed.dequantize_per_channel(self.integers, self.scales, self.zero_points, *grid)  # type: ignore[no-any-return]


def with_integers(module: nn.Module) -> nn.Module:
    """Return a copy of a rounded module in which integers stand for the weights."""
    module = copy.deepcopy(module)
    for rounded in [part for part in module.modules() if isinstance(part, QuantisedOperator)]:
        rounded.round_weight = IntegerWeight(rounded)  # type: ignore[assignment]
        rounded.operator.weight = nn.Parameter(torch.empty(0), requires_grad=False)
    return module
