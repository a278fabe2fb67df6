"""Stochastic depth trains the network and leaves it as it is."""

import copy

import pytest
import torch
from torch import Tensor

from edgevit_deploy import create_model
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.train.drop_path import DropPath

CPU = torch.device("cpu")
BATCH = 8


def network() -> torch.nn.Module:
    model = create_model("edgevit_xxs", num_classes=10, image_size=32)
    randomise(model, 0)
    return model


def inputs() -> Tensor:
    return torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_keys_and_evaluation_are_those_of_the_plain_network() -> None:
    plain, dropping = network(), network()
    DropPath(dropping, 0.5)
    assert list(plain.state_dict()) == list(dropping.state_dict())
    with torch.no_grad():
        assert torch.equal(plain(inputs()), dropping(inputs()))


def test_rate_zero_hangs_nothing_on_the_network() -> None:
    model = network()
    assert DropPath(model, 0.0).rates == []
    assert not any(module._forward_hooks for module in model.modules())


def test_rates_grow_from_block_to_block() -> None:
    """As the published code: linspace over the seven blocks of XXS; the last two have no LocalAgg, so two branches."""
    rates = DropPath(network(), 0.6).rates
    assert rates == pytest.approx([0.1] * 4 + [0.2] * 4 + [0.3] * 4 + [0.4] * 4 + [0.5] * 2 + [0.6] * 2)


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("edgevit_xxs_lsa", 4 * 4 + 2),
        ("edgevit_xxs_without_la", 8 * 2),
        ("edgevit_xxs_without_lp", 3 * 4 + 2 * 2),
        ("edgevit_xxs_center", 4 * 4 + 2 * 2),
    ],
)
def test_every_branch_of_an_ablation_is_dropped_too(name: str, branches: int) -> None:
    """Of each block but the first, whose rate is 0: two where nothing is local, as in stage 4, else four."""
    model = create_model(name, num_classes=10, image_size=64).train()
    masks = DropPath(model, 0.9)
    assert len(masks.rates) == branches
    masks.draw(torch.arange(BATCH), BATCH, CPU, 0, 0)
    assert model(torch.zeros(BATCH, 3, 64, 64)).shape == (BATCH, 10)


def test_a_branch_that_is_skipped_counts_for_nothing_and_one_that_is_kept_for_more() -> None:
    model = network().train()
    masks = DropPath(model, 0.9)
    masks.draw(torch.arange(BATCH), BATCH, CPU, 0, 0)
    values = {round(value, 4) for scale in masks.scales for value in scale.tolist()}
    assert values == {0.0, *(round(1 / (1 - rate), 4) for rate in masks.rates)}
    branch = model.get_submodule("blocks4.1.SelfAttn.mlp")
    output = branch(torch.ones(BATCH, 1, 288))
    skipped = masks.scales[-1] == 0
    assert skipped.any()
    assert not skipped.all()
    assert torch.equal(output[skipped], torch.zeros_like(output[skipped]))
    assert bool((output[~skipped].abs().sum((1, 2)) > 0).all())


def test_masks_of_parts_are_those_of_the_whole_batch() -> None:
    masks = DropPath(network(), 0.5)
    masks.draw(torch.arange(BATCH), BATCH, CPU, 3, 7)
    whole = torch.stack(masks.scales)
    for places in (torch.tensor([0, 1, 6, 7]), torch.tensor([2, 5])):
        masks.draw(places, BATCH, CPU, 3, 7)
        assert torch.equal(torch.stack(masks.scales), whole[:, places])
    masks.draw(torch.arange(BATCH), BATCH, CPU, 3, 8)
    assert not torch.equal(torch.stack(masks.scales), whole)


def test_the_mean_over_many_draws_is_the_plain_branch() -> None:
    masks = DropPath(network(), 0.5)
    masks.draw(torch.arange(20_000), 20_000, CPU, 0, 0)
    assert torch.stack(masks.scales).mean(1).tolist() == pytest.approx([1.0] * len(masks.rates), abs=0.04)


def test_a_copy_of_the_network_from_before_has_no_hooks() -> None:
    """The control for how the average of weights stays a plain network."""
    model = network()
    before = copy.deepcopy(model)
    DropPath(model, 0.5)
    assert any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in before.modules())
