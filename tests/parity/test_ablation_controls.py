"""The gate sees faults in what only ablations have: each must exceed the widest bound that any fp32 target has."""

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy import create_model
from edgevit_deploy.model.alternatives import CenterSampler, LocallyGroupedAttn, SpatialReductionAttn
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.reference import Reference
from tests.helpers.small import ends
from tests.parity.test_negative_controls import judge

SIZE = (64, 64)
"""Groups of 7 x 7 are filled up in every stage."""


@cache
def subject(name: str) -> tuple[EdgeViT, Truth]:
    model = create_model(name, num_classes=10, image_size=SIZE)
    randomise(model, seed=0)
    reference = Reference(model, model.spec.preprocess)
    probes = ProbeSets(reference, model.spec.preprocess, lambda _: {}, seed=0).given(SIZE, "tensor")
    return model, reference.truth(probes, ends(), "fp32")


def each(model: EdgeViT, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kind)]


def center_off_by_one(model: EdgeViT) -> None:
    """In one block only; the middle position above and on the left is as good a middle."""
    each(model, CenterSampler)[0].offset -= 1  # type: ignore[operator] # an int


def average_of_three(model: EdgeViT) -> None:
    """A window that is one short."""
    pool = each(model, nn.AvgPool2d)[0]
    pool.kernel_size = 3  # type: ignore[assignment] # no tensor


def average_for_maximum(model: EdgeViT) -> None:
    attention = model.get_submodule("blocks2.0.SelfAttn.attn")
    attention.sampler = nn.AvgPool2d(2, 2)


def aligned_corners(model: EdgeViT) -> None:
    """The other convention, in one block."""
    each(model, nn.Upsample)[-1].align_corners = True  # type: ignore[assignment] # no tensor


def nearest(model: EdgeViT) -> None:
    attention = model.get_submodule("blocks2.0.SelfAttn.attn")
    attention.LocalProp = nn.Upsample(scale_factor=2, mode="nearest")


class Shifted(nn.Module):
    """Fills up at the top and on the left."""

    def __init__(self, attention: LocallyGroupedAttn) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        flipped = tokens.reshape(len(tokens), height, width, -1).flip(1, 2).reshape(tokens.shape)
        mixed: Tensor = self.attention(flipped, height, width)
        return mixed.reshape(len(tokens), height, width, -1).flip(1, 2).reshape(tokens.shape)


def filled_up_at_the_top(model: EdgeViT) -> None:
    half = model.get_submodule("blocks1.0.GroupedAttn")
    attention = half.attn
    assert isinstance(attention, LocallyGroupedAttn)
    half.attn = Shifted(attention)


def swapped_keys_and_values(model: EdgeViT) -> None:
    attention = each(model, SpatialReductionAttn)[0]
    assert isinstance(attention, SpatialReductionAttn)
    with torch.no_grad():
        attention.kv.weight.copy_(attention.kv.weight.roll(len(attention.kv.weight) // 2, 0))


def dropped_reduction_bias(model: EdgeViT) -> None:
    """Another epsilon in the norm behind it would do nothing: what goes into that norm is of the size of 1."""
    attention = each(model, SpatialReductionAttn)[-1]
    nn.init.zeros_(attention.sr.bias)  # type: ignore[union-attr, arg-type] # a convolution's


FAULTS: list[tuple[str, Callable[[EdgeViT], None]]] = [
    ("edgevit_xxs_center", center_off_by_one),
    ("edgevit_xxs_avg", average_of_three),
    ("edgevit_xxs_max", average_for_maximum),
    ("edgevit_xxs_bilinear", aligned_corners),
    ("edgevit_xxs_bilinear", nearest),
    ("edgevit_xxs_lsa", filled_up_at_the_top),
    ("edgevit_xxs_without_lp", swapped_keys_and_values),
    ("edgevit_xxs_without_la", dropped_reduction_bias),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_each_fault_fails_and_the_network_itself_passes(name: str, fault: Callable[[EdgeViT], None]) -> None:
    model, truth = subject(name)
    assert judge(copy.deepcopy(model), truth, "torchscript").ok
    broken = copy.deepcopy(model)
    fault(broken)
    diff = judge(broken, truth, "tensorrt")
    assert not diff.ok, f"{diff.noise_ratio:.1f} x noise goes unseen"
