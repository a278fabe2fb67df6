"""What is trained to be rounded is, operator by operator, what the file of each target computes; the way back loses nothing."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy import create_model
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.quantised import quantised, rounded_operators
from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.rounding import WeightRounding
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.trained import RoundedNetwork, training_graph
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Quantisation
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import find_variant
from tests.helpers.small import tiny_network

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
INPUTS = torch.from_numpy(IMAGES)

QUANTISATIONS: dict[str, Quantisation] = {
    f"{target} {precision}": quantisation
    for target in THIS_HOST.targets()
    for precision, quantisation in THIS_HOST.find_exporter(target).quantised.items()
}
TRAINABLE = [name for name in QUANTISATIONS if name.endswith((" int8", " w8"))]


def rounded_network(quantisation: Quantisation, network: EdgeViT | None = None) -> RoundedNetwork:
    """A network as it is after some updates: parameters of its own everywhere, and ranges of these."""
    network = network or tiny_network(seed=0)
    graph = training_graph(network, quantisation.form)
    rounded = RoundedNetwork(graph, network.spec, quantisation.scheme, observe(graph, lambda: [IMAGES]))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter *= 1 + 0.2 * torch.randn(parameter.shape, generator=random)
    if quantisation.scheme.calibrated:
        rounded.round_by(observe(rounded.unrounded(), lambda: [IMAGES]))
    return rounded.eval()


def exactly(network: nn.Module) -> nn.Module:
    """In float64, where no value falls to the other side of a step by another order of sums; steps stay float32."""
    network = network.double()
    for module in network.modules():
        if isinstance(module, WeightRounding):
            module.scales = module.scales.float()
    return network


def file_of(published: EdgeViT, quantisation: Quantisation, ranges: Ranges | None) -> nn.Module:
    """What a file of these weights computes: the target's own graph, rounded."""
    graph = to_deploy_form(published, quantisation.form).network
    return exactly(quantised(graph, dataclasses.replace(quantisation.scheme, dialect="trace"), ranges))


@torch.no_grad()
def rms(one: nn.Module, other: nn.Module) -> float:
    difference: Tensor = one(INPUTS.double()) - other(INPUTS.double())
    return difference.square().mean().sqrt().item()


@pytest.mark.parametrize("name", TRAINABLE)
def test_what_is_trained_is_what_the_file_computes(name: str) -> None:
    quantisation = QUANTISATIONS[name]
    trained = rounded_network(quantisation)
    exactly(trained)
    file = file_of(trained.published(), quantisation, trained.ranges)
    assert rms(trained, file) < 1e-6 * rms(trained, trained.unrounded())


def leave_one_out(trained: RoundedNetwork, _: EdgeViT) -> None:
    trained.set_submodule("patch_embed1.proj.round_weight", nn.Identity())


def other_norm(_: RoundedNetwork, published: EdgeViT) -> None:
    published.get_submodule("blocks1.0.LocalAgg.norm1").running_var.mul_(1.1)


def value_bias(trained: RoundedNetwork, _: EdgeViT) -> None:
    """The value's bias where it was: in front of the attention, where the file has none."""
    shift = trained.get_submodule("blocks1.0.SelfAttn.attn.body.value_bias")
    value = trained.get_submodule("blocks1.0.SelfAttn.attn.body.attend.v.operator")
    value.register_parameter("bias", nn.Parameter(shift.bias.detach().clone()))
    shift.bias.data.zero_()


def uncentred(trained: RoundedNetwork, _: EdgeViT) -> None:
    trained.get_submodule("patch_embed1.norm").centred = False


@pytest.mark.parametrize("fault", [leave_one_out, other_norm, value_bias, uncentred])
def test_the_comparison_finds_what_is_not_the_same(fault: Callable[[RoundedNetwork, EdgeViT], None]) -> None:
    """LiteRT's form: outputs are rounded, affines are folded, patch embeddings are centred."""
    quantisation = QUANTISATIONS["litert int8"]
    trained = rounded_network(quantisation)
    exactly(trained)
    published = trained.published()
    fault(trained, published)
    assert rms(trained, file_of(published, quantisation, trained.ranges)) > 1e-3 * rms(trained, trained.unrounded())


@pytest.mark.parametrize("variant", ["edgevit_xxs", "edgevit_xs", "edgevit_s", "edgevit_xxs_center", "edgevit_xxs_bilinear"])
@pytest.mark.parametrize("head_bias", [True, False])
def test_the_way_there_and_back_keeps_the_function(variant: str, head_bias: bool) -> None:
    spec = dataclasses.replace(find_variant(variant), depths=(1, 1, 1, 1), num_classes=10, head_bias=head_bias)
    network = EdgeViT(spec.with_image_size((64, 64))).eval()
    randomise(network, 0)
    for form in (Form(position="kept"), Form(norm_affine="folded", patch_embed="centred", norm="mean", position="kept")):
        graph = training_graph(network, form)
        with torch.no_grad():
            assert (graph(INPUTS) - network(INPUTS)).abs().max() < 2e-5
        rounded = RoundedNetwork(graph, network.spec, Scheme(activations="none"), None).double()
        published = rounded.published()
        with torch.no_grad():
            assert (published(INPUTS.double()) - rounded.unrounded()(INPUTS.double())).abs().max() < 1e-12
        assert list(published.state_dict()) == list(EdgeViT(dataclasses.replace(spec, head_bias=True)).state_dict())


@pytest.mark.parametrize("variant", ["edgevit_xxs_lsa", "edgevit_xxs_without_la", "edgevit_xxs_without_lp"])
def test_attention_without_a_way_back_is_refused(variant: str) -> None:
    with pytest.raises(UsageError, match=f"--qat: {variant} has .* train it without --qat"):
        training_graph(create_model(variant, num_classes=10), Form())


def test_gradients_go_straight_through_and_every_parameter_has_one() -> None:
    rounded = rounded_network(QUANTISATIONS["litert int8"]).train()
    rounded(INPUTS).square().sum().backward()
    for name, parameter in rounded.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_what_lies_beyond_the_grid_has_no_gradient() -> None:
    operator = rounded_operators(rounded_network(QUANTISATIONS["onnx int8"]))[0]
    grid = operator.before.grid
    lowest, highest = ((end - grid.zero_point) * grid.scale for end in (grid.lowest, grid.highest))
    x = torch.tensor([lowest - 1, lowest + 0.01, highest - 0.01, highest + 1], requires_grad=True)
    operator.before(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_the_steps_of_weights_follow_them() -> None:
    """As wide as the largest weight of a channel is now, without anything that a state would have to hold."""
    rounded = rounded_network(QUANTISATIONS["onnx int8"])
    operator = rounded_operators(rounded)[0]
    before = operator.round_weight(operator.operator.weight)
    with torch.no_grad():
        operator.operator.weight *= 8
    assert torch.allclose(operator.round_weight(operator.operator.weight), 8 * before)
    assert set(rounded.state_dict()) == {name for name, _ in rounded.named_parameters()}


def test_a_centred_convolution_stays_so_under_updates() -> None:
    rounded = rounded_network(QUANTISATIONS["executorch int8"])
    for place in (copy.deepcopy(rounded), rounded):
        convolution = place.get_submodule("patch_embed2.proj.operator")
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.weight.mean(dim=0).abs().max() < 1e-7
        with torch.no_grad():
            for parameter in convolution.parameters():
                parameter += 1
        assert convolution.weight.mean(dim=0).abs().max() < 1e-6


@pytest.mark.parametrize("name", [name for name in QUANTISATIONS if name not in TRAINABLE])
def test_what_has_no_gradient_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"--qat: .*; use --precision int8"):
        rounded_network(QUANTISATIONS[name])
