"""The blocks of the paper's ablations: what each computes, held against other people's modules and plain sums, and their cost."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.profile import macs_by_stage
from edgevit_deploy.model.alternatives import (
    CenterSampler,
    LocallyGroupedAttn,
    SpatialReductionAttn,
    make_sampler,
    make_spread,
)
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import ABLATIONS, BASELINE, find_variant
from edgevit_deploy.spec import PUBLISHED_BLOCK

SIZE = (64, 96)
WITHIN = 0.05
"""How far the cost of an ablation may be from XXS's."""

SIDES = [(7, 14), (16, 24), (4, 4), (9, 8)]
"""Whole groups of 7 x 7, and sides that are filled up."""


def network(name: str, seed: int = 0) -> EdgeViT:
    model = create_model(name, num_classes=7, image_size=SIZE)
    randomise(model, seed)
    return model.double().requires_grad_(False)


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module) -> nn.Module:
    randomise(module, seed=3)
    return module.double().requires_grad_(False)


def timm_twins(name: str, *arguments: object, **flags: object) -> nn.Module:
    make_torchvision_importable()
    twins = pytest.importorskip("timm.models.twins")
    module: nn.Module = getattr(twins, name)(*arguments, **flags)
    return module.double()


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_has_a_name_and_classifies(name: str) -> None:
    model = network(name)
    assert model.spec.variant == name
    assert model.spec.block == ABLATIONS[name].block != PUBLISHED_BLOCK
    for shape in ((2, 3, *SIZE), (1, 3, 32, 32), (1, 3, 160, 64)):
        logits = model(values(*shape))
        assert logits.shape == (shape[0], 7)
        assert torch.isfinite(logits).all()
    assert [tuple(m.shape) for m in model.features(values(1, 3, *SIZE))] == [
        (1, channels, SIZE[0] // stride, SIZE[1] // stride)
        for channels, stride in zip(BASELINE.channels, (4, 8, 16, 32), strict=True)
    ]


def test_a_wrong_name_is_told_the_right_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'edgevit_xxs_bilinear'"):
        find_variant("edgevit_xxs_bilinea")


def test_the_published_block_is_the_default() -> None:
    assert all(not list(spec.block.words()) for spec in (BASELINE, find_variant("edgevit_s_table1")))
    state = create_model("edgevit_xxs").state_dict()
    assert not any(part in key for key in state for part in ("GroupedAttn", ".sra."))


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_grouped_attention_is_twins(side: tuple[int, int]) -> None:
    ours = randomised(LocallyGroupedAttn(24, head_dim=12))
    theirs = timm_twins("LocallyGroupedAttn", 24, num_heads=2, ws=7)
    theirs.load_state_dict(ours.state_dict())
    tokens = values(2, side[0] * side[1], 24)
    assert (ours(tokens, *side) - theirs(tokens, side)).abs().max() < 1e-12


@pytest.mark.parametrize(("side", "rate"), [((8, 12), 4), ((6, 4), 2)])
def test_spatial_reduction_attention_is_pvts_as_in_twins(side: tuple[int, int], rate: int) -> None:
    ours = randomised(SpatialReductionAttn(24, 12, rate, eps=1e-5))
    theirs = timm_twins("GlobalSubSampleAttn", 24, num_heads=2, sr_ratio=rate)
    theirs.load_state_dict(ours.state_dict())
    tokens = values(2, side[0] * side[1], 24)
    assert (ours(tokens, *side) - theirs(tokens, side)).abs().max() < 1e-12


@pytest.mark.parametrize("rate", [2, 3, 4])
@pytest.mark.parametrize(
    ("kind", "of_window"),
    [
        ("first", lambda window: window[0, 0]),
        ("center", lambda window: window[len(window) // 2, len(window) // 2]),
        ("avg", lambda window: window.mean()),
        ("max", lambda window: window.max()),
    ],
)
def test_samplers_make_one_value_of_each_window(kind: str, of_window: Callable[[Tensor], Tensor], rate: int) -> None:
    x = values(1, 3, 4 * rate, 2 * rate)
    sampled = make_sampler(kind, rate)(x)  # type: ignore[arg-type] # a word of SamplerKind
    assert sampled.shape == (1, 3, 4, 2)
    for channel, row, column in itertools.product(range(3), range(4), range(2)):
        window = x[0, channel, row * rate : (row + 1) * rate, column * rate : (column + 1) * rate]
        assert sampled[0, channel, row, column] == pytest.approx(float(of_window(window)), abs=1e-12)


def test_bilinear_upsampling_takes_positions_for_centres_of_pixels() -> None:
    """At rate 2 the four positions of a window lie a quarter of a window from its delegate."""
    x = torch.tensor([[[[0.0, 4.0]]]], dtype=torch.float64)
    assert make_spread("bilinear", 1, 2)(x)[0, 0].tolist() == [[0.0, 1.0, 3.0, 4.0]] * 2
    aligned = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    assert aligned(x)[0, 0, 0].tolist() == pytest.approx([0, 4 / 3, 8 / 3, 4])


def test_where_nothing_is_sampled_every_block_is_the_published_one() -> None:
    """Stage 4: no local part, and attention among all positions with the published keys."""
    published = {key for key in create_model("edgevit_xxs").state_dict() if key.startswith("blocks4.0")}
    for name in ABLATIONS:
        model = create_model(name)
        assert {key for key in model.state_dict() if key.startswith("blocks4.0")} == published
        assert isinstance(model.get_submodule("blocks4.0.SelfAttn.attn"), GlobalSparseAttn)


def test_center_is_not_first() -> None:
    center, first = network("edgevit_xxs_center"), network("edgevit_xxs")
    center.load_state_dict(first.state_dict())
    x = values(1, 3, *SIZE)
    assert (center(x) - first(x)).abs().max() > 1e-3
    assert sum(isinstance(module, CenterSampler) for module in center.modules()) == 5


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_cost_what_xxs_does(name: str) -> None:
    """And no depths that do are nearer to its proportions: the nearest by one block are tried."""
    target = sum(macs_by_stage(BASELINE, (224, 224)).values())
    own = ABLATIONS[name]

    def misses(depths: tuple[int, ...]) -> bool:
        count = sum(macs_by_stage(replace(own, depths=depths), (224, 224)).values())  # type: ignore[arg-type] # four
        return abs(count / target - 1) > WITHIN

    def distance(depths: tuple[int, ...]) -> float:
        wanted = BASELINE.depths
        return sum(abs(depth / sum(depths) - own / sum(wanted)) for depth, own in zip(depths, wanted, strict=True))

    assert not misses(own.depths)
    for changes in itertools.product((-1, 0, 1), repeat=4):
        depths = tuple(depth + change for depth, change in zip(own.depths, changes, strict=True))
        if min(depths) > 0 and distance(depths) < distance(own.depths) - 1e-9:
            assert misses(depths), depths
