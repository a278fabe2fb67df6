"""The benchmark on a runtime with known latencies: its order, its sittings, its memory, and what ends it."""

import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.measure.benchmark import Candidate, benchmark, block_order, peak_memory_bytes
from edgevit_deploy.measure.result import REGIMES, Benchmark
from edgevit_deploy.process.session_child import isolated
from edgevit_deploy.session import Session
from tests.helpers.spin import (
    BIG_BYTES,
    FEEDS,
    INPUTS,
    OUTPUTS,
    ChildSession,
    ClockSession,
    DyingSession,
    HungrySession,
    MoodySession,
    SpinSession,
)


@pytest.fixture
def spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Candidate]:
    monkeypatch.setattr(SpinSession, "events", [])

    def make(name: str, content: object, session_type: type[Session] = SpinSession) -> Candidate:
        path = tmp_path / name
        path.write_text(str(content))
        return Candidate(label=name, session_type=session_type, path=path, inputs=INPUTS, outputs=OUTPUTS, feeds=FEEDS)

    return make


def run_benchmark(*candidates: Candidate, regime: str = "steady", runs: int = 20) -> Benchmark:
    return benchmark(candidates, threads=1, runs=runs, regime=REGIMES[regime], seed=0, step=lambda _: None)


def sittings(events: list[tuple[str, str, int]]) -> list[list[tuple[str, str, int]]]:
    """Cut what happened where the last open session was closed."""
    cut: list[list[tuple[str, str, int]]] = [[]]
    for before, event in itertools.pairwise([("", "", 0), *events]):
        if before[0] == "close" and event[0] == "open":
            cut.append([])
        cut[-1].append(event)
    return cut


@pytest.mark.parametrize("entries", [2, 3, 5])
def test_order_is_fair_shuffled_and_never_self_adjacent(entries: int) -> None:
    order = block_order(entries, 40, seed=3)
    assert Counter(order) == dict.fromkeys(range(entries), 40)
    assert all(a != b for a, b in itertools.pairwise(order))
    rounds = {tuple(order[start : start + entries]) for start in range(0, len(order), entries)}
    assert len(rounds) > 1 or entries == 2
    assert order == block_order(entries, 40, seed=3)
    assert entries == 2 or order != block_order(entries, 40, seed=4)


def test_order_puts_nobody_at_an_advantage() -> None:
    order = block_order(4, 3000, seed=0)
    followers = Counter(itertools.pairwise(order))
    assert len(followers) == 12
    assert max(followers.values()) < 1.15 * min(followers.values())


def test_known_latencies_come_out(spin: Callable[..., Candidate], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter_ns", ClockSession.read)
    outcome = run_benchmark(spin("fast", 1000, ClockSession), spin("slow", 2000, ClockSession), runs=40)
    fast, slow = outcome.results
    assert set(fast.raw_ms) == set(outcome.control.raw_ms) == {1.0}
    assert set(slow.raw_ms) == {2.0}
    assert len(fast.raw_ms) == len(outcome.control.raw_ms) == 40
    assert fast.cpu_ms is not None
    assert fast.size_bytes == 4
    assert fast.first_ms == 1.0
    assert fast.image_size == (32, 32)
    assert (fast.threads, fast.batch, fast.runtime) == (1, 1, "spin")


@pytest.mark.parametrize(("regime", "in_a_row"), [("steady", 6), ("mixed", 1)])
def test_regimes_interleave_as_they_say(spin: Callable[..., Candidate], regime: str, in_a_row: int) -> None:
    run_benchmark(spin("one", 1), spin("two", 1), regime=regime, runs=30)
    for events in sittings(SpinSession.events):
        runs = [session for kind, _, session in events if kind == "run"][3 * 11 :]
        blocks = [len(list(group)) for _, group in itertools.groupby(runs)]
        assert set(blocks) == {in_a_row}


def test_the_control_is_a_second_session_of_the_first_file(spin: Callable[..., Candidate]) -> None:
    run_benchmark(spin("one", 1), spin("two", 1))
    for events in sittings(SpinSession.events):
        opened = [(name, session) for kind, name, session in events if kind == "open"]
        assert sorted(name for name, _ in opened) == ["one", "one", "two"]
        assert len({session for _, session in opened}) == 3


@pytest.mark.parametrize(("regime", "count"), [("steady", 4), ("mixed", 4), ("paper", 1)])
def test_every_file_is_loaded_anew_in_each_sitting_in_another_order(
    spin: Callable[..., Candidate], regime: str, count: int
) -> None:
    (one, two, three) = run_benchmark(spin("one", 1), spin("two", 1), spin("three", 1), regime=regime, runs=50).results
    orders = [tuple(name for kind, name, _ in events if kind == "open") for events in sittings(SpinSession.events)]
    assert len(orders) == count
    assert count == 1 or len(set(orders)) > 1
    assert len(one.raw_ms) == len(two.raw_ms) == len(three.raw_ms) >= 50


def test_one_lucky_session_does_not_decide(spin: Callable[..., Candidate]) -> None:
    """A file whose sessions differ, as memory lies by chance, is told by all of its sessions, not by one."""
    (moody,) = run_benchmark(spin("moody", 500, MoodySession), runs=40).results
    assert max(moody.raw_ms) > 2 * moody.min_ms


def test_sessions_are_closed_when_another_one_fails(spin: Callable[..., Candidate]) -> None:
    with pytest.raises(RunError, match="broken file"):
        run_benchmark(*(spin(name, 1) for name in "abcd"), spin("bad", "broken"))
    kinds = Counter(kind for kind, _, _ in SpinSession.events)
    assert kinds["open"] == kinds["close"]


def test_sessions_are_closed_on_ctrl_c(spin: Callable[..., Candidate]) -> None:
    def interrupt(text: str) -> None:
        if "timing" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark([spin("one", 1)], threads=1, runs=20, regime=REGIMES["steady"], seed=0, step=interrupt)
    assert [kind for kind, _, _ in SpinSession.events if kind != "run"] == ["open", "open", "close", "close"]


def test_too_few_runs_are_refused(spin: Callable[..., Candidate]) -> None:
    with pytest.raises(UsageError, match=r"--runs 16: the steady regime times 4 a block .* use --runs 20 or more"):
        run_benchmark(spin("one", 1), runs=16)
    with pytest.raises(UsageError, match="use --runs 5 or more"):
        run_benchmark(spin("one", 1), runs=-3, regime="mixed")


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux only")
def test_peak_memory_is_of_one_file_in_a_process_of_its_own(spin: Callable[..., Candidate]) -> None:
    ballast = np.ones(2 * BIG_BYTES, np.uint8)  # of the parent; fork and ru_maxrss would count it
    small, big = peak_memory_bytes(spin("small", 1), 1), peak_memory_bytes(spin("big", 1, HungrySession), 1)
    assert ballast.all()
    assert small is not None
    assert big is not None
    assert small < BIG_BYTES / 2
    assert abs(big - small - BIG_BYTES) < 0.1 * BIG_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux only")
def test_a_process_that_dies_gives_no_figure(spin: Callable[..., Candidate]) -> None:
    assert peak_memory_bytes(spin("dying", 1, DyingSession), 1) is None


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux only")
def test_a_runtime_that_is_isolated_already_gives_the_same_figure(spin: Callable[..., Candidate]) -> None:
    """Where a child does not tell its memory; its class is made while the program runs, so it cannot be pickled."""
    small = peak_memory_bytes(spin("small", 1), 1)
    again = peak_memory_bytes(spin("small", 1, isolated(SpinSession, "tests.helpers.spin:SpinSession")), 1)
    assert small is not None
    assert again is not None
    assert 0.8 < again / small < 1.25


def test_memory_and_cpu_of_a_runtime_in_a_child_process(spin: Callable[..., Candidate]) -> None:
    (outcome,) = run_benchmark(spin("child", 1, ChildSession)).results
    assert outcome.own_process
    assert outcome.peak_memory_bytes == 12345
    assert outcome.cpu_ms == 0.5  # a block of the steady regime has 4 runs


def test_size_of_a_directory(spin: Callable[..., Candidate], tmp_path: Path) -> None:
    class DirectorySession(SpinSession):
        def _load(self) -> None:
            self.seconds = 0.0

        def peak_memory_bytes(self) -> int:
            return 1

    (tmp_path / "package" / "deep").mkdir(parents=True)
    (tmp_path / "package" / "deep" / "weights").write_bytes(b"12345")
    (tmp_path / "package" / "spec").write_bytes(b"123")
    candidate = replace(spin("unused", 1, DirectorySession), path=tmp_path / "package")
    assert run_benchmark(candidate).results[0].size_bytes == 8
