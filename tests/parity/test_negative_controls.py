"""The gate proves itself: each fault that converters make must exceed the widest bound that any fp32 target has.

Here with random weights, under which every fault shows; with trained ones in `test_trained_controls.py`.
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.parity.bounds import MAX_K, NoiseMultiple
from edgevit_deploy.parity.gate import OutputDiff, Truth, compare
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import Size
from tests.helpers.bounds import bound_of
from tests.helpers.small import ends

VARIANTS: list[tuple[str, Size]] = [("edgevit_xxs", (96, 64)), ("edgevit_xs", (64, 64)), ("edgevit_s", (64, 96))]


def outer_epsilon(model: EdgeViT) -> None:
    """PyTorch's default epsilon everywhere: what a rewritten network usually gets wrong."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm) and module.eps == 1e-6:
            module.eps = 1e-5


def easycv_epsilon(model: EdgeViT) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm) and module.eps == 1e-6:
            module.eps = 1e-8


def inner_epsilon(model: EdgeViT) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm) and module.eps == 1e-5:
            module.eps = 1e-6


def tanh_gelu(model: EdgeViT) -> None:
    for module in model.modules():
        if isinstance(module, nn.GELU):
            module.approximate = "tanh"


def one_tanh_gelu(model: EdgeViT) -> None:
    gelus = [module for module in model.modules() if isinstance(module, nn.GELU)]
    gelus[len(gelus) // 2].approximate = "tanh"


def dropped_local_prop_bias(model: EdgeViT) -> None:
    block = model.get_submodule("blocks2.0.SelfAttn.attn.LocalProp")
    nn.init.zeros_(block.bias)


def dropped_value_bias(model: EdgeViT) -> None:
    """The k bias cancels in the softmax; the v bias does not, and must be carried by whoever drops it."""
    qkv = model.get_submodule("blocks3.0.SelfAttn.attn.qkv")
    with torch.no_grad():
        qkv.bias[2 * qkv.in_features :] = 0


def swapped_heads(model: EdgeViT) -> None:
    """Exchange the first two heads' outputs of one attention, as a wrong transpose does."""
    attention = model.get_submodule("blocks3.0.SelfAttn.attn")
    assert isinstance(attention, GlobalSparseAttn)
    channels, head = attention.qkv.in_features, attention.head_dim
    with torch.no_grad():
        rows = attention.qkv.weight[2 * channels :].clone()
        attention.qkv.weight[2 * channels : 2 * channels + head] = rows[head : 2 * head]
        attention.qkv.weight[2 * channels + head : 2 * channels + 2 * head] = rows[:head]


class OffByOneSampler(nn.Module):
    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., 1 :: self.rate, 1 :: self.rate]


def sampler_off_by_one(model: EdgeViT) -> None:
    attention = model.get_submodule("blocks1.0.SelfAttn.attn")
    attention.sampler = OffByOneSampler(4)


class Reversed(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.flip(1))


FAULTS: dict[str, Callable[[EdgeViT], None]] = {
    function.__name__: function
    for function in (
        outer_epsilon,
        easycv_epsilon,
        inner_epsilon,
        tanh_gelu,
        one_tanh_gelu,
        dropped_local_prop_bias,
        dropped_value_bias,
        swapped_heads,
        sampler_off_by_one,
    )
}


Subject = tuple[EdgeViT, list[Truth]]
"""A network, and the truth on its probes and on the noisiest pictures near them."""


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda v: v[0])
def subject(request: pytest.FixtureRequest) -> Subject:
    name, size = request.param
    model = create_model(name, image_size=size)
    randomise(model, seed=0)
    return model, truths_of(model, size)


def truths_of(model: EdgeViT, size: Size) -> list[Truth]:
    reference = Reference(model, model.spec.preprocess)
    sets = ProbeSets(reference, model.spec.preprocess, lambda _: {}, seed=0)
    probes = sets.given(size, "tensor"), sets.noisiest(size, "tensor")
    return [reference.truth(some, ends("tensor", "logits"), "fp32") for some in probes]


def judge(network: nn.Module, truth: Truth, target: str) -> OutputDiff:
    with torch.no_grad():
        outputs = network.float()(torch.from_numpy(truth.probes.inputs)).numpy()
    return compare("logits", outputs, truth, bound_of(target, "fp32"), batch=len(outputs))


def test_the_unchanged_network_passes(subject: Subject) -> None:
    model, truths = subject
    assert all(judge(model, truth, "torchscript").ok for truth in truths)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_at_the_widest_bound(subject: Subject, fault: str) -> None:
    """On the probes, and on the noisiest pictures as well, whose noise is the larger one."""
    model, truths = subject
    broken = copy.deepcopy(model)
    FAULTS[fault](broken)
    for truth in truths:
        diff = judge(broken, truth, "tensorrt")
        assert diff.tolerance.k == MAX_K
        assert not diff.ok, f"{fault}: {diff.noise_ratio:.1f} x noise goes unseen on {truth.probes.names}"


def test_bgr_for_rgb_fails(subject: Subject) -> None:
    model, truths = subject
    assert not judge(Reversed(model), truths[0], "tensorrt").ok


def test_a_single_nan_fails(subject: Subject) -> None:
    _, (truth, _) = subject
    outputs = truth.outputs["logits"].copy()
    outputs[-1, -1] = np.nan
    diff = compare("logits", outputs, truth, bound_of("onnx", "fp32"), batch=1)
    assert not diff.ok
    assert diff.worst_probe == truth.probes.names[-1]


def test_permuted_probes_fail(subject: Subject) -> None:
    _, (truth, _) = subject
    assert not compare("logits", truth.outputs["logits"][::-1], truth, bound_of("onnx", "fp32"), batch=1).ok


def test_no_multiple_is_above_the_contract() -> None:
    for target in THIS_HOST.targets():
        for precision, multiple in THIS_HOST.find_exporter(target).precisions.items():
            assert 1 <= multiple.k <= MAX_K, (target, precision)
            assert len(multiple.reason) > 20, (target, precision)


@pytest.mark.parametrize(("k", "reason"), [(MAX_K + 1, "summed in another order"), (0, "summed in another order"), (4, " ")])
def test_a_bound_that_is_too_wide_or_has_no_reason_cannot_be_stated(k: float, reason: str) -> None:
    with pytest.raises(ValueError, match="a bound needs"):
        NoiseMultiple(k=k, reason=reason)
