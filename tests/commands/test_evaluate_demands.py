"""Demands that nothing was compared for: they are not met, wherever it is read."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest

import edgevit_deploy
from edgevit_deploy.cli import run
from edgevit_deploy.measure import accuracy
from edgevit_deploy.measure.accuracy import Shard, ShardLogits, run_shard
from edgevit_deploy.measure.accuracy.result import Evaluated
from tests.helpers import trained
from tests.helpers.evaluation import pictures

Missed = Literal["failed", "not run"]
DEMANDS = ("--min-agreement", "0.5", "--max-drop", "0.5")


def without_the_network(status: Missed) -> accuracy.RunShards:
    """Run shards as usual, but let the network fail, or not run at all."""

    def run_shards(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        for shard in shards:
            network = shard.subject.kind == "network"
            yield ShardLogits.without(shard, status, "no such machine") if network else run_shard(shard)

    return run_shards


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("not run", 3)])
@pytest.mark.parametrize("demands", [DEMANDS[:2], DEMANDS[2:], DEMANDS, ()])
def test_a_demand_without_a_network_is_not_met(
    classifier: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: Missed,
    code: int,
    demands: tuple[str, ...],
) -> None:
    monkeypatch.setattr(accuracy, "run_in_turn", without_the_network(status))
    flags = ["--data", str(pictures(1)), "--weights", str(trained.WEIGHTS), "--output", str(tmp_path / "kept")]
    assert run(["evaluate", str(classifier), *flags, *demands, "--json"]) == code
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    network, bundle = document["rows"]
    assert document["ok"] is False
    assert (network["status"], bundle["status"]) == (status, "ran")
    assert (bundle["gates"], bundle["unjudged"]) == ([], list(demands[::2]))
    assert json.loads((tmp_path / "kept" / "evaluation.json").read_text())["ok"] is False
    page = (tmp_path / "kept" / "evaluation.html").read_text()
    assert f"network: {status}. no such machine" in page
    for said in (captured.err, page):
        assert (f"{' and '.join(demands[::2])} not met: nothing could be compared" in said) == bool(demands)


def test_what_is_demanded_and_met_is_ok(classifier: Path) -> None:
    """The control: with the network, the same demands on the same pictures are judged, and met."""
    found = edgevit_deploy.evaluate(classifier, data=pictures(4), weights=trained.WEIGHTS, min_agreement=0.5, max_drop=0.5)
    (bundle,) = found.bundles
    assert found.ok
    assert bundle.unjudged == ()
    assert [gate.ok for gate in bundle.gates] == [True, True]


@pytest.mark.parametrize("status", ["failed", "not run"])
def test_the_row_of_the_bundle_does_not_meet_it_either(classifier: Path, status: Missed) -> None:
    def row(min_agreement: float | None) -> Evaluated:
        run_shards = without_the_network(status)
        (found,) = edgevit_deploy.evaluate(
            classifier, data=pictures(1), weights=trained.WEIGHTS, min_agreement=min_agreement, run_shards=run_shards
        ).bundles
        return found

    assert row(None).ok, "the control: nothing is demanded, and the bundle ran"
    assert not row(0.5).ok
