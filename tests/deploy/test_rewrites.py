"""The rewrites: how often each applies, that each alone and all together are exact, and where each must not apply."""

import copy

import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy import create_model
from edgevit_deploy.deploy.attention_forms import batch_attention, einsum_attention, pack_attention, stack_attention
from edgevit_deploy.deploy.carry_value_bias import carry_value_bias
from edgevit_deploy.deploy.centre_patch_embed import centre_patch_embed
from edgevit_deploy.deploy.centre_values import centre_values
from edgevit_deploy.deploy.chains import Attention, ChannelNorm, LocalProp, MeanPool, Residual, Sampler, chain
from edgevit_deploy.deploy.channels_last import to_channels_last
from edgevit_deploy.deploy.drop_key_bias import drop_key_bias
from edgevit_deploy.deploy.feed_forward_on_tokens import feed_forward_on_tokens
from edgevit_deploy.deploy.fold_attention_scale import fold_attention_scale
from edgevit_deploy.deploy.fold_batch_norm import fold_batch_norm
from edgevit_deploy.deploy.fold_head_norm import fold_head_norm
from edgevit_deploy.deploy.fold_norm_affine import fold_norm_affine
from edgevit_deploy.deploy.fold_position import fold_position
from edgevit_deploy.deploy.form import CHOICES, Form
from edgevit_deploy.deploy.lay_open import lay_open
from edgevit_deploy.deploy.multiply_local_prop import multiply_local_prop
from edgevit_deploy.deploy.norm_forms import LastAxisNorm, norm_by_convolutions, norm_by_means
from edgevit_deploy.deploy.pool_two_axes import pool_two_axes
from edgevit_deploy.deploy.rewrite import BIASES, FOLDS, REWRITE_OF, Rewrite, rewrites_of, to_deploy_form
from edgevit_deploy.deploy.sample_first import sample_first
from edgevit_deploy.deploy.sampler_forms import sample_by_depthwise, sample_by_slice
from edgevit_deploy.deploy.shuffle_local_prop import shuffle_local_prop
from edgevit_deploy.deploy.tile_local_prop import tile_local_prop
from edgevit_deploy.deploy.upsample_local_prop import upsample_local_prop
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from tests.helpers.small import small_network, tiny_network

EXACT = 1e-12
"""Relative to the largest output; float64 itself is good for 1e-15."""

VARIANTS = ("edgevit_xxs", "edgevit_xs", "edgevit_s", "edgevit_xs_table1", "edgevit_s_table1")


def make(variant: str, *, head_bias: bool = True) -> EdgeViT:
    model = create_model(variant, num_classes=10, image_size=(64, 96), head_bias=head_bias)
    randomise(model, seed=1)
    return model.double().eval()


def images(batch: int = 2, height: int = 64, width: int = 96) -> Tensor:
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def relative_error(rewritten: nn.Module, original: nn.Module, inputs: Tensor) -> float:
    exact = original(inputs)
    return float((rewritten(inputs) - exact).abs().max() / exact.abs().max())


def expected_counts(model: EdgeViT) -> dict[Rewrite, int]:
    """What the paper's figure 2 says: LocalAgg has two BatchNorms and a position, SelfAttn a position and an attention."""
    blocks = sum(model.spec.depths)
    sampled = sum(depth for depth, rate in zip(model.spec.depths, model.spec.sample_rates, strict=True) if rate > 1)
    return {
        fold_batch_norm: 2 * sampled,
        fold_head_norm: 1,
        fold_position: sampled + blocks,
        sample_first: sampled,
        **dict.fromkeys((shuffle_local_prop, tile_local_prop, upsample_local_prop, multiply_local_prop), sampled),
        **dict.fromkeys((sample_by_slice, sample_by_depthwise), sampled),
        **dict.fromkeys((centre_values, pack_attention, stack_attention, batch_attention, einsum_attention), blocks),
        **dict.fromkeys((norm_by_means, norm_by_convolutions), 4 + 2 * blocks + sampled),
        **dict.fromkeys((feed_forward_on_tokens, to_channels_last), sampled + blocks),
        fold_norm_affine: 2 * blocks,  # before the delegates are sampled first; after that, each one's norm too
        centre_patch_embed: 4,
        pool_two_axes: 1,
        fold_attention_scale: blocks,
        drop_key_bias: blocks,
        carry_value_bias: blocks,
    }


SMALLEST_AT_ONCE = [pytest.param(name, marks=() if name == "edgevit_xxs" else pytest.mark.slow) for name in VARIANTS]


@pytest.mark.parametrize("variant", SMALLEST_AT_ONCE)
def test_the_deploy_form_is_the_network(variant: str) -> None:
    model = make(variant)
    before = copy.deepcopy(model.state_dict())
    form = to_deploy_form(model, Form())
    counts = expected_counts(model)
    assert form.applied == {rewrite.__name__.replace("_", " "): counts[rewrite] for rewrite in rewrites_of(Form())}
    for inputs in (images(), images(1, 32, 64), images(3, 160, 64)):
        assert relative_error(form.network, model, inputs) <= EXACT
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()), "the original was changed"
    kinds = {type(module) for module in form.network.modules()}
    assert not kinds & {nn.BatchNorm2d, nn.ConvTranspose2d, LocalProp}


@pytest.mark.parametrize("variant", SMALLEST_AT_ONCE)
def test_laying_open_changes_nothing(variant: str) -> None:
    model = make(variant)
    assert relative_error(lay_open(copy.deepcopy(model)), model, images()) <= EXACT


@pytest.mark.parametrize("rewrite", dict.fromkeys((*FOLDS, *BIASES, *REWRITE_OF.values())), ids=lambda rewrite: rewrite.__name__)
def test_each_rewrite_alone_is_exact(rewrite: Rewrite) -> None:
    model = make("edgevit_xxs")
    graph = lay_open(copy.deepcopy(model))
    if rewrite is carry_value_bias:
        shuffle_local_prop(graph)  # a transposed convolution is not what the bias is carried into
    assert rewrite(graph) == expected_counts(model)[rewrite]
    if rewrite is to_channels_last:
        return  # what it enters with is there once more, if it is asked for once more
    assert relative_error(graph, model, images()) <= EXACT
    assert rewrite(graph) == 0, "nothing is left to rewrite"


EXTREMES = (
    Form(norm="mean", norm_affine="folded", local_prop="multiply"),
    Form(norm="mean", patch_embed="centred", norm_affine="folded", values="centred", attention="bmm", sampler="slice"),
    Form(norm="convolutions", patch_embed="centred", attention="packed", sampler="depthwise", local_prop="tile"),
    Form(local_prop="shuffle", values="centred", attention="stacked", pool="two_axes"),
    Form(
        local_prop="kept",
        norm_affine="folded",
        values="centred",
        attention="packed",
        feed_forward="tokens",
        memory="channels_last",
    ),
)


@pytest.mark.parametrize("form", [*(f for forms in Form().alternatives().values() for f in forms), *EXTREMES], ids=str)
def test_every_form_is_the_network(form: Form) -> None:
    """Each choice alone and mixed, at several batches and sizes."""
    model = tiny_network(seed=1).double()
    deployed = to_deploy_form(model, form)
    for inputs in (images(), images(1, 32, 64), images(3, 160, 64)):
        assert relative_error(deployed.network, model, inputs) <= EXACT
    expected = {rewrite.__name__.replace("_", " ") for rewrite in rewrites_of(form)}
    assert set(deployed.applied) == expected
    assert all(deployed.applied.values()), "a choice that applies nowhere"


def test_every_choice_has_a_rewrite_or_is_how_the_graph_is_laid_open() -> None:
    untouched = {(part, choice) for part, choices in CHOICES.items() for choice in choices} - set(REWRITE_OF)
    assert untouched == {
        ("local_prop", "kept"),
        ("norm_affine", "kept"),
        ("patch_embed", "kept"),
        ("sampler", "max_pool"),
        ("values", "kept"),
        ("attention", "split"),
        ("feed_forward", "conv"),
        ("norm", "channels_last"),
        ("pool", "one_axis"),
        ("position", "folded"),  # one of the folds that every other form starts from
        ("position", "kept"),
        ("memory", "contiguous"),
    }


def test_what_a_softmax_sums_up_wrongly_does_not_reach_centred_values_that_are_alike() -> None:
    """A kernel that adds up a thousand products, each sum rounded the same way, is as one whose weights do not sum to 1."""
    attention = Attention(small_network(0).get_submodule("blocks4.0.SelfAttn.attn"))
    weights, values = torch.full((1, 1, 4, 4), 0.25 * (1 + 1e-4)), torch.full((1, 1, 4, 2), 3.0)
    assert torch.allclose(attention.mix(weights, values), values * (1 + 1e-4), rtol=1e-6, atol=0)
    centre_values(nn.Sequential(attention))
    assert torch.equal(attention.mix(weights, values), values)


def test_a_head_without_a_bias_gets_one() -> None:
    model = make("edgevit_xxs", head_bias=False)
    assert relative_error(to_deploy_form(model, Form()).network, model, images()) <= EXACT


def test_a_wrong_rewrite_is_seen() -> None:
    """The check of exactness can fail: a bias that is dropped instead of carried."""
    model = make("edgevit_xxs")
    graph = lay_open(copy.deepcopy(model))
    for module in graph.modules():
        if isinstance(module, Attention):
            module.v.register_parameter("bias", None)
    assert relative_error(graph, model, images()) > 1e6 * EXACT


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels).eval().double()


class TestWhereRewritesDoNotApply:
    """Each pattern with one thing different, for which the identity in the rewrite's docstring does not hold."""

    @pytest.mark.parametrize(
        "reader",
        [
            nn.Conv2d(8, 8, 3, padding=1),  # reads zeros beyond the border
            nn.Conv2d(8, 8, 1, groups=8),
            nn.Conv2d(8, 8, 1, bias=False),  # has nowhere to put the shift
            nn.Conv2d(8, 8, 1, stride=2),
            nn.GELU(),
        ],
    )
    def test_fold_batch_norm(self, reader: nn.Module) -> None:
        assert fold_batch_norm(nn.Sequential(norm(8), reader.double())) == 0

    def test_fold_head_norm(self) -> None:
        head = nn.Linear(8, 4).double()
        assert fold_head_norm(nn.Sequential(norm(8), nn.Flatten(), head)) == 0
        assert fold_head_norm(nn.Sequential(norm(8), MeanPool(), nn.ReLU(), head)) == 0

    @pytest.mark.parametrize(
        "body",
        [
            nn.Conv2d(8, 8, 3, padding=1),  # mixes channels
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
            nn.Conv2d(8, 8, 4, padding="same", groups=8),  # has no centre
            nn.Conv2d(8, 8, 3, padding=(1, 0), groups=8),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8)),
        ],
    )
    def test_fold_position(self, body: nn.Module) -> None:
        assert fold_position(nn.Sequential(Residual(body))) == 0

    def test_sample_first(self) -> None:
        over_positions = nn.GroupNorm(1, 8)  # takes its statistics from every position
        assert sample_first(nn.Sequential(over_positions, Sampler(2))) == 0
        assert sample_first(nn.Sequential(ChannelNorm(nn.LayerNorm(8)), nn.GELU(), Sampler(2))) == 0

    @pytest.mark.parametrize("rewrite", [shuffle_local_prop, tile_local_prop, upsample_local_prop, multiply_local_prop])
    def test_local_prop_with_windows_that_overlap(self, rewrite: Rewrite) -> None:
        assert rewrite(nn.Sequential(LocalProp(8, 8, 4, stride=2, padding=1, groups=8))) == 0

    def test_samplers(self) -> None:
        assert sample_by_slice(nn.Sequential(nn.MaxPool2d(2, 2))) == 0  # the largest of four, not the first
        assert sample_by_depthwise(nn.Sequential(Sampler(2))) == 0  # nothing says how many channels

    @pytest.mark.parametrize("rewrite", [centre_values, pack_attention, stack_attention, batch_attention, einsum_attention])
    def test_attention_forms(self, rewrite: Rewrite) -> None:
        assert rewrite(nn.Sequential(nn.MultiheadAttention(8, 2))) == 0

    def test_means_over_the_last_axis_follow_only_what_ends_channels_last(self) -> None:
        for local_prop, expected in (("multiply", 5), ("tile", 5), ("upsample", 0), ("shuffle", 0), ("kept", 0)):
            network = to_deploy_form(make("edgevit_xxs"), Form(norm="mean").change("local_prop", local_prop)).network
            found = [name for name, module in network.named_modules() if isinstance(module, LastAxisNorm)]
            assert len(found) == expected, local_prop
            assert all(name.endswith("attn.body.norm") for name in found)

    @pytest.mark.parametrize("rewrite", [norm_by_means, norm_by_convolutions])
    def test_norms_over_positions(self, rewrite: Rewrite) -> None:
        assert rewrite(nn.Sequential(nn.GroupNorm(1, 8))) == 0

    @pytest.mark.parametrize(
        "reader", [nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1, groups=8), nn.GELU()]
    )
    def test_fold_norm_affine(self, reader: nn.Module) -> None:
        assert fold_norm_affine(nn.Sequential(ChannelNorm(nn.LayerNorm(8)), reader)) == 0

    def test_fold_norm_affine_needs_every_bias(self) -> None:
        attention = Attention(small_network(0).get_submodule("blocks4.0.SelfAttn.attn"))
        graph = nn.Sequential(ChannelNorm(nn.LayerNorm(attention.channels)), attention)
        drop_key_bias(graph)
        assert fold_norm_affine(graph) == 0

    def test_centre_patch_embed(self) -> None:
        norm = ChannelNorm(nn.LayerNorm(8))
        assert centre_patch_embed(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.GELU(), norm)) == 0
        assert centre_patch_embed(nn.Sequential(nn.Conv2d(8, 8, 1, groups=8), norm)) == 0  # mixes no channels
        assert centre_patch_embed(nn.Sequential(Residual(nn.Conv2d(8, 8, 1)), norm)) == 0  # the residual has a mean of its own

    def test_feed_forward_on_tokens(self) -> None:
        fc2 = nn.Conv2d(8, 8, 1)
        for fc1, act in ((nn.Conv2d(8, 8, 3, padding=1), nn.GELU()), (nn.Conv2d(8, 8, 1), nn.ReLU())):
            assert feed_forward_on_tokens(chain({"fc1": fc1, "act": act, "fc2": fc2})) == 0

    def test_to_channels_last_keeps_the_kind_of_gelu(self) -> None:
        graph = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU(approximate="tanh"), nn.ReLU())
        x = images()
        expected = graph.double()(x)
        assert to_channels_last(graph) == 1
        assert torch.allclose(graph(x), expected, rtol=0, atol=1e-15)

    def test_carry_value_bias(self) -> None:
        attention = Attention(small_network(0).get_submodule("blocks4.0.SelfAttn.attn"))
        channels = attention.v.out_features
        for reader in (nn.GELU(), nn.Conv2d(channels, 8, 3), nn.Conv2d(channels, 8, 1, bias=False)):
            assert carry_value_bias(nn.Sequential(attention, reader)) == 0
        assert carry_value_bias(nn.Sequential(attention, nn.GELU(), nn.Conv2d(channels, 8, 1))) == 0

    def test_attention_without_scale_or_bias(self) -> None:
        attention = Attention(small_network(0).get_submodule("blocks4.0.SelfAttn.attn"))
        graph = nn.Sequential(attention)
        assert (fold_attention_scale(graph), drop_key_bias(graph)) == (1, 1)
        assert (fold_attention_scale(graph), drop_key_bias(graph)) == (0, 0)
