"""The network under timm's roof: what holds for one of timm's own pyramids, PVTv2, holds for it, in the same words."""

import inspect
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.timm_network import TimmEdgeViT
from edgevit_deploy.model.variants import VARIANTS, create_model
from tests.helpers.with_timm import registered_timm

SIZES = ((32, 32), (64, 96), (160, 32))
BOTH = ("edgevit_xxs", "pvt_v2_b0")


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return registered_timm()


def images(height: int, width: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height + width))


def filled(model: nn.Module) -> nn.Module:
    """Return a network in evaluation mode whose every number matters: BatchNorms begin as identities."""
    generator = torch.Generator().manual_seed(0)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", VARIANTS)
def test_models_are_ours(name: str, timm: ModuleType) -> None:
    model = timm.create_model(name, num_classes=10, drop_rate=0.0, drop_path_rate=None)
    ours = create_model(name, num_classes=10)
    assert isinstance(model, TimmEdgeViT)
    assert model.spec == ours.spec
    assert list(model.state_dict()) == list(ours.state_dict())
    assert model.training  # as timm's own are made; trainers that keep the mode would train with fixed statistics
    ours.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(images(64, 96)), ours(images(64, 96)))


@pytest.mark.parametrize(
    "method",
    ["forward_features", "forward_head", "forward_intermediates", "prune_intermediate_layers", "reset_classifier",
     "get_classifier", "no_weight_decay", "group_matcher", "set_grad_checkpointing"],
)  # fmt: skip
def test_arguments_are_named_ordered_and_preset_as_in_timm(method: str, timm: ModuleType) -> None:
    ours, theirs = (inspect.signature(getattr(timm.create_model(name), method)).parameters for name in BOTH)
    assert [(each.name, each.default) for each in ours.values()] == [(each.name, each.default) for each in theirs.values()]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*BOTH, "edgevit_s"])
def test_features_then_head_is_the_network(name: str, size: tuple[int, int], timm: ModuleType) -> None:
    model = filled(timm.create_model(name, num_classes=5))
    features = model.forward_features(images(*size))
    assert features.shape == (2, model.num_features, size[0] // 32, size[1] // 32)
    assert torch.equal(model.forward_head(features), model(images(*size)))
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(pooled), model(images(*size)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*BOTH, "edgevit_xs", "edgevit_s"])
def test_intermediates_are_the_maps_of_the_stages(name: str, size: tuple[int, int], timm: ModuleType) -> None:
    model = filled(timm.create_model(name))
    x = images(*size)
    last, maps = model.forward_intermediates(x)
    assert torch.equal(last, model.forward_features(x))
    for found, described in zip(maps, model.feature_info, strict=True):
        assert found.shape == (2, described["num_chs"], size[0] // described["reduction"], size[1] // described["reduction"])
    for indices, expected in ((None, [0, 1, 2, 3]), (2, [2, 3]), ((1,), [1]), ([0, -1], [0, 3]), ((3, 0), [0, 3])):
        for early in (False, True):
            some = model.forward_intermediates(x, indices, stop_early=early, intermediates_only=True)
            assert [tuple(each.shape) for each in some] == [tuple(maps[index].shape) for index in expected]
            assert all(torch.equal(each, maps[index]) for each, index in zip(some, expected, strict=True))
    assert torch.equal(model.forward_intermediates(x, (1,), stop_early=True)[0], maps[1])


def test_the_maps_are_those_that_a_file_returns(timm: ModuleType) -> None:
    model = filled(timm.create_model("edgevit_xs"))
    for found, expected in zip(
        model.forward_intermediates(images(64, 96), intermediates_only=True), model.features(images(64, 96)), strict=True
    ):
        assert torch.equal(found, expected)


def test_only_the_last_map_has_a_norm(timm: ModuleType) -> None:
    model = filled(timm.create_model("edgevit_xxs"))
    plain, normed = (model.forward_intermediates(images(64, 64), norm=norm, intermediates_only=True) for norm in (False, True))
    assert [torch.equal(a, b) for a, b in zip(plain, normed, strict=True)] == [True, True, True, False]
    assert torch.equal(normed[3], model.forward_features(images(64, 64)))


@pytest.mark.parametrize("name", BOTH)
def test_the_classifier_can_be_another_one_or_none(name: str, timm: ModuleType) -> None:
    model = filled(timm.create_model(name, num_classes=5)).double()
    x = images(64, 96).double()
    pooled = model.forward_head(model.forward_features(x), pre_logits=True)
    model.reset_classifier(7)
    assert model.num_classes == model.get_classifier().out_features == 7
    assert model.get_classifier().weight.dtype == torch.float64
    assert not model.get_classifier().training
    assert torch.equal(model(x), model.get_classifier()(pooled))
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert model.num_classes == 0
    assert torch.equal(model(x), pooled)
    model.reset_classifier(0, "")
    assert torch.equal(model(x), model.forward_features(x))
    model.reset_classifier(3, "avg")
    assert model(x).shape == (2, 3)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("options", "shape"), [({"num_classes": 0}, (2, 0)), ({"num_classes": 0, "global_pool": ""}, (2, 0, 2, 3))]
)
def test_a_network_can_be_made_without_a_classifier(
    options: dict[str, Any], shape: tuple[int, ...], name: str, timm: ModuleType
) -> None:
    model = timm.create_model(name, **options).eval()
    assert model(images(64, 96)).shape == (shape[0], model.num_features, *shape[2:])
    assert not [key for key in model.state_dict() if key.startswith("head")]


def test_a_fresh_classifier_follows_the_network(timm: ModuleType) -> None:
    model = timm.create_model("edgevit_xxs")
    model.reset_classifier(7)
    assert model.spec.num_classes == 7
    assert 0.015 < model.head.weight.std() < 0.025  # as published; PyTorch's own would be 0.034
    assert not model.head.bias.any()


@pytest.mark.parametrize("name", BOTH)
def test_what_maps_do_not_need_is_dropped(name: str, timm: ModuleType) -> None:
    model = filled(timm.create_model(name))
    x = images(64, 96)
    expected = model.forward_intermediates(x, (0, 2), intermediates_only=True)
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert model.prune_intermediate_layers((0, 2)) == [0, 2]
    assert sum(parameter.numel() for parameter in model.parameters()) < everything / 2
    assert all(map(torch.equal, model.forward_intermediates(x, (0, 2), intermediates_only=True), expected))
    assert torch.equal(model(x), expected[-1])
    assert model.num_features == expected[-1].shape[1]


@pytest.mark.parametrize("size", [(230, 224), (64, 65), (16, 64)])
def test_a_size_that_does_not_divide_is_refused_everywhere(size: tuple[int, int], timm: ModuleType) -> None:
    model = filled(timm.create_model("edgevit_xxs"))
    backbone = timm.create_model("edgevit_xxs", features_only=True)
    for called in (model, model.forward_features, model.forward_intermediates, backbone):
        with pytest.raises(UsageError, match="is not a positive multiple of 32"):
            called(images(*size))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrained": True}, "no pretrained edgevit_xxs is published by its authors; use pretrained=False"),
        ({"in_chans": 1}, "takes RGB images and has no dropout: got in_chans=1"),
        ({"drop_rate": 0.1}, "takes RGB images and has no dropout: got in_chans=3, drop_rate=0.1"),
        ({"num_classes": -1}, "a classifier needs at least 1 class, got -1"),
        ({"num_classes": 2**40}, "a classifier has at most 1048576 classes"),
        ({"img_size": 230}, "image height 230 is not a positive multiple of 32"),
        ({"global_pool": "max"}, "global_pool='max': an EdgeViT takes the average"),
        ({"global_pool": ""}, "use num_classes=0 with it"),
        ({"features_only": True, "out_indices": (0, 4)}, "from 0 to 3"),
        ({"features_only": True, "out_indices": 5}, "from 0 to 3"),
        ({"features_only": True, "out_indices": ()}, "from 0 to 3"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict[str, Any], said: str, timm: ModuleType) -> None:
    with pytest.raises(UsageError, match=said):
        timm.create_model("edgevit_xxs", **options)


def test_another_format_of_maps_is_refused(timm: ModuleType) -> None:
    model = timm.create_model("edgevit_xxs")
    with pytest.raises(UsageError, match="use output_fmt='NCHW'"):
        model.forward_intermediates(images(32, 32), output_fmt="NLC")
