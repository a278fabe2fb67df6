"""Rounding to E4M3 by the definition of its numbers: one bit of sign, four of exponent, three of mantissa."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgevit_deploy.deploy.e4m3 import E4M3WeightRounding
from edgevit_deploy.deploy.quantised import chosen, quantised
from edgevit_deploy.deploy.ranges import OperatorRanges, Range
from edgevit_deploy.deploy.rounding import Rounding, grid_of, weight_scales
from edgevit_deploy.deploy.scheme import LARGEST_E4M3, Scheme

E4M3 = Scheme(weights="e4m3", activations="e4m3", symmetric=True)


def number(bits: int) -> float:
    """What seven bits stand for, by the definition: 2 ** (exponent - 7) * 1.mmm, and 0.mmm where the exponent is 0."""
    exponent, mantissa = bits >> 3, bits & 7
    return 2.0**-6 * mantissa / 8 if exponent == 0 else 2.0 ** (exponent - 7) * (1 + mantissa / 8)


POSITIVE = np.array([number(bits) for bits in range(127)])
"""In ascending order; 127 is not a number. Those in even places have an even mantissa."""


def nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest numbers, of two that are as near the even one, and the largest for what is beyond it."""
    magnitudes = np.minimum(np.abs(values), POSITIVE[-1])
    above = np.searchsorted(POSITIVE, magnitudes)
    below = np.maximum(above - 1, 0)
    to_below, to_above = magnitudes - POSITIVE[below], POSITIVE[above] - magnitudes
    down = (to_below < to_above) | ((to_below == to_above) & (below % 2 == 0))
    return np.sign(values) * np.where(down, POSITIVE[below], POSITIVE[above])


def test_values_go_to_the_nearest_number() -> None:
    """At a scale that is a power of two, so that the division is exact: ties as well, all numbers, and what is beyond."""
    between = (POSITIVE[1:] + POSITIVE[:-1]) / 2
    drawn = np.random.default_rng(0).normal(0, 100, 5000).astype(np.float32).astype(np.float64)
    values = np.concatenate([POSITIVE, between, [449, 464, 500, 1e6, 1e-9], drawn])
    values = np.concatenate([values, -values])
    grid = grid_of(Range(low=-LARGEST_E4M3 / 8, high=1.0), E4M3)
    assert grid.scale == 1 / 8
    rounded = Rounding(grid, "trace")(torch.from_numpy(values / 8).float()).double().numpy()
    assert POSITIVE[-1] == LARGEST_E4M3
    assert np.array_equal(rounded, nearest(values) / 8)


@pytest.mark.parametrize(("low", "high", "scale"), [(-1, 3, 3 / 448), (-3, 1, 3 / 448), (1, 2, 2 / 448), (0, 0, 1)])
def test_the_largest_value_becomes_the_largest_number(low: float, high: float, scale: float) -> None:
    grid = grid_of(Range(low=low, high=high), E4M3)
    assert (grid.scale, grid.zero_point) == (np.float32(scale), 0)


def test_weights_have_a_scale_a_channel() -> None:
    factors = torch.tensor([1, 10, 0.1, 0, 3])[:, None, None, None]
    weight = torch.randn(5, 16, 3, 3, generator=torch.Generator().manual_seed(0)) * factors
    rounding = E4M3WeightRounding(weight_scales(weight, highest=LARGEST_E4M3))
    assert torch.allclose(rounding.scales, weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-9) / 448)
    bits = rounding.integers(weight).numpy().view(np.uint8)
    values = np.where(bits & 128, -1, 1) * POSITIVE[bits & 127]
    assert np.abs(values).max(axis=1).tolist() == [448, 448, 448, 0, 448]
    assert np.allclose(values, nearest((weight.flatten(1) / rounding.scales[:, None]).double().numpy()))
    assert np.array_equal(rounding(weight).flatten(1).numpy(), values.astype(np.float32) * rounding.scales[:, None].numpy())
    assert torch.equal(rounding.integers(rounding.rounded(weight)), rounding.integers(weight)), "once more changes none"


def test_an_operator_multiplies_rounded_values() -> None:
    network = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1))
    extent = OperatorRanges(input=Range(low=-2, high=3), output=Range(low=-1, high=1))
    scheme = Scheme(weights="e4m3", activations="e4m3", symmetric=True, fewest_channels=16)
    assert [path for path, _ in chosen(network, scheme)] == ["0"], "not the depthwise one, and none with 8 channels"
    x = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(1))
    rounded = quantised(network, scheme, {str(place): extent for place in range(4)})
    weight = network[0].weight.detach().double().flatten(1).numpy()
    scales = np.abs(weight).max(axis=1, keepdims=True) / 448
    inputs = nearest(x.double().flatten(2)[0].numpy() * 448 / 3) * 3 / 448
    products = nearest(weight / scales) * scales @ inputs + network[0].bias.detach().double().numpy()[:, None]
    assert np.allclose(rounded[0](x).detach().flatten(2)[0].numpy(), products, atol=1e-5)
