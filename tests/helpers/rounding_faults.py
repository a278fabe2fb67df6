"""Faults of a quantised graph, planted in the module that an exporter is given: each must be found."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from edgevit_deploy.deploy.quantised import QuantisedOperator
from edgevit_deploy.deploy.rounding import Rounding

PLACE = "blocks2.0.LocalAgg.mlp.body.fc1"
"""The operator that is hit: one in the middle, neither the first nor the last."""


def hit(module: nn.Module) -> QuantisedOperator:
    """The operator, in a prepared module or a bare graph."""
    found = next(child for name, child in module.named_modules() if name.endswith(PLACE))
    assert isinstance(found, QuantisedOperator)
    return found


def scale_doubled(module: nn.Module) -> None:
    """The steps of one input are twice as wide."""
    rounding = hit(module).before
    assert isinstance(rounding, Rounding)
    rounding.grid = replace(rounding.grid, scale=2 * rounding.grid.scale)


def zero_point_off(module: nn.Module) -> None:
    """The zero point of one input is the next integer."""
    rounding = hit(module).before
    assert isinstance(rounding, Rounding)
    rounding.grid = replace(rounding.grid, zero_point=rounding.grid.zero_point + 1)


def channels_swapped(module: nn.Module) -> None:
    """Two channels of one weight have each other's scale; those that differ most, so that it is a fault."""
    scales = hit(module).round_weight.scales
    low, high = int(scales.argmin()), int(scales.argmax())
    scales[[low, high]] = scales[[high, low]]


def left_float(module: nn.Module) -> None:
    """One operator rounds nothing."""
    name = next(name for name, _ in module.named_modules() if name.endswith(PLACE))
    module.set_submodule(name, hit(module).operator)


def seven_bits(module: nn.Module) -> None:
    """One weight has every other integer only."""
    operator = hit(module)
    steps = 2 * operator.round_weight.scales.view(-1, *[1] * (operator.operator.weight.dim() - 1))
    with torch.no_grad():
        operator.operator.weight.copy_((operator.operator.weight / steps).round() * steps)


ROUNDING_FAULTS: dict[str, Callable[[nn.Module], None]] = {
    "scale doubled": scale_doubled,
    "zero point off by one": zero_point_off,
    "channels swapped": channels_swapped,
    "left float": left_float,
    "seven bits": seven_bits,
}
