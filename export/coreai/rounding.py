"""A rounded network in the operators of Core AI: integers or tables in place of weights, and inputs rounded there and back."""

import copy

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.palette import TABLE, PaletteRounding
from edgevit_deploy.deploy.quantised import QuantisedOperator
from edgevit_deploy.deploy.rounding import Grid, Rounding, WeightRounding


class IntegerWeight(nn.Module):
    """Gives the weight of a rounded operator from its integers and a step for each output channel."""

    integers: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, rounding: WeightRounding) -> None:
        super().__init__()
        self.register_buffer("integers", rounding.integers(weight).view_as(weight).contiguous())
        self.register_buffer("scales", rounding.scales.view(-1, *[1] * (weight.dim() - 1)))

    def forward(self, _: Tensor) -> Tensor:
        """Takes what the operator has for a weight, which is nothing -> (out, ...)."""
        return torch.ops.coreai.constexpr_blockwise_shift_scale(self.integers, self.scales)  # type: ignore[no-any-return]


class TableWeight(nn.Module):
    """Gives the weight of a rounded operator from a table of 256 values; the converter knows the two by these names."""

    indices: Tensor
    lut: Tensor

    def __init__(self, weight: Tensor, rounding: PaletteRounding) -> None:
        super().__init__()
        self.register_buffer("indices", rounding.places.view_as(weight).to(torch.uint8).contiguous())
        self.register_buffer("lut", rounding.scales.view(*[1] * weight.dim(), TABLE, 1))

    def forward(self, _: Tensor) -> Tensor:
        """Takes what the operator has for a weight, which is nothing -> (out, ...)."""
        return torch.ops.coreai.lut_to_dense(self.indices, self.lut, 0)  # type: ignore[no-any-return]


class RoundedInput(nn.Module):
    """Rounds a tensor to a grid of int8 around 0, and goes on in the type that it has."""

    scale: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(grid.scale))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        integers = torch.ops.coreai.quantize(x, self.scale, torch.int8)
        return torch.ops.coreai.dequantize(integers, self.scale)  # type: ignore[no-any-return]


def with_core_ai_operators(network: nn.Module) -> nn.Module:
    """Return a copy of a rounded network in which Core AI's own operators round."""
    network = copy.deepcopy(network)
    for rounded in [part for part in network.modules() if isinstance(part, QuantisedOperator)]:
        weight, rounding = rounded.operator.weight.detach(), rounded.round_weight
        if isinstance(rounding, PaletteRounding):
            rounded.round_weight = TableWeight(weight, rounding)  # type: ignore[assignment]
        else:
            assert isinstance(rounding, WeightRounding)
            rounded.round_weight = IntegerWeight(weight, rounding)  # type: ignore[assignment]
        rounded.operator.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        if isinstance(rounded.before, Rounding):
            assert isinstance(rounded.before.grid, Grid)
            rounded.before = RoundedInput(rounded.before.grid)
    return network
