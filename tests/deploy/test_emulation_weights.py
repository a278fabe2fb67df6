"""The emulation of a rounded graph multiplies by the weights that are stored, whatever is done to them on the way."""

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.quantised import QuantisedOperator, emulation, quantised, stored
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import differences

SCHEMES = [Scheme(activations="none", half=half, weights=weights) for half in (True, False) for weights in ("s8", "palette8")]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 40, 5), nn.GELU(), nn.Conv2d(40, 40, 3, groups=40), nn.Flatten(), nn.Linear(160, 30))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounding_once_more_changes_no_weight(scheme: Scheme) -> None:
    given, emulated = quantised(network(), scheme, None), emulation(network(), scheme, None)
    assert differences(stored(emulated), stored(given)) == []
    for module in emulated.modules():
        if isinstance(module, QuantisedOperator):
            weight = module.operator.weight
            torch.testing.assert_close(module.round_weight(weight), weight, rtol=0, atol=0)
            halved = weight.half().float()
            assert np.array_equal(module.round_weight.integers(halved), module.round_weight.integers(weight))


def test_another_weight_would_show() -> None:
    emulated = emulation(network(), SCHEMES[0], None)
    operator = next(module for module in emulated.modules() if isinstance(module, QuantisedOperator))
    operator.operator.weight[0, 0, 0, 0] += 2 * operator.round_weight.scales[0]
    assert differences(stored(emulated), stored(quantised(network(), SCHEMES[0], None))) != []
