"""Every dialect is a reversible map: a full checkpoint written in it comes back as the identical state."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.checkpoint import load_network, read_checkpoint
from edgevit_deploy.model.dialects import (
    BIRDER,
    DIALECTS,
    EASYCV,
    EASYCV_ONE_HEAD,
    SAIC,
    TIMM,
    Dialect,
    find_dialect,
    without_wrappers,
)
from edgevit_deploy.model.infer import Inference, infer
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.spec import Preprocess, imagenet_preprocess

CLASSES = {"Alpine swift": 2, "Common crane": 0, "Hoopoe": 3, "Unknown": 1}
SIGNATURE = {"inputs": [{"data_shape": [0, 3, 256, 192]}], "outputs": [{"data_shape": [0, 4]}]}
RGB_STATS = {"mean": (0.5191, 0.5306, 0.4877), "std": (0.2316, 0.2304, 0.2588)}
BIRDER_EXTRAS = {
    "birder_version": "0.5.0",
    "task": "image_classification",
    "signature": SIGNATURE,
    "class_to_idx": CLASSES,
    "rgb_stats": RGB_STATS,
}


@cache
def state_of(variant: str, *, head_bias: bool = True) -> dict[str, Tensor]:
    network = create_model(variant, num_classes=len(CLASSES), head_bias=head_bias)
    randomise(network, 11)
    return network.state_dict()


def renamed(state: Mapping[str, Tensor], dialect: Dialect) -> dict[str, Tensor]:
    return {str(dialect.to_file(key)): tensor for key, tensor in state.items()}


@dataclass(frozen=True, kw_only=True)
class Case:
    dialect: Dialect
    wrap: Callable[[dict[str, Tensor]], object]
    head_bias: bool = True


CASES = {
    "saic-fi, bare": Case(dialect=SAIC, wrap=lambda weights: weights),
    "saic-fi, its trainer": Case(dialect=SAIC, wrap=lambda weights: {"model": weights, "optimizer": {}, "epoch": 299}),
    "EasyCV": Case(dialect=EASYCV, wrap=lambda weights: {"meta": {"epoch": 300, "config": "..."}, "state_dict": weights}),
    "EasyCV, head renamed": Case(dialect=EASYCV_ONE_HEAD, wrap=lambda weights: {"meta": {}, "state_dict": weights}),
    "Birder": Case(dialect=BIRDER, wrap=lambda weights: {"state": weights, **BIRDER_EXTRAS}, head_bias=False),
    "Birder with head_bias": Case(dialect=BIRDER, wrap=lambda weights: {"state": weights, **BIRDER_EXTRAS}),
    "timm-style": Case(dialect=TIMM, wrap=lambda weights: {"epoch": 1, "arch": "edgevit", "state_dict": weights, "metric": 0.7}),
    "timm's saver, reference keys": Case(dialect=SAIC, wrap=lambda weights: {"epoch": 1, "state_dict": weights}),
}


def write(path: Path, case: Case, variant: str) -> dict[str, Tensor]:
    state = state_of(variant, head_bias=case.head_bias)
    torch.save(case.wrap(renamed(state, case.dialect)), path)
    return state


def assert_identical(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor), key


@pytest.mark.parametrize("variant", ["edgevit_xxs", "edgevit_xs_table1"])
@pytest.mark.parametrize("name", CASES)
def test_full_checkpoint_comes_back(name: str, variant: str, tmp_path: Path) -> None:
    case = CASES[name]
    state = write(tmp_path / "weights.pth", case, variant)
    checkpoint = read_checkpoint(tmp_path / "weights.pth")
    assert_identical(checkpoint.state, state)
    assert checkpoint.dialect == case.dialect.name
    assert checkpoint.spec.variant == variant
    assert checkpoint.spec.num_classes == len(CLASSES)
    assert checkpoint.spec.head_bias is case.head_bias
    assert checkpoint.spec.norm_eps == case.dialect.norm_eps
    assert checkpoint.spec.inner_norm_eps == 1e-5
    network = load_network(checkpoint)
    assert network.blocks1[0].SelfAttn.norm1.eps == case.dialect.norm_eps
    assert network.patch_embed1.norm.eps == 1e-5


@pytest.mark.parametrize("dialect", [SAIC, EASYCV, TIMM], ids=lambda dialect: dialect.name)
def test_safetensors_comes_back(dialect: Dialect, tmp_path: Path) -> None:
    state = state_of("edgevit_xxs")
    save_file(renamed(state, dialect), tmp_path / "weights.safetensors", metadata={"format": "pt"})
    checkpoint = read_checkpoint(tmp_path / "weights.safetensors")
    assert_identical(checkpoint.state, state)
    assert checkpoint.dialect == dialect.name


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("variant", ["edgevit_xxs", "edgevit_s"])
def test_every_key_survives_the_round_trip(dialect: Dialect, variant: str) -> None:
    keys = list(create_model(variant).state_dict())
    file_keys = [dialect.to_file(key) for key in keys]
    assert None not in file_keys
    assert len(set(file_keys)) == len(keys)
    assert [dialect.to_reference(str(key)) for key in file_keys] == keys
    assert find_dialect(map(str, file_keys)) == dialect


def test_the_maps_in_full_words() -> None:
    """The tables above are used to write the checkpoints, so some names are spelt out here, from the sources."""
    local_prop = "blocks3.2.SelfAttn.attn.LocalProp.weight"
    assert SAIC.to_file(local_prop) == local_prop
    assert EASYCV.to_file(local_prop) == "backbone.blocks3.2.SelfAttn.attn.LocalProp.weight"
    assert BIRDER.to_file(local_prop) == "body.stage3.blocks.2.self_attn.attn.local_prop.weight"
    assert TIMM.to_file(local_prop) == "stages.2.blocks.2.self_attn.attn.local_prop.weight"
    assert BIRDER.to_file("blocks1.0.LocalAgg.norm1.running_mean") == "body.stage1.blocks.0.local_agg.norm1.running_mean"
    assert BIRDER.to_file("patch_embed4.proj.bias") == "body.stage4.patch_embed.proj.bias"
    assert TIMM.to_file("patch_embed4.proj.bias") == "stages.3.patch_embed.proj.bias"
    assert [d.to_file("head.weight") for d in DIALECTS] == [
        "head.weight",
        "head_0.fc_cls.weight",
        "head.fc_cls.weight",
        "classifier.weight",
        "head.fc.weight",
    ]
    assert [d.to_file("norm.running_var") for d in (EASYCV, BIRDER, TIMM)] == [
        "backbone.norm.running_var",
        "features.0.running_var",
        "norm.running_var",
    ]


def test_epsilons_are_the_sources() -> None:
    assert [d.norm_eps for d in (SAIC, EASYCV, EASYCV_ONE_HEAD, BIRDER, TIMM)] == [1e-6, 1e-8, 1e-8, 1e-6, 1e-6]


def test_spellings_of_two_dialects_do_not_mix() -> None:
    assert BIRDER.to_reference("body.stage1.blocks.0.LocalAgg.conv1.weight") is None
    assert SAIC.to_reference("backbone.norm.weight") is None
    assert SAIC.to_file("fc.weight") is None


def test_a_prefix_before_every_key_is_part_of_the_map() -> None:
    keys = ["net.model." + key for key in create_model("edgevit_xxs").state_dict()]
    dialect = find_dialect([*keys, "criterion.weight"])
    assert dialect.place == "net.model."
    assert dialect.to_file("head.weight") == "net.model.head.weight"
    assert dialect.to_reference("net.model.head.weight") == "head.weight"
    assert dialect.to_reference("criterion.weight") is None
    assert dialect.to_reference("head.weight") is None


def test_the_head_tells_easycv_from_a_prefix() -> None:
    """`backbone.` is EasyCV's own, and the name of an attribute elsewhere; the epsilons differ."""
    keys = list(create_model("edgevit_xxs").state_dict())
    assert find_dialect(["backbone." + key for key in keys]).place == "backbone."
    assert find_dialect([str(EASYCV.to_file(key)) for key in keys]) == EASYCV


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("module._orig_mod.head.weight", "head.weight"),
        ("blocks1.0._orig_mod.LocalAgg._checkpoint_wrapped_module.conv1.weight", "blocks1.0.LocalAgg.conv1.weight"),
        ("_fsdp_wrapped_module.blocks1.0._fsdp_wrapped_module.norm1.bias", "blocks1.0.norm1.bias"),
        ("modules.head.weight", "modules.head.weight"),
    ],
)
def test_names_of_wrappers_are_removed_anywhere(key: str, plain: str) -> None:
    assert without_wrappers(key) == plain


def infer_birder(**changes: object) -> Inference:
    state = state_of("edgevit_xxs", head_bias=False)
    return infer({key: tuple(tensor.shape) for key, tensor in state.items()}, BIRDER, {**BIRDER_EXTRAS, **changes})


def birder_preprocess(size: tuple[int, int]) -> Preprocess:
    return Preprocess(resize=size, crop=size, fit="stretch", interpolation="bicubic", **RGB_STATS)


def test_birder_extras_become_size_labels_and_preprocessing(tmp_path: Path) -> None:
    write(tmp_path / "birder.pt", CASES["Birder"], "edgevit_xxs")
    checkpoint = read_checkpoint(tmp_path / "birder.pt")
    assert checkpoint.labels == ("Common crane", "Unknown", "Alpine swift", "Hoopoe")
    assert checkpoint.spec.image_size == (256, 192)
    assert checkpoint.spec.preprocess == birder_preprocess((256, 192))
    assert checkpoint.notes == (
        "the head has no bias",
        "image size 256x192 taken from `signature`; crop ratio 1, resize mode stretch, interpolation bicubic taken from Birder's "
        f"code; mean {','.join(f'{value:g}' for value in RGB_STATS['mean'])}, "
        f"std {','.join(f'{value:g}' for value in RGB_STATS['std'])} taken from `rgb_stats`",
    )


def test_birder_safetensors_carries_its_extras_as_json(tmp_path: Path) -> None:
    state = state_of("edgevit_xxs", head_bias=False)
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in BIRDER_EXTRAS.items()}
    save_file(renamed(state, BIRDER), tmp_path / "birder.safetensors", metadata=metadata)
    checkpoint = read_checkpoint(tmp_path / "birder.safetensors")
    assert_identical(checkpoint.state, state)
    assert checkpoint.labels == ("Common crane", "Unknown", "Alpine swift", "Hoopoe")
    assert checkpoint.spec.preprocess == birder_preprocess((256, 192))


def test_birder_without_extras_says_what_is_assumed(tmp_path: Path) -> None:
    path = tmp_path / "bare.pt"
    torch.save(renamed(state_of("edgevit_xxs"), BIRDER), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.labels is None
    assert checkpoint.spec.preprocess.fit == "stretch"
    assert checkpoint.spec.preprocess.mean == imagenet_preprocess((224, 224)).mean
    assert checkpoint.notes == (
        "crop ratio 1, resize mode stretch, interpolation bicubic taken from Birder's code",
        "not in the file, so assumed: image size 224x224, mean 0.485,0.456,0.406, std 0.229,0.224,0.225; to say otherwise: "
        "--image-size, --mean, --std",
    )


def test_easycv_epsilon_is_said(tmp_path: Path) -> None:
    write(tmp_path / "easycv.pth", CASES["EasyCV"], "edgevit_xxs")
    checkpoint = read_checkpoint(tmp_path / "easycv.pth")
    assert "LayerNorm epsilon 1e-08, as in easycv's code; it is not in the file" in checkpoint.notes
    assert checkpoint.spec.preprocess == imagenet_preprocess((224, 224))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"signature": {**SIGNATURE, "outputs": [{"data_shape": [0, 9]}]}},
            "its `signature` says 9 classes but its head has 4",
        ),
        (
            {"signature": {**SIGNATURE, "inputs": [{"data_shape": [0, 3, 250, 256]}]}},
            "image height 250 is not a positive multiple of 32; the nearest that works: 224 or 256",
        ),
        (
            {"signature": {"inputs": [{"data_shape": [0, 3, "256", 256]}], "outputs": [{"data_shape": [0, 4]}]}},
            "its `signature` entry is not Birder's: Expected `int`, got `str`",
        ),
        ({"signature": "not JSON"}, "its `signature` entry is not Birder's: JSON is malformed"),
        ({"class_to_idx": {"a": 0, "b": 1, "c": 2}}, "its `class_to_idx` names 3 classes but its head has 4"),
        ({"class_to_idx": {"a": 0, "b": 1, "c": 2, "d": 2}}, "does not give each class from 0 to 3 one name"),
        ({"class_to_idx": {**CLASSES, "Unknown": "1"}}, "its `class_to_idx` entry is not Birder's: Expected `int`, got `str`"),
        ({"class_to_idx": {"a\nb": 0, "b": 1, "c": 2, "d": 3}}, r"its class name 'a\\nb' is not one line of text"),
        ({"class_to_idx": {"": 0, "b": 1, "c": 2, "d": 3}}, "its class name '' is not one line of text"),
        (
            {"rgb_stats": {**RGB_STATS, "std": (0.2, 0.0, 0.2)}},
            "its `rgb_stats` are unusable: .* expected units of 0 to 1, std above 0",
        ),
        ({"rgb_stats": {**RGB_STATS, "std": (58.4, 57.1, 57.4)}}, "its `rgb_stats` are unusable: .* expected units of 0 to 1"),
        ({"rgb_stats": {**RGB_STATS, "mean": (124.0, 116.0, 104.0)}}, "its `rgb_stats` are unusable: .* expected units of"),
        ({"rgb_stats": {**RGB_STATS, "mean": (0.2, 0.1)}}, "its `rgb_stats` entry is not Birder's"),
        ({"config": {"head_dim": 18}}, "its `config` says head_dim 18 but its tensors are those of a network with 36"),
        ({"config": {"depth": [1, 1, 3, 1]}}, r"its `config` says depth \(1, 1, 3, 1\) but .* \(1, 1, 3, 2\)"),
    ],
)
def test_birder_extras_that_contradict_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        infer_birder(**changes)


def test_birder_config_that_agrees_is_accepted() -> None:
    config = {"depth": [1, 1, 3, 2], "embed_dim": [36, 72, 144, 288], "head_dim": 36, "drop_path_rate": 0.1}
    assert infer_birder(config=config).spec.variant == "edgevit_xxs"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"], "not an EdgeViT: .* conv1.weight, bn1.weight"),
        (
            ["patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight", "layers.0.blocks.0.norm1.weight", "norm.weight"],
            "not an EdgeViT: .* expected the names of saic-fi, easycv, birder, timm",
        ),
        (["main_body.0.downsampling_conv.weight", "main_body.0.downsampling_norm.weight"], "first arXiv version .GroupNorm"),
    ],
    ids=["ResNet", "Swin", "arXiv v1"],
)
def test_other_networks_are_refused(keys: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_dialect(keys)
