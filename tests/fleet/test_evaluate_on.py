"""`evaluate --on ADDRESS`: the figures of a run here, from workers that have the pictures under the same path."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.measure import accuracy
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle


@pytest.fixture
def classifier(fake_target: None, tmp_path: Path) -> Path:
    """A copy of the trained bundle, for one test."""
    return Path(shutil.copytree(trained_bundle(), tmp_path / "bundles" / "fake-fp32"))


@pytest.fixture
def three_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forty pictures be three shards of each subject."""
    monkeypatch.setattr(accuracy, "PICTURES", 14)


def evaluate(capfd: pytest.CaptureFixture[str], *tokens: object, expected: int = 0) -> dict[str, Any]:
    capfd.readouterr()
    assert run(["evaluate", *map(str, tokens), "--json"]) == expected
    document: dict[str, Any] = json.loads(capfd.readouterr().out)
    for row in document["rows"]:
        row.pop("pictures_per_s")
    return document


def test_the_figures_are_those_of_a_run_here(
    classifier: Path, three_shards: None, address: str, cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens = (classifier, "--weights", trained.WEIGHTS, "--data", pictures(4))
    here = evaluate(capfd, *tokens)
    there = evaluate(capfd, *tokens, "--on", address, "--output", tmp_path / "out")
    assert there == here
    assert there["shards"] == 6
    assert [row["status"] for row in there["rows"]] == ["ran", "ran"]
    again = evaluate(capfd, *tokens, "--on", address, "--output", tmp_path / "out")
    assert again["kept_shards"] == 6, "what the workers sent is kept like what was computed here"


def test_pictures_that_are_not_the_same_there_are_named(
    classifier: Path,
    address: str,
    cluster: Any,
    tmp_path: Path,
    expect_error: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker has the folder; the client believes in a picture that is larger."""
    from edgevit_deploy.fleet import evaluate as fleet_evaluate

    honest = fleet_evaluate.size_of
    data = pictures(4)
    changed = sorted(data.rglob("*.png"))[0]
    monkeypatch.setattr(fleet_evaluate, "size_of", lambda path: (honest(path) or 0) + (path == changed.absolute()))
    line = expect_error(2, "evaluate", classifier, "--data", data, "--on", address)
    assert str(changed) in line
    assert "the folder of --data must be the same on every worker, under the same path" in line


def test_threads_are_counted_where_the_work_is_done(
    classifier: Path,
    address: str,
    cluster: Any,
    capfd: pytest.CaptureFixture[str],
    expect_error: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgevit_deploy.measure.machine._cores_for_us", lambda: 0)
    tokens = ("evaluate", classifier, "--data", pictures(4), "--threads")
    assert "--threads 1: this process may use 0 cores" in expect_error(2, *tokens, 1)
    assert evaluate(capfd, *tokens[1:], 1, "--on", address)["rows"][0]["status"] == "ran"
    line = expect_error(2, *tokens, 4096, "--on", address)
    assert "--threads 4096: this process may use" in line
    assert "may use 0 cores" not in line


def test_a_bundle_that_no_worker_runs_is_not_run(
    classifier: Path, address: str, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    document = evaluate(capfd, classifier, "--data", pictures(4), "--on", address, "--needs", "blue", expected=3)
    (row,) = document["rows"]
    assert row["status"] == "not run"
    assert "no worker has all of blue, run-fake" in row["reason"]
