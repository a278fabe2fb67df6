"""The yardstick of files that store weights in half precision and compute in float32: what it rounds, and what it leaves."""

import numpy as np
import torch
from torch import nn

from edgevit_deploy.parity.halves import FOLDED_ELSEWHERE, PIXELS, half_weight_truths
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import Graph, InputKind, imagenet_preprocess
from tests.helpers.small import ends


class Weighted(nn.Module):
    """The mean of the pixels times a weight of two axes, and a bias; neither fits half precision."""

    def __init__(self, weight: float, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 3), weight))
        self.bias = nn.Parameter(torch.full((2,), bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x.mean((2, 3)), self.weight, self.bias)


def noise_of(network: nn.Module, graph: Graph = "deploy", takes: InputKind = "tensor") -> tuple[float, object]:
    probes = Probes(names=("one",), inputs=np.ones((1, 3, 32, 32), np.float32))
    preprocess = imagenet_preprocess((32, 32))
    (truth,) = half_weight_truths(Reference(network, preprocess), graph, network, [probes], ends(takes), preprocess)
    return truth.noise["logits"], truth.bound


def test_a_graph_that_was_rewritten_wrongly_has_no_wider_bound() -> None:
    """Its truth is the network's all the same."""
    network, wrong = Weighted(1 + 2**-12, 0.0), Weighted(1 + 2**-12, 0.5)
    probes = Probes(names=("one",), inputs=np.ones((1, 3, 32, 32), np.float32))
    preprocess = imagenet_preprocess((32, 32))
    (truth,) = half_weight_truths(Reference(network, preprocess), "deploy", wrong, [probes], ends("tensor"), preprocess)
    assert truth.noise["logits"] == 3 * 2**-12
    np.testing.assert_allclose(truth.outputs["logits"], 3 * (1 + 2**-12), rtol=1e-12)


def test_weights_are_rounded_and_nothing_else() -> None:
    """1 + 2**-12 is 1 in half precision: three of them are 3 * 2**-12 too small; sums and biases are float32."""
    assert noise_of(Weighted(1 + 2**-12, 0.0))[0] == 3 * 2**-12
    assert noise_of(Weighted(1.0, 1 + 2**-12))[0] == 0


def test_the_published_graph_has_a_bound_of_its_own() -> None:
    assert noise_of(Weighted(1.0, 0.0))[1] is None
    assert noise_of(Weighted(1.0, 0.0), "original")[1] == FOLDED_ELSEWHERE


def test_pixels_have_a_bound_of_their_own() -> None:
    assert noise_of(Weighted(1.0, 0.0), takes="image")[1] == PIXELS
