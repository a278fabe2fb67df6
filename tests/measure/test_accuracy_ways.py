"""How subjects are run: what is asked for reaches PyTorch and the runtime."""

from pathlib import Path

import pytest
import torch

import edgevit_deploy
from edgevit_deploy.measure import accuracy
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle
from tests.helpers.fakes import FakeSession

PLAIN = accuracy.Way()


@pytest.fixture(autouse=True)
def target(fake_target: None) -> None:
    """Every test has the fake target."""


def evaluate(way: accuracy.Way = PLAIN, output: Path | None = None) -> accuracy.Evaluation:
    return edgevit_deploy.evaluate(
        trained_bundle(),
        data=pictures(1),
        weights=trained.WEIGHTS,
        output=output,
        reference=way.reference,
        threads=way.threads,
    )


def test_the_networks_arithmetic_is_what_was_asked_for() -> None:
    """A file in float32 is nearer to itself in PyTorch than to float64."""
    plain, exact = evaluate(), evaluate(accuracy.Way(reference="fp64"))
    runtimes = [[row.runtime for row in found.rows] for found in (plain, exact)]
    assert runtimes == [["PyTorch fp32", "fake runtime"], ["PyTorch fp64", "fake runtime"]]
    differences = [found.bundles[0].pairing.mean_difference for found in (plain, exact) if found.bundles[0].pairing]
    assert len(set(differences)) == 2
    assert max(differences) < 1e-5


def test_threads_reach_the_runtime_and_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[int | None] = []
    set_threads: list[int] = []
    load, set_num_threads = FakeSession._load, torch.set_num_threads

    def noting(self: FakeSession) -> None:
        asked.append(self.threads)
        load(self)

    def setting(count: int) -> None:
        set_threads.append(count)
        set_num_threads(count)

    monkeypatch.setattr(FakeSession, "_load", noting)
    monkeypatch.setattr(torch, "set_num_threads", setting)
    before = torch.get_num_threads()
    evaluate(accuracy.Way(threads=1), tmp_path)
    assert asked == [1]
    assert set_threads == [1, before]
    again = evaluate(PLAIN, tmp_path)
    assert again.kept_shards == 0, "other threads, so not what was kept"
    assert asked == [1, None]
    assert set_threads == [1, before, before, before]
    assert evaluate(accuracy.Way(threads=1), tmp_path).kept_shards == 2
