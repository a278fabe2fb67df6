"""How many pictures a subject gets in one run: as many as were asked for, and only the last run is filled up."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import edgevit_deploy
from edgevit_deploy.cli import run
from edgevit_deploy.model import ends
from edgevit_deploy.session import Array
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle, write_labels
from tests.helpers.fakes import FakeSession


@pytest.mark.parametrize(
    ("batch", "runs"), [(40, [40]), (64, [40]), (20, [20, 20]), (7, [7, 7, 7, 7, 7, 5]), (None, [32, 8])], ids=str
)
def test_the_network_gets_what_was_asked_for(
    fake_target: None, monkeypatch: pytest.MonkeyPatch, batch: int | None, runs: list[int]
) -> None:
    seen: list[int] = []
    prepare: Callable[..., torch.nn.Module] = ends.prepare

    def noting(*arguments: Any) -> torch.nn.Module:
        module = prepare(*arguments)
        module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        return module

    monkeypatch.setattr(ends, "prepare", noting)
    edgevit_deploy.evaluate(trained_bundle(), data=pictures(4), weights=trained.WEIGHTS, batch=batch)
    assert seen == runs


@pytest.mark.parametrize(("batch", "runs"), [(20, 2), (64, 1)])
def test_a_file_of_a_fixed_batch_is_run_no_more_often_than_needed(
    fake_target: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int, runs: int
) -> None:
    labels = write_labels(tmp_path / "labels.txt")
    flags = ("--weights", trained.WEIGHTS, "--image-size", "64", "--labels", labels, "--batch", batch, "--output", tmp_path)
    assert run(["fake", *map(str, flags)]) == 0
    seen: list[int] = []
    right = FakeSession._run

    def noting(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        seen.append(len(feeds["input"]))
        return right(self, feeds)

    monkeypatch.setattr(FakeSession, "_run", noting)
    (row,) = edgevit_deploy.evaluate(tmp_path / "fake-fp32", data=pictures(4)).bundles
    assert seen == [batch] * runs
    assert row.accuracy is not None
    assert row.accuracy.top1.of == 40
