"""`friendliness` of two real targets: what ONNX's partitioners leave outside, and what ncnn refuses."""

from pathlib import Path

import pytest

from tests.helpers.friendliness import examined, verdicts


@pytest.mark.slow
def test_onnx_for_real(tmp_path: Path) -> None:
    document = examined(tmp_path, targets="onnx")
    (target,) = document["targets"]
    whole = target["graphs"]
    assert whole["deploy"]["placements"]["Core ML ML Program"]["partitions"] == 1
    assert whole["original"]["placements"]["Core ML ML Program"]["outside"]["BatchNormalization"] == 11
    original = {result["part"]: result for result in target["parts"]["original"]}
    assert original["LocalProp"]["operators"] == {"ConvTranspose": 1}
    assert original["LocalProp"]["partitioners"]["Core ML NeuralNetwork"] == "falls back"
    assert set(target["time_shares"]) == {"deploy", "original"}
    for shares in target["time_shares"].values():
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["FFN"] > 0


@pytest.mark.nightly
def test_ncnn_refuses_the_published_attention_for_real(tmp_path: Path) -> None:
    """By trying: the exporter's own word for it, `graphs`, is gone around."""
    document = examined(tmp_path, targets="ncnn")
    assert {part for part, verdict in verdicts(document, "original").items() if verdict == "rejected"} == {"GlobalSparseAttn"}
    assert set(verdicts(document, "deploy").values()) == {"native"}
    (target,) = document["targets"]
    assert "rank 5" in target["graphs"]["original"]["rejected"]
