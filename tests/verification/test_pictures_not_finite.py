"""Photographs for which an output is not finite: no class, never right, never in agreement, and counted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.commands.pictures import agreement
from edgevit_deploy.verification import pictures as verification_pictures
from tests.helpers.evaluation import pictures, trained_bundle

VALUES = pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
Break = Callable[[float, int], None]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Put a value in place of the smallest output, which decides nothing, of the first few pictures of each bundle."""
    run_in_batches = verification_pictures.run_in_batches

    def set_value(value: float, count: int) -> None:
        seen: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

        def broken(session: Any, inputs: Any, batch: int) -> Any:
            outputs = {name: array.copy() for name, array in run_in_batches(session, inputs, batch).items()}
            for array in outputs.values():
                for row in array:
                    seen[session] = seen.get(session, 0) + 1
                    if seen[session] <= count:
                        row[row.argmin()] = value
            return outputs

        monkeypatch.setattr(verification_pictures, "run_in_batches", broken)

    return set_value


def verify(capfd: pytest.CaptureFixture[str], data: Path, *bundles: Path) -> tuple[list[dict[str, Any]], str]:
    capfd.readouterr()
    assert run(["verify", *map(str, bundles), "--images", str(data), "--json"]) == 0
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


@VALUES
def test_none_of_them_is_right(fake_target: None, breaking: Break, capfd: pytest.CaptureFixture[str], value: float) -> None:
    (whole,), said = verify(capfd, pictures(1), trained_bundle())
    assert whole["right"] >= 5, "the control"
    assert "not finite" not in said
    breaking(value, 10)
    (document,), said = verify(capfd, pictures(1), trained_bundle())
    assert document["right"] == 0
    assert set(document["top5"]) == set(whole["top5"])
    assert all(ranking == [] for ranking in document["top5"].values())
    assert f"{trained_bundle()}: outputs of 10 of 10 pictures are not finite, so they have no class" in said


@VALUES
def test_two_bundles_do_not_agree_on_nothing(
    fake_target: None, breaking: Break, capfd: pytest.CaptureFixture[str], tmp_path: Path, value: float
) -> None:
    bundles = (trained_bundle(), Path(shutil.copytree(trained_bundle(), tmp_path / "copy")))
    _, said = verify(capfd, pictures(1), *bundles)
    assert "10 of 10 pictures have the same first class in all 2 bundles" in said
    breaking(value, 3)
    documents, said = verify(capfd, pictures(1), *bundles)
    assert "7 of 10 pictures have the same first class in all 2 bundles" in said
    assert all(sum(ranking == [] for ranking in document["top5"].values()) == 3 for document in documents)


def test_a_few_pictures_are_shown_in_full(
    fake_target: None, breaking: Break, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(pictures(1).rglob("*.png"))[:2]):
        shutil.copy(path, tmp_path / f"{number}.png")
    breaking(np.nan, 1)
    (document,), said = verify(capfd, tmp_path, trained_bundle())
    assert [len(document["top5"][name]) for name in ("0.png", "1.png")] == [0, 5]
    assert "outputs of 1 of 2 pictures are not finite" in said


def test_it_is_said_of_a_picture_in_words() -> None:
    ranking = [("cat", 5.0), ("dog", 4.0)]
    assert agreement([ranking, []]) == "no class for 1, whose outputs are not finite,"
    assert agreement([[], []]) == "no class for 2, whose outputs are not finite,"
