"""The network is the published one: golden outputs, keys and shapes, epsilons, sizes and variants; and its random weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import VARIANTS
from tests.golden import recipe

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_FILES = sorted(GOLDEN.glob("*.npz"))
LOGIT_BOUND = 1e-5
"""Largest absolute error of float32 logits against the golden float64 ones (issue 2)."""
STAGE_BOUND = 2e-5
"""The same for stage features, in units of the stage's standard deviation."""


def golden_network(name: str, seed: int, norm_eps: float = 1e-6) -> EdgeViT:
    network = create_model(name, norm_eps=norm_eps)
    state = {key: torch.from_numpy(recipe.tensor(key, tuple(t.shape), seed)) for key, t in network.state_dict().items()}
    network.load_state_dict(state)
    return network.requires_grad_(False)


def golden_case(path: Path) -> tuple[EdgeViT, Tensor, dict[str, np.ndarray]]:
    with np.load(path) as file:
        arrays = dict(file)
    case = json.loads(str(arrays["case"]))
    image = recipe.image(len(arrays["logits"]), case["image_size"], case["image_size"], case["seed"])
    return golden_network(case["model"], case["seed"]), torch.from_numpy(image), arrays


def test_all_golden_cases_are_there() -> None:
    assert len(GOLDEN_FILES) == 3


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.stem)
def test_golden_logits_and_stages(path: Path) -> None:
    network, x, golden = golden_case(path)
    assert np.abs(network(x).double().numpy() - golden["logits"]).max() <= LOGIT_BOUND
    for number in range(1, 5):
        x = network.stage(number, x)
        expected = golden[f"stage{number}_slice"]
        assert tuple(golden[f"stage{number}_shape"]) == tuple(x.shape)
        found = x[: expected.shape[0], : expected.shape[1], : expected.shape[2], : expected.shape[3]].numpy()
        assert np.abs(found - expected).max() <= STAGE_BOUND * golden[f"stage{number}_std"], f"stage {number}"
        assert float(x.mean()) == pytest.approx(float(golden[f"stage{number}_mean"]), abs=STAGE_BOUND)


@pytest.mark.parametrize("change", ["tanh GELU", "no head bias"])
def test_golden_bound_can_fail(change: str) -> None:
    network, x, golden = golden_case(GOLDEN_FILES[-1])
    if change == "tanh GELU":
        for module in network.modules():
            if isinstance(module, nn.GELU):
                module.approximate = "tanh"
    else:
        network.head.bias.zero_()
    assert np.abs(network(x).double().numpy() - golden["logits"]).max() > LOGIT_BOUND


@pytest.mark.parametrize("name", ["edgevit_xxs", "edgevit_xs", "edgevit_s"])
def test_keys_and_shapes_are_the_published_ones(name: str) -> None:
    published = json.loads((GOLDEN / "state_dict_keys.json").read_text())[name]
    ours = {key: list(tensor.shape) for key, tensor in create_model(name).state_dict().items()}
    assert ours == published


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("edgevit_xxs", 4_067_704),
        ("edgevit_xs", 6_770_056),
        ("edgevit_s", 13_108_168),
    ],
)
def test_parameter_counts_of_the_published_code(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in create_model(name).parameters()) == count


def test_table_1_depths_have_their_own_names() -> None:
    assert VARIANTS["edgevit_xs"].depths == (1, 1, 3, 1)
    assert VARIANTS["edgevit_xs_table1"].depths == (1, 1, 2, 2)
    assert VARIANTS["edgevit_s"].depths == (1, 2, 5, 3)
    assert VARIANTS["edgevit_s_table1"].depths == (1, 2, 3, 2)
    assert len({(spec.depths, spec.channels, spec.block) for spec in VARIANTS.values()}) == len(VARIANTS)


def test_epsilons_differ_inside_the_network() -> None:
    norms = {name: m for name, m in create_model("edgevit_xxs").named_modules() if isinstance(m, nn.LayerNorm)}
    inner = {name for name in norms if name.startswith("patch_embed") or name.endswith("attn.norm")}
    assert len(inner) == 4 + 1 + 1 + 3
    assert {norms[name].eps for name in inner} == {1e-5}
    assert {norms[name].eps for name in set(norms) - inner} == {1e-6}


def test_a_dim_image_shows_a_wrong_epsilon() -> None:
    x = torch.from_numpy(recipe.image(1, 64, 64, scale=1e-4)).double()
    right, same, wrong = (golden_network("edgevit_xxs", 1, eps).double() for eps in (1e-6, 1e-6, 1e-5))
    assert torch.equal(right(x), same(x))
    assert (right(x) - wrong(x)).abs().max() > LOGIT_BOUND


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
def test_any_multiple_of_32_works(size: tuple[int, int]) -> None:
    network = create_model("edgevit_xxs", num_classes=7, image_size=size)
    assert network.spec.image_size == size
    with torch.no_grad():
        assert network(torch.zeros(2, 3, *size)).shape == (2, 7)


def test_a_batch_is_its_images() -> None:
    network = create_model("edgevit_xxs", num_classes=5)
    randomise(network, 0)
    x = torch.from_numpy(recipe.image(3, 64, 96)).double()
    with torch.no_grad():
        together, alone = network.double()(x), torch.cat([network(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 100, 64), "image height 100 is not a positive multiple of 32; the nearest that works: 96 or 128"),
        ((1, 3, 64, 33), "image width 33 is not a positive multiple of 32; the nearest that works: 32 or 64"),
        ((1, 1, 64, 64), r"expected an input of shape \(batch, 3, height, width\), got \(1, 1, 64, 64\)"),
        ((3, 64, 64), r"expected an input of shape \(batch, 3, height, width\), got \(3, 64, 64\)"),
    ],
)
def test_other_inputs_are_refused_by_name(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create_model("edgevit_xxs")(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "edgevit_xss"}, "no model 'edgevit_xss'; did you mean 'edgevit_xs'"),
        ({"name": "edgevit_xxs", "num_classes": 0}, "at least 1 class, got 0"),
        ({"name": "edgevit_xxs", "image_size": 230}, "image height 230 .* 224 or 256"),
    ],
)
def test_create_model_refuses(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create_model(**arguments)


def test_create_model_options() -> None:
    network = create_model("edgevit_xs", num_classes=3, image_size=256, norm_eps=1e-8, head_bias=False)
    assert not network.training
    assert network.head.bias is None
    assert network.spec == replace(
        VARIANTS["edgevit_xs"].with_image_size((256, 256)), num_classes=3, norm_eps=1e-8, head_bias=False
    )
    assert network.blocks1[0].SelfAttn.norm1.eps == 1e-8


def test_random_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = create_model("edgevit_xxs", num_classes=4)
    torch.manual_seed(2)
    second = create_model("edgevit_xxs", num_classes=4)
    randomise(first, 5)
    randomise(second, 5)
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in first.state_dict().items())
    before = first.state_dict()["head.weight"].clone()
    randomise(first, 6)
    assert not torch.equal(first.state_dict()["head.weight"], before)


def test_random_weights_make_every_tensor_matter() -> None:
    """A tensor whose change leaves the logits alone would hide a converter that drops it."""
    network = create_model("edgevit_xxs", num_classes=10).double()
    randomise(network, 0)
    x = torch.from_numpy(recipe.image(1, 64, 64)).double()
    logits = network(x)
    assert 0.5 < float(logits.detach().std()) < 50
    logits.square().sum().backward()
    effects = {key: (p.grad * p).abs().max() for key, p in network.named_parameters()}
    with torch.no_grad():
        for key, statistic in network.named_buffers():
            if statistic.is_floating_point():  # batch_norm has no gradient for its statistics
                kept = statistic.clone()
                statistic.mul_(1.5)
                effects[key] = (network(x) - logits).abs().max()
                statistic.copy_(kept)
    assert len(effects) == sum(tensor.is_floating_point() for tensor in network.state_dict().values())
    assert [key for key, effect in effects.items() if effect < LOGIT_BOUND] == []
