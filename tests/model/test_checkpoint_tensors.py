"""Checkpoint files whose tensors are refused, by their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.checkpoints import HEAD, MISFIT, assert_state, read, refusal, saved, seeded_state, weights


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"norm__weight": None, "blocks1__0__SelfAttn__norm1__weight": None},
            f"{MISFIT} 2 missing: blocks1.0.SelfAttn.norm1.weight, norm.weight; nothing is loaded in part",
        ),
        (
            {name: torch.zeros(1) for name in ("fc__a", "fc__b", "fc__c", "fc__d", "fc__e")},
            f"{MISFIT} 5 unexpected: fc.a, fc.b, fc.c and 2 more; nothing is loaded in part",
        ),
        (
            {"blocks4__0__LocalAgg__conv1__bias": torch.zeros(288)},
            f"{MISFIT} 1 unexpected: blocks4.0.LocalAgg.conv1.bias; nothing is loaded in part",
        ),
        (
            {"head__bias": torch.zeros(11), "norm__bias": torch.zeros(1), "extra": torch.zeros(1)},
            f"{MISFIT} 1 unexpected: extra; 2 of another shape: norm.bias (1,) instead of (288,), "
            "head.bias (11,) instead of (10,); nothing is loaded in part",
        ),
        (
            {"patch_embed1__proj__weight": torch.zeros(36, 1, 4, 4)},
            f"{MISFIT} 1 of another shape: patch_embed1.proj.weight (36, 1, 4, 4) instead of "
            "(36, 3, 4, 4); nothing is loaded in part",
        ),
        (
            {"patch_embed3__proj__weight": torch.zeros(128, 72, 2, 2)},
            "channels (36, 72, 128, 288) are those of no EdgeViT; expected (36, 72, 144, 288) or (48, 96, 240, 384)",
        ),
        ({"patch_embed2__proj__weight": None}, "patch_embed2.proj.weight is missing or empty, and nothing is loaded in part"),
        ({"head__weight": None}, "head.weight is missing or empty, and nothing is loaded in part; give a whole classifier"),
        ({"head__weight": torch.zeros(())}, "head.weight is missing or empty"),
        ({"head__weight": torch.zeros(0, 288)}, "head.weight is missing or empty"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_listed(changes: dict[str, Tensor | None], said: str, tmp_path: Path) -> None:
    assert refusal(saved(weights(**changes), tmp_path / "weights.pth")).startswith(said)


@pytest.mark.parametrize(
    ("block", "named"), [("blocks4.", "blocks4.0"), ("blocks3.1.", "blocks3.1"), ("blocks1.0.", "blocks1.0")]
)
def test_a_missing_block_is_named(block: str, named: str, tmp_path: Path) -> None:
    rest = {key: tensor for key, tensor in seeded_state().items() if not key.startswith(block)}
    message = refusal(saved(rest, tmp_path / "weights.pth"))
    assert message == f"block {named} is missing, and nothing is loaded in part"


def spoilt(value: float) -> Tensor:
    tensor = seeded_state()[HEAD].double()
    tensor[3, 5:7] = value
    return tensor


def nested() -> Tensor:
    return torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)])


class Named(Tensor):
    """A class of tensors that nobody else knows."""

    @staticmethod
    def __new__(cls, values: Tensor) -> "Named":
        return values.as_subclass(cls)


@pytest.mark.filterwarnings("ignore:.*nested tensors", "ignore:.*torch.quantize_per_tensor", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: spoilt(float("nan")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(float("-inf")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(1e300), "head.weight holds 2 NaN or infinite values"),
        (lambda: seeded_state()[HEAD].to(torch.complex64), "head.weight is stored as torch.complex64"),
        (lambda: torch.quantize_per_tensor(seeded_state()[HEAD], 0.1, 0, torch.qint8), "head.weight is stored as a quan"),
        (lambda: seeded_state()[HEAD].to(torch.int8), "head.weight is stored as torch.int8; expected float32, float64, float16"),
        (lambda: seeded_state()[HEAD].to(torch.float8_e4m3fn), "head.weight is stored as torch.float8_e4m3fn; expected float32"),
        (lambda: seeded_state()[HEAD].to_sparse(), "head.weight is stored as a sparse tensor"),
        (lambda: seeded_state()[HEAD].to("meta"), "head.weight is stored as a meta tensor, which has no values"),
        (nested, "head.weight is stored as a nested tensor"),
        (lambda: torch._neg_view(seeded_state()[HEAD]), "head.weight is stored as a negated or conjugated tensor"),
        (lambda: Named(seeded_state()[HEAD]), "head.weight is stored as a tensor of a class of its own; give"),
    ],
    ids=["NaN", "infinity", "overflow", "complex", "quantised", "integer", "float8", "sparse", "meta", "nested", "negated",
         "class"],
)  # fmt: skip
def test_tensors_without_exact_meaning_are_refused_by_name(make: Callable[[], Tensor], said: str, tmp_path: Path) -> None:
    assert refusal(saved(weights(head__weight=make()), tmp_path / "weights.pth")).startswith(said)


@pytest.mark.parametrize("stored", ["expanded", "one storage for all"])
def test_tensors_that_claim_more_than_the_file_holds_are_refused(stored: str, tmp_path: Path) -> None:
    state = weights()
    if stored == "expanded":
        state["head.weight"] = torch.zeros(1).expand(10, 288)
    else:
        flat = torch.zeros(max(tensor.numel() for tensor in state.values()))
        state = {key: flat[: tensor.numel()].view(tensor.shape) for key, tensor in state.items()}
    message = refusal(saved(state, tmp_path / "weights.pth"))
    assert message.startswith("head.weight claims 2880 values" if stored == "expanded" else "several of its tensors are the same")


def test_tensors_that_are_parts_of_one_storage_are_read(tmp_path: Path) -> None:
    """The control: FSDP's flat parameters, saved as views."""
    state = {key: tensor for key, tensor in weights().items() if tensor.is_floating_point()}
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    parts = flat.split([tensor.numel() for tensor in state.values()])
    views = {key: part.view(tensor.shape) for (key, tensor), part in zip(state.items(), parts, strict=True)}
    assert_state(read(views, tmp_path), seeded_state())


@pytest.mark.parametrize("classes", [2**20 + 1, 10**7, 10**12])
def test_a_head_has_a_bounded_number_of_classes(classes: int, tmp_path: Path) -> None:
    huge = weights(head__weight=torch.zeros(1).expand(classes, 288), head__bias=torch.zeros(1).expand(classes))
    message = refusal(saved(huge, tmp_path / "weights.pth"))
    assert message == f"head.weight is for {classes} classes; a head has at most 1048576"


@pytest.mark.parametrize("depth", [65, 30_000, 40_000])
def test_a_stage_has_a_bounded_number_of_blocks(depth: int, tmp_path: Path) -> None:
    extra = {f"blocks2.{index}.LocalAgg.norm1.weight": torch.zeros(0) for index in range(depth)}
    message = refusal(saved(weights() | extra, tmp_path / "weights.pth"))
    if depth == 40_000:
        assert message.endswith("an EdgeViT of at most 64 blocks a stage has no more than 32768")
    else:
        assert message == f"blocks2. has {depth} blocks; a stage has at most 64"
