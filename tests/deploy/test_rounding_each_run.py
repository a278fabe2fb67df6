"""Rounding by the range of each run, and the steps of channels without weights: against the formulas, written once more."""

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.quantised import emulation, stored
from edgevit_deploy.deploy.rounding import RoundingOfEachRun, weight_scales
from edgevit_deploy.deploy.scheme import Scheme

POINTWISE = nn.Conv2d(6, 4, 1)
WIDE = nn.Conv2d(6, 4, 3, padding=1)
LINEAR = nn.Linear(6, 4)


def rounded(values: np.ndarray) -> np.ndarray:
    """One vector to 256 equal steps between its ends, zero being one of them, in float64."""
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    step = (high - low) / 255
    zero = round(-128 - low / step)
    return (np.clip(np.rint(values / step) + zero, -128, 127) - zero) * step


def pictures() -> torch.Tensor:
    """Positive, negative and mixed values, of sizes that differ from picture to picture and from position to position."""
    drawn = torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn[1] = drawn[1].abs() + 1
    return (drawn * torch.tensor([1.0, 30.0, 0.01], dtype=torch.float64).view(3, 1, 1, 1)).float()


def assert_rounded(found: torch.Tensor, values: torch.Tensor) -> None:
    """Each row of some values is rounded by itself; a value in the middle of two steps may fall to either."""
    for got, row in zip(found.flatten(1), values.flatten(1), strict=True):
        exact = rounded(row.double().numpy())
        step = (max(float(row.max()), 0) - min(float(row.min()), 0)) / 255
        away = np.abs(got.double().numpy() - exact)
        assert np.median(away) < 1e-4 * step  # of float32 numbers up to 128 steps from zero
        assert away.max() < 1.01 * step


def test_a_wide_convolution_has_one_range_for_each_picture() -> None:
    assert_rounded(RoundingOfEachRun(WIDE)(pictures()), pictures())


def test_a_pointwise_convolution_has_one_range_for_each_position() -> None:
    found = RoundingOfEachRun(POINTWISE)(pictures())
    assert_rounded(found.permute(0, 2, 3, 1).reshape(-1, 6), pictures().permute(0, 2, 3, 1).reshape(-1, 6))
    assert not torch.equal(found, RoundingOfEachRun(WIDE)(pictures()))


def test_a_linear_map_has_one_range_for_each_row() -> None:
    tokens = pictures().flatten(2).transpose(1, 2)
    assert_rounded(RoundingOfEachRun(LINEAR)(tokens).reshape(-1, 6), tokens.reshape(-1, 6))


@pytest.mark.parametrize("operator", [POINTWISE, WIDE])
def test_nothing_stays_nothing(operator: nn.Conv2d) -> None:
    assert torch.equal(RoundingOfEachRun(operator)(torch.zeros(1, 6, 4, 4)), torch.zeros(1, 6, 4, 4))


def test_it_states_weights_and_no_grids() -> None:
    """And depthwise convolutions are not among them."""
    network = nn.Sequential(POINTWISE, nn.Conv2d(4, 4, 3, groups=4))
    found = stored(emulation(network, Scheme(activations="each run", depthwise=False), None))
    assert (found.activations, len(found.weights)) == ((), 1)


def test_a_channel_without_weights_has_a_step_that_kernels_take() -> None:
    """XNNPACK refuses input step * weight step / output step from 256 on, which a step of 1 may exceed."""
    weight = torch.tensor([[0.0, 0.0], [1e-12, 0.0], [127.0, 1.0]])
    assert weight_scales(weight).tolist() == pytest.approx([1e-9 / 127, 1e-9 / 127, 1.0])
