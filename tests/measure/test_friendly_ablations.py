"""`friendliness --against ablations`: whole deploy graphs of the published network and of every ablation, side by side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact, ExportPlan
from tests.helpers import fakes
from tests.helpers.friendliness import command
from tests.helpers.trained import WEIGHTS

FEW = ("edgevit_xxs_lsa", "edgevit_xxs_without_la")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were two ablations only."""
    monkeypatch.setattr("edgevit_deploy.measure.friendly_ablations.ABLATIONS", FEW)


def against(tmp_path: Path, **changes: str) -> list[str]:
    return command(tmp_path, against="ablations", **changes)


def test_whole_graphs_stand_side_by_side(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    export = fakes.FakeExporter.export

    def without_la_is_refused(self: fakes.FakeExporter, module: Any, plan: ExportPlan[Any], folder: Path) -> Artifact:
        if plan.spec.variant == "edgevit_xxs_without_la":
            raise ExportError("no reduction | here")
        return export(self, module, plan, folder)

    monkeypatch.setattr(fakes.FakeExporter, "export", without_la_is_refused)
    assert run([*against(tmp_path), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (target,) = document["targets"]
    assert list(target["graphs"]) == ["edgevit_xxs", *FEW]
    assert (target["parts"], target["tools"]) == ({}, {"fake": "1"})
    lsa, published = (target["graphs"][name]["operators"] for name in (FEW[0], "edgevit_xxs"))
    assert lsa != published, "it has other linear layers"
    assert target["graphs"][FEW[1]] == {"operators": {}, "placements": {}, "rejected": "no reduction | here"}
    page = (tmp_path / "out" / "friendliness.md").read_text()
    assert "--against ablations" in page
    assert "| fake | " in page
    assert "fake, edgevit_xxs_without_la: rejected. no reduction" in page
    assert "by part" not in page
    assert "Nobody has rewritten it" not in page, "that is of a peer"


def test_what_has_no_ablations_is_refused(fake_target: None, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    message = expect_error(2, *against(tmp_path, model="edgevit_xs"))
    assert "they are of edgevit_xxs, and the network is edgevit_xs; give --model edgevit_xxs" in message
    assert "--peer is no ablation" in expect_error(2, *against(tmp_path, peer="Swin-T"))


def test_so_is_a_checkpoint(fake_target: None, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    flags = ("--weights", WEIGHTS, "--targets", "fake", "--output", tmp_path / "out", "--against", "ablations")
    assert "there are no weights of them to go with --weights" in expect_error(2, "friendliness", *flags)
    assert not (tmp_path / "out").exists()
