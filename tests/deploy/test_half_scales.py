"""Scales that a file holds in half precision: the emulation has the same ones."""

import numpy as np
import pytest
import torch

from edgevit_deploy.deploy.ranges import Range
from edgevit_deploy.deploy.rounding import SMALLEST_HALF, WeightRounding, grid_of, weight_scales
from edgevit_deploy.deploy.scheme import Scheme

SYMMETRIC = Scheme(activations="s8", symmetric=True, half=True)
AFFINE = Scheme(activations="s8", half=True)


@pytest.mark.parametrize("scheme", [SYMMETRIC, AFFINE])
@pytest.mark.parametrize("high", [1e-9, 0.01, 0.7, 3.3, 1000.0])
def test_the_scale_of_an_activation_is_a_half_precision_number(scheme: Scheme, high: float) -> None:
    grid = grid_of(Range(low=-high / 3, high=high), scheme)
    assert grid.scale == float(np.float16(grid.scale))
    assert grid.scale >= SMALLEST_HALF
    if high > 0.1:
        exact = high / 127 if scheme.symmetric else high * 4 / 3 / 255
        assert grid.scale == pytest.approx(exact, rel=2**-11)


def test_a_range_of_nothing_has_the_scale_1() -> None:
    assert grid_of(Range(low=0, high=0), SYMMETRIC).scale == 1


def test_the_scales_of_weights_are_half_precision_numbers() -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-6, 1e-3, 0.1, 1, 3, 0])[:, None]
    scales = weight_scales(weight, half=True)
    assert torch.equal(scales, scales.half().float())
    assert (scales >= SMALLEST_HALF).all()
    np.testing.assert_allclose(scales[2:5], weight_scales(weight)[2:5], rtol=2**-11)
    assert not torch.equal(scales, weight_scales(weight))


def test_the_largest_weight_is_still_the_last_step() -> None:
    """A scale that was rounded down asks for a little more than 127."""
    weight = torch.linspace(-1, 1, 200)[:, None] * torch.linspace(0.5, 1, 9)
    rounding = WeightRounding(weight, "trace", half=True)
    integers = rounding.integers(weight)
    assert integers.abs().amax(dim=1)[[0, -1]].tolist() == [127, 127]
    rounded = integers.float() * rounding.scales[:, None]
    assert torch.equal(rounding(weight), rounded)
    assert ((rounded - weight).abs() <= 0.51 * rounding.scales[:, None]).all()
