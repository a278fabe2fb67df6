"""A bundle in which nothing can be recorded: known before anything is computed, and if only at the end, no result is lost."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import edgevit_deploy
from edgevit_deploy.bundle.place import StagedBundle, staged_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy import Shard, ShardLogits, record
from tests.helpers.evaluation import pictures


@pytest.fixture
def two(classifier: Path, tmp_path: Path) -> list[Path]:
    """Two bundles; where the second would be kept if it failed, there is something that is not ours."""
    second = Path(shutil.copytree(classifier, tmp_path / "second"))
    (tmp_path / "second.failed").mkdir()
    (tmp_path / "second.failed" / "photo.txt").write_text("x")
    return [classifier, second]


def test_a_place_is_tried_before_anything_is_computed(two: list[Path], tmp_path: Path, expect_error: Callable[..., str]) -> None:
    flags = ("--data", pictures(1), "--output", tmp_path / "kept")
    said = expect_error(2, "evaluate", *two, *flags, "--record")
    assert "second.failed exists and is not a bundle" in said
    assert not (tmp_path / "kept").exists()
    assert not any((bundle / "evaluation.json").exists() for bundle in two)
    assert run(["evaluate", *map(str, two), *map(str, flags)]) == 0, "the control: without --record nothing is tried"


def test_the_library_tries_it_too(two: list[Path]) -> None:
    def never(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        raise AssertionError

    with pytest.raises(UsageError, match="exists and is not a bundle"):
        edgevit_deploy.evaluate(*two, data=pictures(1), record=True, run_shards=never)


def test_what_fails_at_the_end_costs_no_result(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full by then."""
    before = sorted(path.name for path in classifier.rglob("*"))
    turns: list[Path] = []

    @contextmanager
    def once(place: Path) -> Iterator[StagedBundle]:
        turns.append(place)
        if len(turns) > 1:
            raise UsageError("no space left")
        with staged_bundle(place) as staged:
            yield staged

    monkeypatch.setattr(record, "staged_bundle", once)
    flags = ["--data", str(pictures(1)), "--output", str(tmp_path / "kept")]
    assert run(["evaluate", str(classifier), *flags, "--record", "--json"]) == 2
    captured = capfd.readouterr()
    assert json.loads(captured.out)["ok"] is True
    assert "accuracy, with 95 % intervals" in captured.err
    assert "no space left" in captured.err
    assert json.loads((tmp_path / "kept" / "evaluation.json").read_text()) == json.loads(captured.out)
    assert (tmp_path / "kept" / "evaluation.html").is_file()
    assert sorted(path.name for path in classifier.rglob("*")) == before


def test_what_is_no_bundle_is_said_as_ever(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    said = expect_error(2, "evaluate", tmp_path / "deeper" / "nowhere", "--data", pictures(1), "--record")
    assert "nowhere" in said
    assert list(tmp_path.iterdir()) == []
