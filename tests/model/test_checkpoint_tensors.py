"""Checkpoint files whose tensors are refused, by their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.checkpoints import HEAD, MISFIT, refusal, saved, seeded_state, weights


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


@pytest.mark.filterwarnings("ignore:.*torch.quantize_per_tensor", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: spoilt(float("nan")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(float("-inf")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(1e300), "head.weight holds 2 NaN or infinite values"),
        (lambda: seeded_state()[HEAD].to(torch.complex64), "head.weight is stored as torch.complex64"),
        (lambda: torch.quantize_per_tensor(seeded_state()[HEAD], 0.1, 0, torch.qint8), "head.weight is stored as torch.qint8"),
        (lambda: seeded_state()[HEAD].to(torch.int8), "head.weight is stored as torch.int8; expected float32, float64, float16"),
        (lambda: seeded_state()[HEAD].to(torch.float8_e4m3fn), "head.weight is stored as torch.float8_e4m3fn; expected float32"),
        (lambda: seeded_state()[HEAD].to_sparse(), "head.weight is stored as torch.float32 (torch.sparse_coo, cpu)"),
        (lambda: seeded_state()[HEAD].to("meta"), "head.weight is stored as torch.float32 (torch.strided, meta)"),
    ],
    ids=["NaN", "infinity", "overflow", "complex", "quantised", "integer", "float8", "sparse", "meta"],
)  # fmt: skip
def test_tensors_without_exact_meaning_are_refused_by_name(make: Callable[[], Tensor], said: str, tmp_path: Path) -> None:
    assert refusal(saved(weights(head__weight=make()), tmp_path / "weights.pth")).startswith(said)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    huge = weights(head__weight=torch.zeros(1).expand(10**12, 288), head__bias=torch.zeros(1).expand(10**12))
    message = refusal(saved(huge, tmp_path / "weights.pth"))
    assert message.startswith("head.weight claims 288000000000000 values but the file holds fewer")
