"""`--on local:N`: workers of this machine's own, for several checkpoints at once."""

import hashlib
import json
from pathlib import Path

import psutil
import pytest

import export
from edgevit_deploy.cli import run
from tests.helpers.trained import WEIGHTS, write_other


@pytest.mark.nightly
def test_several_checkpoints_on_workers_that_are_started_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in set(export.TARGETS) - {"torchscript"}:
        monkeypatch.delitem(export.TARGETS, name)
    two = [WEIGHTS, write_other(tmp_path / "other.safetensors")]
    tokens = ["--precision", "fp32", "--on", "local:2", "--output", str(tmp_path / "out"), "--json"]
    before = set(psutil.Process().children(recursive=True))
    assert run(["all", "--weights", *map(str, two), *tokens]) == 0
    networks = json.loads(capfd.readouterr().out)["networks"]
    assert [network["weights"] for network in networks] == list(map(str, two))
    rows = [row for network in networks for row in network["rows"]]
    assert [row["status"] for row in rows] == ["passed", "passed"]
    assert len({row["worker"] for row in rows}) == 2, "each worker has one of them"
    bundles = [tmp_path / "out" / path.stem / "torchscript-fp32" for path in two]
    assert [Path(row["bundle"]) for row in rows] == bundles
    made_from = [json.loads((bundle / "manifest.json").read_text())["model"]["weights_sha256"] for bundle in bundles]
    assert made_from == [hashlib.sha256(path.read_bytes()).hexdigest() for path in two]
    left = [each for each in psutil.Process().children(recursive=True) if each not in before]
    assert [each.cmdline() for each in left if "multiprocessing.resource_tracker" not in " ".join(each.cmdline())] == []
