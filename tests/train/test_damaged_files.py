"""Files of an earlier training that hold what no training writes: as if they were not there, or named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.records import METRICS, read_metrics
from edgevit_deploy.train.weights import count_in

DEEP = '{"new": ' + "[" * 5_000 + "]" * 5_000 + "}"


def test_weights_with_a_text_too_deep_record_no_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    about = json.dumps({"accuracy": {"top1": 1, "top5": 2, "pictures": 3}})
    for text, known in ((about, True), (DEEP, False), ("{", False)):
        save_file({"weight": torch.ones(1)}, file, metadata={"edgevit_deploy": text})
        assert (count_in(file) is not None) == known


@pytest.mark.parametrize("line", [DEEP.encode(), b"{"])
def test_metrics_that_are_none_are_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / METRICS).write_bytes(b"")
    assert read_metrics(tmp_path) == []
    (tmp_path / METRICS).write_bytes(line + b"\n")
    with pytest.raises(UsageError, match=r"metrics\.jsonl: not what a training writes \(.*; remove it$"):
        read_metrics(tmp_path)
