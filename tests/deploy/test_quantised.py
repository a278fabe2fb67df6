"""Rounding to eight bits: grids by their definition, weights channel by channel, and the operators of every form."""

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.observe import observe, operators_of
from edgevit_deploy.deploy.quantised import QuantisedOperator, chosen, emulation, quantised, stored
from edgevit_deploy.deploy.ranges import Range
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.rounding import Rounding, WeightRounding, grid_of
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import RunError, UsageError
from tests.helpers.rounding_faults import ROUNDING_FAULTS
from tests.helpers.small import tiny_network

U8 = Scheme(activations="u8", outputs=True)
S8 = Scheme(activations="s8", symmetric=True)
E4M3 = Scheme(weights="e4m3", activations="e4m3", symmetric=True)
EXPORTED = Scheme(activations="s8", outputs=True, dialect="export")


@pytest.mark.parametrize(
    ("extent", "scheme", "scale", "zero_point"),
    [
        (Range(low=-1.0, high=3.0), U8, 4 / 255, 64),
        (Range(low=-1.0, high=3.0), EXPORTED, 4 / 255, -64),
        (Range(low=-1.0, high=3.0), S8, 3 / 127, 0),
        (Range(low=-3.0, high=1.0), S8, 3 / 127, 0),
        (Range(low=1.0, high=3.0), U8, 3 / 255, 0),  # zero is on every grid, for padding
        (Range(low=-3.0, high=-1.0), U8, 3 / 255, 255),
        (Range(low=0.0, high=0.0), U8, 1.0, 0),
    ],
)
def test_a_grid_covers_its_range(extent: Range, scheme: Scheme, scale: float, zero_point: int) -> None:
    """value = scale * (integer - zero_point), with the range's ends at the grid's."""
    grid = grid_of(extent, scheme)
    assert grid.scale == np.float32(scale)
    assert grid.zero_point == zero_point


@pytest.mark.parametrize("scheme", [U8, S8, EXPORTED], ids=["u8", "s8", "exported"])
def test_values_go_to_the_nearest_step(scheme: Scheme) -> None:
    grid = grid_of(Range(low=-1.3, high=2.9), scheme)
    x = torch.linspace(-4, 4, 4001)
    expected = (
        np.clip(np.rint(x.numpy() / grid.scale) + grid.zero_point, grid.lowest, grid.highest) - grid.zero_point
    ) * grid.scale
    rounded = Rounding(grid, scheme.dialect)(x).numpy()
    assert np.abs(rounded - expected).max() <= grid.scale * 1.001  # a value between two steps may go to either
    assert (np.abs(rounded - expected) > 1e-6).mean() < 0.01


@pytest.mark.parametrize("dialect", ["trace", "export"])
def test_weights_have_a_scale_a_channel(dialect: str) -> None:
    weight = (
        torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1, 10, 0.1, 0, 3])[:, None, None, None]
    )
    rounding = WeightRounding(weight, dialect)  # type: ignore[arg-type]
    largest = weight.abs().amax(dim=(1, 2, 3))
    assert torch.allclose(rounding.scales, largest.clamp(min=1e-9) / 127)
    integers = rounding.integers(weight)
    assert integers.abs().amax(dim=1).tolist() == [127, 127, 127, 0, 127]
    assert torch.allclose(rounding(weight).flatten(1), integers * rounding.scales[:, None])


def test_both_dialects_compute_the_same() -> None:
    graph = to_deploy_form(tiny_network(seed=0), Form(position="kept")).network.float()
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    ranges = observe(graph, lambda: [images])
    with torch.no_grad():
        exported, traced = (
            module(torch.from_numpy(images))
            for module in (quantised(graph, EXPORTED, ranges), emulation(graph, EXPORTED, ranges))
        )
    error = (traced - graph(torch.from_numpy(images))).square().mean().sqrt()
    assert (exported - traced).square().mean().sqrt() < 0.3 * error


@pytest.mark.parametrize(
    "form",
    [
        Form(position="kept"),
        Form(),
        Form(sampler="depthwise", norm="convolutions", local_prop="shuffle", attention="bmm", position="kept"),
        Form(attention="packed", feed_forward="tokens", local_prop="kept"),
    ],
    ids=["kept", "folded", "stand-ins", "packed"],
)
def test_only_the_networks_own_operators_round(form: Form) -> None:
    """Convolutions that stand for a choice of positions, a product or a mean are no operators of the network."""
    graph = to_deploy_form(tiny_network(seed=0), form).network
    parts = [path.split(".") for path, _ in operators_of(graph)]
    per_block = 6 if form.attention == "packed" else 8  # pos_embed, q, k, v (or qkv), proj, fc1, fc2 and one more below
    own = {path[-1] for path in parts}
    assert own <= {"proj", "pos_embed", "body", "conv1", "conv2", "attn", "fc1", "fc2", "q", "k", "v", "qkv", "head"}
    assert not any(part in path for path in parts for part in ("sampler", "LocalProp", "to_mean", "to_variance"))
    assert len(parts) >= 4 * per_block


def test_ranges_are_true_extremes_and_percentiles_leave_some_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1))
    images = [np.random.default_rng(seed).standard_normal((4, 3, 8, 8)).astype(np.float32) for seed in range(3)]
    (ranges,) = observe(network, lambda: images).values()
    together = np.concatenate(images)
    assert (ranges.input.low, ranges.input.high) == (together.min(), together.max())
    (trimmed,) = observe(network, lambda: images, percentile=99).values()
    low, high = np.percentile(together, [1, 99])
    step = (ranges.input.high - ranges.input.low) / 4096
    assert abs(trimmed.input.low - low) <= 2 * step
    assert abs(trimmed.input.high - high) <= 2 * step


def test_values_that_are_not_finite_are_refused() -> None:
    images = np.full((1, 3, 8, 8), np.nan, dtype=np.float32)
    with pytest.raises(RunError, match="not finite on a calibration picture"):
        observe(nn.Sequential(nn.Conv2d(3, 4, 1)), lambda: [images])


@pytest.mark.parametrize(
    ("scheme", "fault"),
    [(U8, fault) for fault in ROUNDING_FAULTS] + [(E4M3, fault) for fault in ROUNDING_FAULTS if "zero point" not in fault],
)
def test_each_fault_shows_in_what_is_stored(scheme: Scheme, fault: str) -> None:
    graph = to_deploy_form(tiny_network(seed=0), Form(position="kept")).network
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    ranges = observe(graph.float(), lambda: [images])
    expected, faulty = quantised(graph, scheme, ranges), quantised(graph, scheme, ranges)
    assert differences(stored(faulty), stored(expected)) == []
    ROUNDING_FAULTS[fault](faulty)
    assert differences(stored(faulty), stored(expected))


def test_depthwise_convolutions_can_be_left_as_they_are() -> None:
    graph = to_deploy_form(tiny_network(seed=0), Form(position="kept")).network
    scheme = Scheme(activations="none", depthwise=False)
    rounded = {name for name, module in quantised(graph, scheme, None).named_modules() if isinstance(module, QuantisedOperator)}
    assert not any(name.endswith(("attn", "pos_embed.body")) for name in rounded)
    assert any(name.endswith("fc1") for name in rounded)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("hed", "did you mean 'head'?"),
        ("blocks1.0.LocalAg", "did you mean 'blocks1.0.LocalAgg'?"),
        ("blocks1.0.LocalAgg.mpl", "did you mean 'blocks1.0.LocalAgg.mlp'?"),
        ("", "known: blocks1, blocks2, blocks3, blocks4, head, patch_embed1, patch_embed2, patch_embed3, patch_embed4"),
        ("zzz", "known: blocks1, blocks2, blocks3, blocks4, head, patch_embed1, patch_embed2, patch_embed3, patch_embed4"),
    ],
)
def test_an_operator_that_there_is_not_is_named_with_what_is_near(name: str, suggestion: str) -> None:
    graph = to_deploy_form(tiny_network(seed=0), Form(position="kept")).network
    with pytest.raises(UsageError) as caught:
        chosen(graph, Scheme(floating=("head", name)))
    assert str(caught.value) == f"[rounding] floating: no operator {name!r} to leave in floating point; {suggestion}"
    assert chosen(graph, Scheme(floating=("blocks1.0.LocalAgg", "head"))), "what is suggested is taken"
