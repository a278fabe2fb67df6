"""What an evaluation holds at a time: one batch of pictures as they are run, and a shard of each subject as they are counted."""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import edgevit_deploy
from edgevit_deploy.measure import accuracy
from edgevit_deploy.measure.accuracy import rows, shards
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits
from edgevit_deploy.measure.accuracy.store import ShardStore
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle

BATCH = 8


class Held:
    """How many arrays of a kind live at a time, at most; none is in a circle, so that each is gone with its last reference."""

    def __init__(self) -> None:
        self.living: list[weakref.ref[Any]] = []
        self.most = self.all = 0

    def note(self, array: Any) -> None:
        self.living = [each for each in self.living if each() is not None]
        self.living.append(weakref.ref(array))
        self.most, self.all = max(self.most, len(self.living)), self.all + 1


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[Held, Held]:
    """Evaluate 40 pictures in batches of 8; return what was held of pixels and of finished shards."""
    pixels, finished = Held(), Held()
    normalise, find = shards.normalise, ShardStore.find

    def noting(array: Any, *rest: Any) -> Any:
        pixels.note(array)
        return normalise(array, *rest)

    def finding(self: ShardStore, shard: Shard) -> ShardLogits | None:
        found = find(self, shard)
        if found is not None:
            finished.note(found.logits)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(shards, "DECODED", BATCH)
        patched.setattr(shards, "normalise", noting)
        patched.setattr(ShardStore, "find", finding)
        edgevit_deploy.evaluate(trained_bundle(), data=pictures(4), weights=trained.WEIGHTS, batch=BATCH)
    return pixels, finished


def test_one_batch_and_a_shard_of_each_at_a_time(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, _ = counted(monkeypatch)
    assert pixels.all == 2 * 40 / BATCH
    assert pixels.most <= 2, "the one before may live as long as the next is made"
    monkeypatch.setattr(accuracy, "PICTURES", 10)
    _, finished = counted(monkeypatch)
    assert finished.all >= 4 * 4, "each shard of both, for accuracy and for the pairs"
    assert finished.most <= 4, "a pair, and the one before"


def test_what_is_kept_is_seen(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: whoever holds pixels, or all shards, is found out."""
    kept: list[Any] = []
    run, results = shards._run, rows.Work.results

    def keeping(shard: Shard, opened: Any) -> ShardLogits:
        inner = opened.run

        def hold(array: Any) -> Any:
            kept.append(array)
            return inner(array)

        return run(shard, shards.Opened(runtime=opened.runtime, tools=opened.tools, run=hold))

    def all_at_once(self: rows.Work, subject: Any) -> Iterator[ShardLogits]:
        return iter(list(results(self, subject)))

    monkeypatch.setattr(shards, "_run", keeping)
    monkeypatch.setattr(rows.Work, "results", all_at_once)
    monkeypatch.setattr(accuracy, "PICTURES", 10)
    pixels, finished = counted(monkeypatch)
    assert pixels.most == pixels.all == len(kept) > 2
    assert all(isinstance(each, np.ndarray) for each in kept)
    assert finished.most > 4
