"""Shards: kept, not computed twice, whole or absent, and the same wherever they are run."""

import hashlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgevit_deploy
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.measure import accuracy
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits, run_in_turn, run_shard
from edgevit_deploy.measure.accuracy.store import ShardStore
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle
from tests.helpers.fakes import FakeSession

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, fake_target: None) -> None:
    """Ten pictures a shard, of twenty, so two a subject."""
    monkeypatch.setattr(accuracy, "PICTURES", 10)


class Recorder:
    """Runs shards as usual and remembers which; stops before the one after `last`, as a killed run does."""

    def __init__(self, last: int | None = None) -> None:
        self.run: list[Shard] = []
        self.last = last

    def __call__(self, shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        for shard in shards:
            if len(self.run) == self.last:
                raise KeyboardInterrupt
            self.run.append(shard)
            yield run_shard(shard)


def evaluate(recorder: Recorder, output: Path, data: Path, bundle: Path | None = None) -> accuracy.Evaluation:
    return edgevit_deploy.evaluate(
        bundle or trained_bundle(), data=data, weights=trained.WEIGHTS, output=output, run_shards=recorder
    )


def same(one: accuracy.Evaluation, other: accuracy.Evaluation) -> bool:
    """Whether two evaluations found the same; how fast, and what was there already, may differ."""
    rows = [[replace(row, pictures_per_s=None) for row in evaluation.rows] for evaluation in (one, other)]
    return rows[0] == rows[1] and one.data == other.data


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second, third, whole = Recorder(last=3), Recorder(), Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, tmp_path / "kept", pictures(2))
    resumed = evaluate(second, tmp_path / "kept", pictures(2))
    assert [len(first.run), len(second.run)] == [3, 1]
    assert (resumed.shards, resumed.kept_shards) == (4, 3)
    again = evaluate(third, tmp_path / "kept", pictures(2))
    assert (third.run, again.kept_shards) == ([], 4)
    uninterrupted = evaluate(whole, tmp_path / "other", pictures(2))
    assert same(resumed, uninterrupted)
    assert same(again, uninterrupted)
    assert [shard.subject.kind for shard in whole.run] == ["network", "network", "bundle", "bundle"]
    assert not list(tmp_path.rglob(".*unfinished*"))


def test_a_damaged_shard_is_computed_again(tmp_path: Path) -> None:
    whole = evaluate(Recorder(), tmp_path, pictures(2))
    place, other, *_ = sorted((tmp_path / "shards").iterdir())
    good = place.read_bytes()
    for damaged in (good[:-2] + bytes([good[-2] ^ 1]) + good[-1:], good[:-4], b"", other.read_bytes(), b"\xff\n"):
        place.write_bytes(damaged)
        recorder = Recorder()
        assert same(evaluate(recorder, tmp_path, pictures(2)), whole)
        assert len(recorder.run) == 1
        recorder = Recorder()
        evaluate(recorder, tmp_path, pictures(2))
        assert recorder.run == []


def test_shards_of_pictures_that_have_changed_are_not_used(tmp_path: Path) -> None:
    data = Path(shutil.copytree(pictures(2), tmp_path / "val"))
    first = evaluate(Recorder(), tmp_path / "kept", data)
    shutil.copy(next((data / "coat").iterdir()), data / "coat" / "more.png")
    recorder = Recorder()
    second = evaluate(recorder, tmp_path / "kept", data)
    assert (first.other_shards, second.other_shards, second.kept_shards) == (0, 4, 0)
    assert len(recorder.run) == second.shards == 6


def test_another_preprocessing_or_file_is_another_shard() -> None:
    shard = example()
    subject = shard.subject
    others = [
        replace(shard, subject=replace(subject, preprocess=replace(subject.preprocess, crop=(32, 32)))),
        replace(shard, subject=replace(subject, identity="other")),
        replace(shard, subject=replace(subject, tools=(("torch", "0.1"),))),
        replace(shard, subject=replace(subject, reference="fp64")),
        replace(shard, subject=replace(subject, batch=2)),
        replace(shard, subject=replace(subject, threads=2)),
        replace(shard, positions=tuple(reversed(shard.positions))),
        replace(shard, data_digest="other"),
    ]
    assert len({shard.key, *(other.key for other in others)}) == len(others) + 1
    alike = [
        replace(shard, data=Path("elsewhere"), workers=3),
        replace(shard, subject=replace(subject, path=Path("elsewhere"))),
    ]
    assert {other.key for other in alike} == {shard.key}


def example(data: Path | None = None) -> Shard:
    """The first shard of the trained bundle."""
    recorder = Recorder()
    edgevit_deploy.evaluate(trained_bundle(), data=data or pictures(2), run_shards=recorder)
    return recorder.run[0]


@pytest.mark.slow
def test_a_worker_needs_the_shard_and_its_two_paths(tmp_path: Path) -> None:
    """A process of its own, with copies of bundle and pictures elsewhere, gives the same numbers."""
    shard = example()
    moved = replace(
        shard,
        data=Path(shutil.copytree(pictures(2), tmp_path / "pictures")),
        subject=replace(shard.subject, path=Path(shutil.copytree(trained_bundle(), tmp_path / "bundle"))),
    )
    (tmp_path / "shard").write_bytes(pickle.dumps(moved))
    code = f"""
import pickle, sys
sys.path.insert(0, {str(ROOT)!r})
import export, runtimes
from tests.helpers.fakes import FAKE_RUNTIME, FAKE_TARGET
export.TARGETS["fake"], runtimes.RUNTIMES["fake"] = FAKE_TARGET, FAKE_RUNTIME
from edgevit_deploy.measure.accuracy import run_shard
result = run_shard(pickle.load(open("shard", "rb")))
pickle.dump(result, open("result", "wb"))
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    theirs, ours = pickle.loads((tmp_path / "result").read_bytes()), run_shard(shard)
    assert theirs.key == ours.key == shard.key
    assert theirs.logits.dtype == np.float32
    assert theirs.logits.shape == (10, 10)
    assert np.array_equal(theirs.logits, ours.logits)
    assert theirs.positions.tolist() == list(shard.positions)


def test_what_changed_meanwhile_is_not_run(tmp_path: Path) -> None:
    recorder = Recorder()
    evaluate(recorder, tmp_path, pictures(1))
    network, bundle = recorder.run
    assert (network.subject.kind, bundle.subject.kind) == ("network", "bundle")
    for shard in (network, bundle):
        (failed,) = run_in_turn([replace(shard, subject=replace(shard.subject, identity="what it was"))])
        assert (failed.status, len(failed.logits)) == ("failed", 0)
        assert "is not what it was when the evaluation began" in failed.reason


def test_after_a_failure_only_the_other_subjects_go_on() -> None:
    shard = example()
    bad = replace(shard, subject=replace(shard.subject, identity="what it was"))
    results = list(run_in_turn([bad, replace(bad, positions=shard.positions[:1], files=shard.files[:1]), shard]))
    assert [result.status for result in results] == ["failed", "ran"]


def test_positions_and_names_are_those_of_the_folder() -> None:
    data = pictures(2)
    folder, shard = open_image_folder(data, classes=trained.LABELS), example(data)
    assert [folder.files[position] for position in shard.positions] == list(shard.files)
    assert all(shard.picture(place).is_file() for place in range(len(shard.files)))


def test_what_is_kept_is_what_was_computed(tmp_path: Path) -> None:
    shard = example()
    result, store = run_shard(shard), ShardStore(folder=tmp_path)
    assert store.find(shard) is None
    store.keep(shard, result)
    found = store.find(shard)
    assert found is not None
    assert np.array_equal(found.logits, result.logits)
    assert found.positions.tolist() == result.positions.tolist()
    assert (found.runtime, found.broken, found.seconds) == (result.runtime, result.broken, result.seconds)


@pytest.mark.parametrize("levels", [1, 5_000])
def test_a_header_that_is_too_deep_is_a_damaged_file(tmp_path: Path, levels: int) -> None:
    """Whoever changes it can seal it again."""
    shard = example()
    store = ShardStore(folder=tmp_path)
    store.keep(shard, run_shard(shard))
    (place,) = (path for path in tmp_path.rglob("*") if path.is_file())
    _, header, logits = place.read_bytes().split(b"\n", 2)
    rest = header.replace(b"{", b'{"new":' + b"[" * levels + b"]" * levels + b",", 1) + b"\n" + logits
    place.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert (store.find(shard) is None) == (levels > 1)


def test_a_host_without_the_runtime_can_ask_one_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks does not know the versions there; the bundle is still known to be the same."""
    shard = example()
    monkeypatch.setattr(FakeSession, "packages", ("numpy",))
    assert run_shard(shard).status == "ran"
