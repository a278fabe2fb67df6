"""Time by part of the network, and the arithmetic that it is held against."""

from collections.abc import Callable

import pytest
import torch

from edgevit_deploy import create_model
from edgevit_deploy.measure.profile import BETWEEN, macs_by_part, measure_peak_gmacs, time_by_part
from edgevit_deploy.session import OpTime

PAPER_GMACS = {"edgevit_xxs": 0.6, "edgevit_xs": 1.1, "edgevit_s": 1.9}
"""EdgeViTs, table 2: "FLOPs" of each variant at 224 x 224, rounded to one digit."""


@pytest.mark.parametrize("variant", PAPER_GMACS)
def test_the_arithmetic_is_the_papers(variant: str) -> None:
    network = create_model(variant, num_classes=1000, image_size=(224, 224)).eval()
    macs = macs_by_part(network, 1, (224, 224))
    assert round(sum(macs.values()) / 1e9, 1) == PAPER_GMACS[variant]
    assert BETWEEN not in macs
    assert "norms" not in macs


def test_counts_by_hand() -> None:
    """At 64 x 64 the stages have 16, 8, 4 and 2 positions a side; the published XXS has 1, 1, 3 and 1 blocks in them."""
    network = create_model("edgevit_xxs", num_classes=10, image_size=(64, 64)).eval()
    macs = macs_by_part(network, 2, (64, 64))
    channels, sides, depths = (36, 72, 144, 288), (16, 8, 4, 2), (1, 1, 3, 1)
    by_hand = sum(
        depth * 2 * 2 * 4 * channel**2 * side**2  # LocalAgg's and SelfAttn's FFN, two 1x1 convolutions each, 4 times wider
        for channel, side, depth in zip(channels, sides, depths, strict=True)
    )
    assert macs["FFN"] == 2 * by_hand  # a batch of two
    assert macs["head"] == 2 * 10 * 288


def op(name: str, time_ms: float) -> OpTime:
    return OpTime(name=name, kind="Conv", time_ms=time_ms)


def test_operations_are_added_up_by_part() -> None:
    ops = [
        op("/network/blocks1.0/LocalAgg/conv1/Conv", 1.0),
        op("/network/blocks2.0/LocalAgg/attn/Conv", 2.0),
        op("/network/head/Gemm", 1.0),
        op("ReorderOutput_token_449", 4.0),
    ]
    parts = {part.part: part for part in time_by_part(ops, {"LocalAgg": 30_000_000, "FFN": 7}, peak_gmacs=100)}
    assert list(parts) == ["LocalAgg", "head", BETWEEN]
    assert (parts["LocalAgg"].time_ms, parts["LocalAgg"].operations) == (3.0, 2)
    assert parts["LocalAgg"].share == 3 / 8
    assert parts["LocalAgg"].peak_share == pytest.approx(0.1)  # 30 million in 3 ms is 10 of 100 thousand million a second
    assert parts["head"].peak_share is None
    assert parts[BETWEEN].time_ms == 4.0


def test_the_peak_is_of_the_fastest_run_with_as_many_threads_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of 1024 x 1024 matrices has 2^30 multiply-accumulates; the convolution beside it is called slower here."""
    threads = []

    def seconds(kernel: Callable[[], torch.Tensor]) -> float:
        threads.append(torch.get_num_threads())
        return 0.25 if kernel().ndim == 2 and len(threads) == 3 else 1.0

    monkeypatch.setattr("edgevit_deploy.measure.profile._seconds", seconds)
    before = torch.get_num_threads()
    assert measure_peak_gmacs(1) == pytest.approx(2**30 / 0.25 / 1e9)
    assert set(threads) == {1}
    assert torch.get_num_threads() == before
