"""The benchmark: its order, its statistics and its verdicts on a runtime with known latencies; and the command.

The processes that measure memory import this module, so it imports no torch.
"""

import itertools
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.measure.benchmark import Candidate, benchmark, block_order, peak_memory_bytes
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from edgevit_deploy.process.session_child import isolated
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import TensorSpec

ErrorCheck = Callable[..., str]
INPUTS = (TensorSpec(name="input", shape=(1, 3, 32, 32), dtype="float32"),)
OUTPUTS = (TensorSpec(name="logits", shape=(1, 1), dtype="float32"),)
FEEDS = {"input": np.zeros((1, 3, 32, 32), np.float32)}
BIG_BYTES = 200_000_000


class SpinSession(Session):
    """A runtime whose every run keeps the CPU busy for as many microseconds as its file says."""

    name = "spin"
    events: ClassVar[list[tuple[str, str, int]]] = []

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def _load(self) -> None:
        text = self.path.read_text()
        if text == "broken":
            raise RunError("broken file")
        self.seconds = int(text) / 1e6
        self.events.append(("open", self.path.name, id(self)))

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        self.events.append(("run", self.path.name, id(self)))
        return {"logits": np.zeros((1, 1), np.float32)}

    def _unload(self) -> None:
        self.events.append(("close", self.path.name, id(self)))


class HungrySession(SpinSession):
    """Takes BIG_BYTES when it loads."""

    def _load(self) -> None:
        self.memory = np.ones(BIG_BYTES, np.uint8)
        super()._load()


class MoodySession(SpinSession):
    """Is three times as slow in every second session."""

    loads: ClassVar[int] = 0

    def _load(self) -> None:
        super()._load()
        type(self).loads += 1
        self.seconds *= 1 if type(self).loads % 2 else 3


class ChildSession(SpinSession):
    """Says that its model runs in a process of its own, which has spent 2 ms more whenever it is asked."""

    spent_ns = 0

    def peak_memory_bytes(self) -> int:
        return 12345

    def cpu_time_ns(self) -> int:
        self.spent_ns += 2_000_000
        return self.spent_ns


class DyingSession(SpinSession):
    """Kills its process when it is not the one that tests run in."""

    def _load(self) -> None:
        if sys.argv[0] == "-c":
            sys.exit(1)
        super()._load()


@pytest.fixture
def fake_session(fake_target: None) -> Any:
    """The fake runtime's class."""
    from tests.helpers.fakes import FakeSession

    return FakeSession


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


def result(raw_ms: list[float], calls_per_block: int = 1, label: str = "a") -> BenchmarkResult:
    return BenchmarkResult(
        label=label,
        runtime="none",
        threads=1,
        batch=2,
        image_size=(32, 64),
        load_ms=1.0,
        first_ms=1.0,
        raw_ms=tuple(raw_ms),
        calls_per_block=calls_per_block,
        cpu_ms=None,
        size_bytes=1,
        peak_memory_bytes=None,
        own_process=False,
    )


def judged(first: list[float], control: list[float], second: list[float]) -> Benchmark:
    results = (result(first), result(second, label="b"))
    return Benchmark(regime=REGIMES["mixed"], seed=0, results=results, control=result(control, label="a again"))


def around(centre: float, spread: float, seed: int, count: int = 60) -> list[float]:
    return (centre * (1 + spread * np.random.default_rng(seed).standard_normal(count))).tolist()


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


def test_statistics_by_hand() -> None:
    one = result([float(value) for value in range(1, 51)])
    assert one.min_ms == 1
    assert one.median_ms == 25.5
    assert one.p90_ms == 46
    assert one.p99_ms == 50
    assert one.cv == pytest.approx(np.std(range(1, 51), ddof=1) / 25.5)
    assert one.images_per_s == pytest.approx(2000 / 25.5)
    low, high = one.median_interval_ms
    assert 1 < low < 25.5 < high < 50


def test_p99_of_many_runs_is_not_the_slowest() -> None:
    assert result([float(value) for value in range(1, 202)]).p99_ms == 199


def test_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(50):
        low, high = result(around(10.0, 0.1, seed)).median_interval_ms
        hits += low <= 10.0 <= high
    assert 43 <= hits <= 50


def test_whole_blocks_are_resampled() -> None:
    """Runs of one block share their disturbance; drawing single runs would claim a certainty that is not there."""
    levels = around(10.0, 0.1, seed=1, count=15)
    raw = [level for level in levels for _ in range(4)]
    by_block, by_run = result(raw, calls_per_block=4), result(raw)
    width = by_block.median_interval_ms[1] - by_block.median_interval_ms[0]
    assert width > 1.4 * (by_run.median_interval_ms[1] - by_run.median_interval_ms[0])


def test_a_drift_cancels_in_the_ratio() -> None:
    drift = np.linspace(1, 3, 60)
    outcome = judged((10 * drift).tolist(), (10 * drift).tolist(), (12 * drift).tolist())
    (comparison,) = outcome.comparisons()
    assert comparison.interval == pytest.approx((1.2, 1.2))
    assert comparison.verdict == "slower"


@pytest.mark.parametrize(
    ("centre", "verdict"), [(10.0, "no difference"), (10.05, "no difference"), (13.0, "slower"), (7.0, "faster")]
)
def test_verdict(centre: float, verdict: str) -> None:
    outcome = judged(around(10.0, 0.01, 1), around(10.0, 0.01, 2), around(centre, 0.01, 3))
    (comparison,) = outcome.comparisons()
    assert comparison.verdict == verdict
    assert comparison.interval[0] <= comparison.ratio <= comparison.interval[1]


def test_a_difference_inside_the_control_spread_is_none() -> None:
    """The same 8 % difference is real beside a quiet control and nothing beside one that differs by 10 % from itself."""
    first, second = around(10.0, 0.002, 1), around(10.8, 0.002, 3)
    quiet, loud = judged(first, around(10.0, 0.002, 2), second), judged(first, around(11.0, 0.002, 2), second)
    assert quiet.comparisons()[0].verdict == "slower"
    assert quiet.warnings() == ()
    assert loud.comparisons()[0].verdict == "no difference"
    assert len(loud.warnings()) == 1
    assert "against itself differs by up to 10" in loud.warnings()[0]


def test_a_noisy_result_says_so() -> None:
    outcome = judged(around(10.0, 0.001, 1), around(10.0, 0.001, 2), around(10.0, 0.3, 3))
    assert any(text.startswith("b: noisy") for text in outcome.warnings())


@pytest.mark.serial
def test_known_latencies_come_out(spin: Callable[..., Candidate]) -> None:
    outcome = run_benchmark(spin("fast", 1000), spin("slow", 2000), runs=40)
    fast, slow = outcome.results
    assert 1.0 <= fast.min_ms < 1.2
    assert 2.0 <= slow.min_ms < 2.3
    assert len(fast.raw_ms) == len(outcome.control.raw_ms) == 40
    assert fast.cpu_ms is not None
    assert fast.size_bytes == 4
    assert fast.first_ms >= 1.0
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
    again = peak_memory_bytes(spin("small", 1, isolated(SpinSession, f"{__name__}:SpinSession")), 1)
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


def test_the_command(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(fake_bundle), "--runs", "5", "--regime", "mixed", "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (only,) = document["results"]
    assert len(only["raw_ms"]) == 5
    assert only["label"] == str(fake_bundle)
    assert only["min_ms"] == min(only["raw_ms"])
    assert document["machine"]["libraries"]["torch"]
    assert document["machine"]["cores"] >= document["machine"]["cores_for_us"] >= 1
    assert document["regime"] == {"name": "mixed", "warm_calls": 0, "timed_calls": 1, "sittings": 4}
    assert document["control"]["spread"] >= 0
    assert document["comparisons"] == document["skipped"] == []
    for text in ("mixed: 5 blocks a bundle", "A/A control", "peak memory", "cores", "mixed regime"):
        assert text in captured.err, text


def test_two_bundles_are_compared(fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = fake_bundle.rename(tmp_path / "[red]other")  # rich markup in a name is text
    other.rename(fake_bundle)
    shutil.copytree(fake_bundle, other)
    assert run(["bench", str(fake_bundle), str(other), "--runs", "5", "--regime", "mixed", "--json"]) == 0
    captured = capfd.readouterr()
    (comparison,) = json.loads(captured.out)["comparisons"]
    assert comparison["label"] == str(other)
    assert comparison["verdict"] in {"no difference", "slower", "faster"}
    assert "[red]other" in captured.err


def test_a_reference_evaluation_makes_no_latency_claim(
    fake_bundle: Path, fake_session: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fake_session, "executes_target", False)
    assert run(["bench", str(fake_bundle), "--json"]) == 3
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["results"] == []
    assert document["skipped"][0]["bundle"] == str(fake_bundle)
    assert "not timed here" in captured.err
    assert "says nothing about speed" in captured.err


def test_no_runtime_is_exit_3(
    fake_bundle: Path, fake_session: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = Availability(ok=False, detail="no such chip", fix="buy one")
    monkeypatch.setattr(fake_session, "probe", classmethod(lambda _: gone))
    from edgevit_deploy.host import find_session

    find_session.cache_clear()
    try:
        assert run(["bench", str(fake_bundle)]) == 3
    finally:
        find_session.cache_clear()
    assert "not timed here. fake: no such chip (buy one)" in capfd.readouterr().err


def test_a_changed_file_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    path = fake_bundle / "model.fake"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "changed since it was written" in expect_error(1, "bench", fake_bundle)


def test_failed_parity_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    path = fake_bundle / "manifest.json"
    document = json.loads(path.read_text())
    document["parity"]["status"] = "failed"
    path.write_text(json.dumps(document))
    assert "failed parity when it was made" in expect_error(1, "bench", fake_bundle)


def test_wrong_numbers_here_are_refused(
    fake_bundle: Path, fake_session: Any, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that passed elsewhere and computes something else on this host is not timed."""
    right = fake_session._run

    def wrong(self: Session, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: array + np.float32(0.01) for name, array in right(self, feeds).items()}

    monkeypatch.setattr(fake_session, "_run", wrong)
    assert "does not reproduce its golden outputs" in expect_error(1, "bench", fake_bundle)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--threads", "0"), "--threads 0: this process may use"),
        (("--threads", "9999"), "--threads 9999: this process may use"),
        (("--seed", "-1"), "--seed -1: a seed is 0 or larger"),
        (("--runs", "3"), "use --runs 20 or more"),
        (("--regime", "cold"), "cold"),
    ],
)
def test_bad_settings(fake_bundle: Path, expect_error: ErrorCheck, flags: tuple[str, str], text: str) -> None:
    assert text in expect_error(2, "bench", fake_bundle, *flags)


def test_the_same_bundle_twice(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    assert "is given twice" in expect_error(2, "bench", fake_bundle, fake_bundle.parent / "x" / ".." / fake_bundle.name)


def test_unlike_batches_are_refused(fake_bundle: Path, expect_error: ErrorCheck, tmp_path: Path) -> None:
    other = Path(shutil.copytree(fake_bundle, tmp_path / "two"))
    path = other / "manifest.json"
    document = json.loads(path.read_text())
    document["inputs"][0]["shape"][0] = document["outputs"][0]["shape"][0] = 2
    path.write_text(json.dumps(document))
    assert "have batches 1, 2" in expect_error(2, "bench", fake_bundle, other)


def test_no_bundle(tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "no bundle" in expect_error(2, "bench", tmp_path)
