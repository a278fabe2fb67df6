"""The cost formula of the paper's A.1 against what PyTorch counts in the real modules."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgevit_deploy import create_model
from edgevit_deploy.measure.cost import (
    Block,
    Terms,
    local_aggregation,
    local_propagation,
    locally_grouped_attention,
    mixing,
    network_cost,
    self_attention,
    sparse_attention,
    spatial_reduction_attention,
)
from edgevit_deploy.measure.profile import macs_by_part, macs_by_stage
from edgevit_deploy.model.edgevit import GlobalSparseAttn, LocalAgg
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.model.variants import VARIANTS

SIZES = ((224, 224), (384, 384), (512, 1024))
PAPER_GMACS = {"edgevit_xxs": 0.6, "edgevit_xs": 1.1, "edgevit_s": 1.9}
"""EdgeViTs, table 2."""

STAGE_1 = Block(height=56, width=56, channels=36, kernel=5, sample_rate=4)
STAGE_3 = Block(height=14, width=28, channels=144, kernel=5, sample_rate=2)


def total(terms: Terms) -> int:
    return sum(term.macs for term in terms)


def counted(module: nn.Module, *inputs: object) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def tokens(block: Block) -> torch.Tensor:
    return torch.zeros(1, block.positions, block.channels)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_formula_is_what_pytorch_counts(variant: str, size: tuple[int, int]) -> None:
    """Nothing is left out and nothing is rounded, so it is equal, not only within a per cent."""
    spec = VARIANTS[variant]
    cost, counts = network_cost(spec, size), macs_by_stage(spec, size)
    assert {f"stage {number}": stage.macs for number, stage in enumerate(cost.stages, start=1)} | {"head": cost.head} == counts
    assert cost.macs == sum(counts.values())


def test_the_count_without_values_is_that_of_a_real_run() -> None:
    network = create_model("edgevit_xxs", num_classes=10, image_size=(64, 96))
    assert sum(macs_by_stage(network.spec, (64, 96)).values()) == sum(macs_by_part(network, 1, (64, 96)).values())


@pytest.mark.parametrize("variant", PAPER_GMACS)
def test_the_formula_gives_the_papers_figures(variant: str) -> None:
    assert round(network_cost(VARIANTS[variant], (224, 224)).macs / 1e9, 1) == PAPER_GMACS[variant]


def test_mixing_is_what_the_parts_of_lgl_cost() -> None:
    spec = VARIANTS["edgevit_xs"]
    parts = macs_by_part(create_model("edgevit_xs"), 1, (224, 224))
    cost = network_cost(spec, (224, 224))
    mixed = sum(stage.own_mixing_macs for stage in cost.stages)
    assert mixed == sum(stage.mixing_macs("LGL") for stage in cost.stages)
    assert mixed == parts["LocalAgg"] + parts["GlobalSparseAttn"] + parts["LocalProp"]


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_k_is_the_kernel_of_the_depthwise_convolution(kernel: int) -> None:
    gather = LocalAgg(36, mlp_ratio=4)
    gather.attn = nn.Conv2d(36, 36, kernel, padding=kernel // 2, groups=36)
    gather.pos_embed, gather.mlp = nn.Identity(), nn.Identity()  # type: ignore[assignment] # not a part of the mixing
    seen = counted(gather, torch.zeros(1, 36, 56, 56))
    assert seen == total(local_aggregation(Block(height=56, width=56, channels=36, kernel=kernel, sample_rate=4)))
    assert (seen == total(local_aggregation(STAGE_1))) == (kernel == 5), "another kernel is not taken for it"


@pytest.mark.parametrize("rate", [2, 4, 7])
def test_r_is_the_side_of_a_window(rate: int) -> None:
    attention = GlobalSparseAttn(36, head_dim=36, sample_rate=rate, eps=1e-5)
    seen = counted(attention, tokens(STAGE_1), 56, 56)

    def formula(sample_rate: int) -> int:
        block = Block(height=56, width=56, channels=36, kernel=5, sample_rate=sample_rate)
        return total((*sparse_attention(block), *local_propagation(block)))

    assert seen == formula(rate)
    assert all(seen != formula(other) for other in {2, 4, 7} - {rate})


@pytest.mark.parametrize("block", [STAGE_1, STAGE_3], ids=["stage 1", "stage 3"])
def test_attention_among_all_positions(block: Block) -> None:
    attention = GlobalSparseAttn(block.channels, head_dim=36, sample_rate=1, eps=1e-5)
    assert counted(attention, tokens(block), block.height, block.width) == total(self_attention(block))


@pytest.mark.parametrize("name", ["LGL", "LSA", "SRA", "LocalAgg + SRA", "MHSA"])
def test_where_nothing_is_sampled_each_is_plain_attention(name: str) -> None:
    block = Block(height=7, width=7, channels=288, kernel=5, sample_rate=1)
    assert total(mixing(name, block)) == total(self_attention(block))


@pytest.mark.parametrize(
    ("timms", "flag", "side", "formula"),
    [
        ("LocallyGroupedAttn", "ws", lambda _: 7, locally_grouped_attention),
        ("GlobalSubSampleAttn", "sr_ratio", lambda block: block.sample_rate, spatial_reduction_attention),
    ],
)
@pytest.mark.parametrize("block", [STAGE_1, STAGE_3, Block(height=24, width=32, channels=72, kernel=5, sample_rate=2)])
def test_the_alternatives_cost_what_timms_modules_do(
    timms: str, flag: str, side: Callable[[Block], int], formula: Callable[[Block], Terms], block: Block
) -> None:
    """Twins has both; 24 x 32 is not whole groups of 7, so that filling up is counted too."""
    make_torchvision_importable()
    twins = pytest.importorskip("timm.models.twins")
    set_fused_attn = pytest.importorskip("timm.layers").set_fused_attn

    set_fused_attn(False)
    try:
        module = getattr(twins, timms)(block.channels, num_heads=2, **{flag: side(block)})
    finally:
        set_fused_attn(True)
    assert counted(module, tokens(block), (block.height, block.width)) == total(formula(block))
