"""Faults of a quantised graph, planted in the module that an exporter is given: each must be found."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from edgevit_deploy.deploy.quantised import QuantisedOperator
from edgevit_deploy.deploy.rounding import Rounding

PLACE = "blocks2.0.LocalAgg.mlp.body.fc1"
"""The operator that is hit: one in the middle, neither the first nor the last."""


def place_in(module: nn.Module, place: str) -> str:
    """The path of the operator, in a prepared module or a bare graph."""
    return next(name for name, _ in module.named_modules() if name == place or name.endswith(f".{place}"))


def hit(module: nn.Module, place: str = PLACE) -> QuantisedOperator:
    """The operator itself."""
    found = module.get_submodule(place_in(module, place))
    assert isinstance(found, QuantisedOperator)
    return found


def scale_doubled(module: nn.Module, place: str = PLACE) -> None:
    """The steps of one input are twice as wide."""
    rounding = hit(module, place).before
    assert isinstance(rounding, Rounding)
    rounding.grid = replace(rounding.grid, scale=2 * rounding.grid.scale)


def zero_point_off(module: nn.Module, place: str = PLACE) -> None:
    """The zero point of one input is the next integer."""
    rounding = hit(module, place).before
    assert isinstance(rounding, Rounding)
    rounding.grid = replace(rounding.grid, zero_point=rounding.grid.zero_point + 1)


def channels_swapped(module: nn.Module, place: str = PLACE) -> None:
    """Two channels of one weight have each other's scale; those that differ most, so that it is a fault."""
    scales = hit(module, place).round_weight.scales
    low, high = int(scales.argmin()), int(scales.argmax())
    scales[[low, high]] = scales[[high, low]]


def left_float(module: nn.Module, place: str = PLACE) -> None:
    """One operator rounds nothing."""
    module.set_submodule(place_in(module, place), hit(module, place).operator)


def seven_bits(module: nn.Module, place: str = PLACE) -> None:
    """One weight has every other integer only."""
    operator = hit(module, place)
    steps = 2 * operator.round_weight.scales.view(-1, *[1] * (operator.operator.weight.dim() - 1))
    with torch.no_grad():
        operator.operator.weight.copy_((operator.operator.weight / steps).round() * steps)


ROUNDING_FAULTS: dict[str, Callable[..., None]] = {
    "scale doubled": scale_doubled,
    "zero point off by one": zero_point_off,
    "channels swapped": channels_swapped,
    "left float": left_float,
    "seven bits": seven_bits,
}
