"""`features_only`, weights from files, and training, by timm's own factory, extractors, optimisers and savers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from edgevit_deploy.model import timm_network
from edgevit_deploy.model.checkpoint import load_network, read_checkpoint
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import VARIANTS, create_model
from edgevit_deploy.train.network import _depths
from tests.helpers.with_timm import registered_timm


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return registered_timm()


def images(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = create_model("edgevit_xxs", num_classes=5)
    randomise(network, 3)
    file = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.mark.parametrize("name", VARIANTS)
def test_a_backbone_describes_its_maps(name: str, timm: ModuleType) -> None:
    backbone = timm.create_model(name, features_only=True)
    assert backbone.feature_info.channels() == list(VARIANTS[name].channels)
    assert backbone.feature_info.reduction() == [4, 8, 16, 32]
    modules = dict(backbone.model.named_modules())
    for path, channels in zip(backbone.feature_info.module_name(), VARIANTS[name].channels, strict=True):
        assert modules[path].SelfAttn.norm2.normalized_shape == (channels,)
    assert [tuple(found.shape[1:]) for found in backbone(images())] == [
        (channels, 64 // stride, 96 // stride) for channels, stride in zip(VARIANTS[name].channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("feature_cls", ["getter", "hook", "fx"])
@pytest.mark.parametrize(("chosen", "expected"), [((0, 1, 2, 3), [0, 1, 2, 3]), ((1, 3), [1, 3]), (2, [2, 3]), ((-4,), [0])])
def test_each_extractor_of_timm_gives_the_same_maps(
    chosen: Any, expected: list[int], feature_cls: str, weights: Path, timm: ModuleType
) -> None:
    options = {"features_only": True, "out_indices": chosen, "feature_cls": feature_cls}
    backbone = timm.create_model("edgevit_xxs", pretrained=True, pretrained_cfg_overlay={"file": str(weights)}, **options)
    reference = load_network(read_checkpoint(weights)).features(images())
    with torch.no_grad():
        found = list(backbone.eval()(images()))
    assert len(found) == len(backbone.feature_info.channels()) == len(expected)
    assert all(torch.equal(each, reference[index]) for each, index in zip(found, expected, strict=True))


def test_a_backbone_holds_only_what_its_maps_need(timm: ModuleType) -> None:
    backbone = timm.create_model("edgevit_xxs", features_only=True, out_indices=(0, 1)).train()
    sum(each.sum() for each in backbone(images())).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("num_classes", [5, 9])
def test_weights_of_a_file_are_loaded_as_timm_loads_them(num_classes: int, weights: Path, timm: ModuleType) -> None:
    source = {"file": str(weights), "num_classes": 5}
    model = timm.create_model("edgevit_xxs", pretrained=True, pretrained_cfg_overlay=source, num_classes=num_classes)
    expected = torch.load(weights)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[key]) == (num_classes == 5 or not key.startswith("head.")), key


def test_a_folder_that_timm_saved_is_loaded_by_timm_and_read_here(tmp_path: Path, timm: ModuleType) -> None:
    pytest.importorskip("huggingface_hub")
    model = timm.create_model("edgevit_xxs", num_classes=5, img_size=(64, 96)).eval()
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    ours = load_network(read_checkpoint(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(again(images()), model(images()))
        assert torch.equal(ours(images()), model(images()))


@pytest.mark.parametrize(("size", "sides"), [(None, (224, 224)), (256, (256, 256)), ((64, 96), (64, 96))])
def test_data_configuration_follows_the_image_size(size: Any, sides: tuple[int, int], timm: ModuleType) -> None:
    from timm.data import resolve_model_data_config

    model = timm.create_model("edgevit_xxs", img_size=size)
    assert model.default_cfg is model.pretrained_cfg
    config = resolve_model_data_config(model)
    preprocess = create_model("edgevit_xxs", image_size=sides).spec.preprocess
    assert config["input_size"] == (3, *sides)
    assert tuple(int(side / config["crop_pct"]) for side in sides) == preprocess.resize
    assert (config["interpolation"], config["mean"], config["std"]) == ("bicubic", preprocess.mean, preprocess.std)
    assert timm.models.get_pretrained_cfg("edgevit_xxs").input_size == (3, 224, 224)


@pytest.mark.parametrize("name", ["edgevit_xxs", "edgevit_s"])
def test_depths_are_those_that_a_training_here_has(name: str, timm: ModuleType) -> None:
    model = timm.create_model(name)
    depths = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    ours = dict(_depths(model))
    assert {key: depth for key, depth in depths.items() if not key.startswith("norm.")} == {
        key: depth for key, depth in ours.items() if not key.startswith("norm.")
    }
    # Only the final norm is timm's way with the last block; here it is with the head.
    assert {depths[f"norm.{key}"] for key in ("weight", "bias")} == {ours["head.weight"] - 1}
    coarse = timm.models.group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert sorted(set(coarse.values())) == [0, 1, 2, 3, 4, 5]
    assert {coarse[key] for key in coarse if key.startswith(("patch_embed3", "blocks3"))} == {3}


def test_layer_decay_and_weight_decay_follow(timm: ModuleType) -> None:
    from timm.optim import create_optimizer_v2

    model = timm.create_model("edgevit_xxs")
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1.0, weight_decay=0.1, layer_decay=0.5)
    of = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    groups = {key: of[id(parameter)] for key, parameter in model.named_parameters()}
    assert groups["head.weight"]["lr_scale"] == 1
    assert groups["patch_embed1.proj.weight"]["lr_scale"] == 0.5 ** (1 + sum(model.spec.depths))
    assert groups["blocks1.0.LocalAgg.pos_embed.weight"]["weight_decay"] == 0.1
    assert groups["blocks1.0.LocalAgg.pos_embed.bias"]["weight_decay"] == 0


def step(model: nn.Module) -> tuple[dict[str, torch.Tensor], int]:
    """Return gradients and buffers after one training step, and how many bytes it kept for the way back."""
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(images()).square().sum()
    loss.backward()
    return {**{key: each.grad for key, each in model.named_parameters()}, **dict(model.named_buffers())}, sum(kept)


@pytest.mark.parametrize("planted", [False, True])
def test_gradient_checkpoints_change_the_memory_and_nothing_else(
    planted: bool, timm: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if planted:  # what a plain checkpoint does: BatchNorm sees each batch twice

        @contextmanager
        def recorded(_: nn.Module) -> Iterator[None]:
            yield

        monkeypatch.setattr(timm_network, "_unrecorded", recorded)
    plain, checkpointed = (timm.create_model("edgevit_xxs", num_classes=5) for _ in range(2))
    checkpointed.load_state_dict(plain.state_dict())
    checkpointed.set_grad_checkpointing()
    (expected, everything), (found, less) = step(plain), step(checkpointed)
    differing = [key for key in expected if not torch.equal(expected[key], found[key])]
    assert less < everything / 2
    assert all("LocalAgg.norm" in key for key in differing)
    assert bool(differing) == planted
    checkpointed.set_grad_checkpointing(enable=False)
    assert step(checkpointed)[1] == everything


def test_a_segmentation_network_is_built_on_it(timm: ModuleType) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    network = smp.FPN("tu-edgevit_xxs", encoder_weights=None, classes=7).eval()
    assert network.encoder.out_channels == [3, 0, *VARIANTS["edgevit_xxs"].channels]
    with torch.no_grad():
        assert network(images()).shape == (2, 7, 64, 96)
