"""Which finished shards still hold: not those of pictures that were written since, nor with one that could not be read then."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

import edgevit_deploy
from edgevit_deploy.data import pictures as picture_files
from edgevit_deploy.measure import accuracy
from edgevit_deploy.measure.accuracy import Shard, ShardLogits, run_in_turn
from tests.helpers.evaluation import pictures, trained_bundle


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, fake_target: None) -> None:
    """Ten pictures a shard, of twenty, so two a subject."""
    monkeypatch.setattr(accuracy, "PICTURES", 10)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of some pictures as BMP, which are all of one size in bytes."""
    folder = Path(shutil.copytree(pictures(2), tmp_path / "val"))
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path.with_suffix(".bmp"))
        path.unlink()
    assert len({path.stat().st_size for path in folder.rglob("*.bmp")}) == 1
    return folder


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Names of files, with what the system says when they are opened."""
    refused: dict[str, int] = {}
    opened = picture_files.open_regular

    def refuse(path: Path) -> object:
        if path.name in refused:
            raise OSError(refused[path.name], os.strerror(refused[path.name]))
        return opened(path)

    monkeypatch.setattr(picture_files, "open_regular", refuse)
    return refused


def evaluate(data: Path, output: Path, *bundles: Path) -> tuple[accuracy.Evaluation, list[int]]:
    """Evaluate; return what was found, and where the shards that were run start."""
    run: list[int] = []

    def noting(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        run.extend(shard.positions[0] for shard in shards)
        yield from run_in_turn(shards)

    return edgevit_deploy.evaluate(*(bundles or (trained_bundle(),)), data=data, output=output, run_shards=noting), run


def used(evaluation: accuracy.Evaluation) -> int:
    (row,) = evaluation.bundles
    assert row.accuracy is not None
    return row.accuracy.top1.of


@pytest.mark.parametrize("why", [errno.EACCES, errno.ESTALE])
def test_a_picture_that_could_not_be_read_for_a_moment_comes_back(
    data: Path, tmp_path: Path, unreadable: dict[str, int], why: int
) -> None:
    """Nothing is written to the file, so neither its size nor its time changes."""
    bad = sorted(data.rglob("*.bmp"))[1]  # the first of a class has to be a picture
    unreadable[bad.name] = why
    first, _ = evaluate(data, tmp_path / "kept")
    assert (used(first), len(first.broken)) == (19, 1)
    still, run = evaluate(data, tmp_path / "kept")
    assert (used(still), run, still.kept_shards) == (19, [], 2)
    unreadable.clear()
    mended, run = evaluate(data, tmp_path / "kept")
    assert (used(mended), len(mended.broken), len(run), mended.kept_shards) == (20, 0, 1, 1)
    _, run = evaluate(data, tmp_path / "kept")
    assert run == []


def test_a_picture_that_was_mended_comes_back(data: Path, tmp_path: Path) -> None:
    bad = sorted(data.rglob("*.bmp"))[1]
    good = bad.read_bytes()
    bad.write_bytes(b"\0" * len(good))
    first, _ = evaluate(data, tmp_path / "kept")
    bad.write_bytes(good)
    mended, run = evaluate(data, tmp_path / "kept")
    assert (used(first), used(mended), len(run)) == (19, 20, 1)


@pytest.mark.parametrize("place", [0, -1])
def test_another_picture_of_one_name_and_size_is_computed(data: Path, tmp_path: Path, place: int) -> None:
    first, _ = evaluate(data, tmp_path / "kept")
    changed = sorted(data.rglob("*.bmp"))[place]
    shutil.copyfile(next(path for path in data.rglob("*.bmp") if path.parent != changed.parent), changed)
    second, run = evaluate(data, tmp_path / "kept")
    fresh, _ = evaluate(data, tmp_path / "fresh")
    assert (len(run), second.kept_shards) == (1, 1)
    assert first.data.digest == second.data.digest, "by name and size they are the same"
    assert second.bundles[0].accuracy == fresh.bundles[0].accuracy != first.bundles[0].accuracy


def test_a_copy_of_the_pictures_is_the_same_pictures(data: Path, tmp_path: Path) -> None:
    evaluate(data, tmp_path / "kept")
    _, run = evaluate(Path(shutil.copytree(data, tmp_path / "elsewhere" / "val")), tmp_path / "kept")
    assert run == []


def test_a_bundle_and_its_copy_are_run_once_and_nothing_was_there(data: Path, tmp_path: Path) -> None:
    bundle = trained_bundle()
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    first, run = evaluate(data, tmp_path / "kept", bundle, copy)
    assert (len(run), first.shards, first.kept_shards) == (2, 4, 0)
    second, run = evaluate(data, tmp_path / "kept", bundle, copy)
    assert (len(run), second.shards, second.kept_shards) == (0, 4, 4)
