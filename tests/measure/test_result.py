"""Statistics of a benchmark by hand, and what may be concluded from them."""

import numpy as np
import pytest

from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult, interval_95


def result(raw_ms: list[float], calls_per_block: int = 1, label: str = "a", sittings: int = 1) -> BenchmarkResult:
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
        sittings=sittings,
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


def test_sittings_are_resampled() -> None:
    """Two files alike, each at a level of its own in each of four sittings, as memory gives it: blocks alone see a difference."""
    covered = {"blocks": 0, "sittings": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        raws = [np.repeat(1 + 0.02 * rng.standard_normal(4), 8) * (1 + 0.01 * rng.standard_normal(32)) for _ in range(2)]
        for drawn, sittings in (("blocks", 1), ("sittings", 4)):
            first, second = (result(raw.tolist(), sittings=sittings) for raw in raws)
            low, high = interval_95(second.resampled_medians() / first.resampled_medians())
            covered[drawn] += low <= 1 <= high
    assert covered["blocks"] < 75
    assert covered["sittings"] > 80


def test_fewer_blocks_than_sittings_are_one_each() -> None:
    assert (
        result([1.0, 2.0, 3.0, 4.0, 5.0], sittings=10).median_interval_ms == result([1.0, 2.0, 3.0, 4.0, 5.0]).median_interval_ms
    )


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
