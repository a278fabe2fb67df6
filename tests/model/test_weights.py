"""What stands among and around the weights: prefixes, wrappers, counters, heads; what is ignored, and what is not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgevit_deploy.model.dialects import BIRDER, DIALECTS, EASYCV, SAIC, TIMM, Dialect
from tests.helpers.checkpoints import ASSUMED, MISFIT, assert_state, read, refusal, saved, seeded_state, weights
from tests.helpers.trainers import State, other_state, prefixed

HEADS = ["head.0", "head.1", "head.3", "head.1.0"]


def named(dialect: Dialect, state: State) -> State:
    return {str(dialect.to_file(key)): tensor for key, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["model.", "net.encoder."])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_dialect_is_read_behind_a_prefix(dialect: Dialect, prefix: str, tmp_path: Path) -> None:
    checkpoint = read({"state_dict": prefixed(named(dialect, seeded_state()), prefix)}, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.dialect == dialect.name
    assert checkpoint.spec.norm_eps == dialect.norm_eps
    assert checkpoint.notes[0] == f"prefix `{prefix}` removed"


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize(
    "key", ["blocks1.0.extra.weight", "blocks1.0.LocalAgg.conv3.weight", "patch_embed1.scale", "extra.weight"]
)
def test_an_unknown_tensor_in_the_network_is_not_ignored(key: str, prefix: str, tmp_path: Path) -> None:
    state = prefixed({**seeded_state(), key: torch.zeros(2)}, prefix)
    message = refusal(saved({"state_dict": state, "loss.weight": torch.zeros(1)}, tmp_path / "weights.pth"))
    assert message == f"{MISFIT} 1 unexpected: {prefix}{key}; nothing is loaded in part"


def test_what_is_missing_has_the_names_of_the_file(tmp_path: Path) -> None:
    state = prefixed(weights(norm__weight=None, head__bias=torch.zeros(3)), "model.")
    assert refusal(saved(state, tmp_path / "weights.pth")) == (
        f"{MISFIT} 1 missing: model.norm.weight; 1 of another shape: model.head.bias (3,) instead of (10,); "
        "nothing is loaded in part"
    )


def test_of_two_networks_in_one_state_the_shorter_prefix_is_taken_and_the_other_named(tmp_path: Path) -> None:
    """As a Lightning module that keeps an average of its network."""
    state = {**prefixed(other_state(), "ema_model."), **prefixed(seeded_state(), "model.")}
    checkpoint = read({"state_dict": state}, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.notes == (
        "prefix `model.` removed",
        "251 tensors beside the network ignored: ema_model.patch_embed1.norm.weight, ema_model.patch_embed1.norm.bias, "
        "ema_model.patch_embed1.proj.weight and 248 more",
        ASSUMED,
    )


def test_a_larger_network_beside_it_does_not_hide_it(tmp_path: Path) -> None:
    """Distillation: the teacher has more tensors than the student."""
    teacher = {f"teacher.layer{index}.conv.weight": torch.zeros(1) for index in range(400)}
    checkpoint = read({"state_dict": {**teacher, **prefixed(seeded_state(), "student.")}}, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.notes[0] == "prefix `student.` removed"
    assert checkpoint.notes[1].startswith("400 tensors beside the network ignored: teacher.layer0.conv.weight, ")


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod."])
def test_a_tensor_that_is_there_twice_is_refused(wrapper: str, tmp_path: Path) -> None:
    state = {**seeded_state(), f"{wrapper}head.weight": torch.ones(10, 288)}
    message = refusal(saved(state, tmp_path / "weights.pth"))
    assert message == "head.weight is in it twice, with and without the name of a wrapper; save one of them"


def test_the_counters_of_thop_are_ignored(tmp_path: Path) -> None:
    """thop.profile registers two buffers in each module that it has hooked."""
    modules = ["", *dict.fromkeys(f"{key.rpartition('.')[0]}." for key in seeded_state())]
    counters = {
        f"{module}{name}": torch.zeros(1, dtype=torch.float64) for module in modules for name in ("total_ops", "total_params")
    }
    checkpoint = read({"state_dict": {**seeded_state(), **counters}}, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.notes == (f"thop's counters ignored: {len(counters)} of total_ops, total_params", ASSUMED)


@pytest.mark.parametrize("key", ["total_ops", "blocks1.0.total_params", "n_averaged"])
def test_a_counter_that_is_no_single_number_is_not_ignored(key: str, tmp_path: Path) -> None:
    state = {**seeded_state(), key: torch.zeros(36, 36)}
    assert f"1 unexpected: {key}" in refusal(saved(state, tmp_path / "weights.pth"))


def with_head(dialect: Dialect, layer: str, **more: Tensor) -> State:
    head = str(dialect.to_file("head.")).removesuffix(".")
    place = f"{head}{layer.removeprefix('head')}"
    state = {key.replace(f"{head}.", f"{place}.") if key.startswith(f"{head}.") else key: t
             for key, t in named(dialect, seeded_state()).items()}  # fmt: skip
    return {**state, **{f"{head}.{key.replace('__', '.')}": tensor for key, tensor in more.items()}}


@pytest.mark.parametrize("layer", HEADS)
@pytest.mark.parametrize("dialect", [SAIC, EASYCV, BIRDER, TIMM], ids=lambda dialect: dialect.name)
def test_a_head_that_is_a_sequence(dialect: Dialect, layer: str, tmp_path: Path) -> None:
    checkpoint = read(with_head(dialect, layer), tmp_path)
    assert_state(checkpoint, seeded_state())
    found = dialect.to_file(layer)
    assert f"the head is a sequence; its linear layer `{found}` is taken, the rest of it for dropout" in checkpoint.notes


def test_a_pickled_head_that_is_a_sequence(tmp_path: Path) -> None:
    from edgevit_deploy import create_model

    model = create_model("edgevit_xxs", num_classes=10)
    model.load_state_dict(seeded_state())
    model.head = torch.nn.Sequential(torch.nn.Dropout(0.1), model.head)
    assert_state(read(model.state_dict(), tmp_path), seeded_state())
    assert_state(read({"model": model}, tmp_path), seeded_state())


@pytest.mark.parametrize(
    "more",
    [{"3__weight": torch.zeros(5, 10)}, {"0__weight": torch.zeros(288), "0__bias": torch.zeros(288)}, {"scale": torch.zeros(1)}],
    ids=["two linear layers", "a norm", "something else"],
)
def test_a_head_with_more_in_it_is_another_network(more: dict[str, Tensor], tmp_path: Path) -> None:
    message = refusal(saved(with_head(SAIC, "head.1", **more), tmp_path / "weights.pth"))
    parts = ["head.1.weight", "head.1.bias", *(f"head.{key.replace('__', '.')}" for key in more)]
    shown = ", ".join(parts[:3]) + (" and 1 more" if len(parts) == 4 else "")
    assert message == f"its head is more than one linear layer: {shown}; give a classifier whose head is one"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["conv1.weight", "layer1.0.conv1.weight"], "expected the names of saic-fi, easycv, birder, timm"),
        (["cls_token", "blocks.0.attn.qkv.weight", "norm.weight", "head.weight"], "saic-fi is the nearest: it knows 2 of 4"),
    ],
    ids=["ResNet", "ViT"],
)  # fmt: skip
def test_other_networks_are_refused_with_the_nearest_names(keys: list[str], said: str, tmp_path: Path) -> None:
    content = {"model": {key: torch.zeros(2, 2) for key in keys}, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}
    message = refusal(saved(content, tmp_path / "weights.pth"))
    assert message.startswith(f"not an EdgeViT: its tensors have names like {', '.join(keys[:3])}; ")
    assert message.endswith(said)


def test_a_complete_network_is_preferred_to_a_part_of_one(tmp_path: Path) -> None:
    """Under names that no program is known for; under a known one, that program's choice stands, and a part is refused."""
    part = {key: tensor for key, tensor in other_state().items() if key.startswith(("blocks1", "patch_embed"))}
    checkpoint = read({"first": part, "second": seeded_state()}, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.notes[0] == "weights found under `second`"
    assert "block blocks2.0 is missing" in refusal(saved({"model": part, "second": seeded_state()}, tmp_path / "weights.pth"))
