"""`bench.json` read back: what `bench` itself can write is taken, and what would take gigabytes or has no interval is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import MAX_RUNS, MIN_BLOCKS, PAPER_RUNS, REGIMES, BenchmarkResult, Regime
from edgevit_deploy.measure.saved import SavedBench, read_bench
from edgevit_deploy.outside.text import json_bytes

MACHINE = Machine(system="", cpu="a CPU", cores=2, cores_for_us=2, governor=None, load_average_1min=None, python="", libraries={})


def written(folder: Path, regime: Regime, runs: int) -> Path:
    result = BenchmarkResult(
        label="a",
        runtime="none",
        threads=1,
        batch=1,
        image_size=(32, 32),
        load_ms=1.0,
        first_ms=1.0,
        raw_ms=(1.0,) * runs,
        calls_per_block=regime.timed_calls,
        sittings=regime.sittings,
        cpu_ms=None,
        size_bytes=1,
        peak_memory_bytes=None,
        own_process=False,
    )
    saved = SavedBench(machine=MACHINE, regime=regime, seed=0, results=(result,), control=result, bundles={})
    path = folder / "bench.json"
    path.write_bytes(json_bytes(saved))
    return path


@pytest.mark.parametrize(
    ("regime", "runs"),
    [
        (REGIMES["mixed"], 30_000),
        (REGIMES["mixed"], MAX_RUNS),
        (REGIMES["mixed"], MIN_BLOCKS),
        (REGIMES["steady"], MAX_RUNS),
        (REGIMES["steady"], 52),
        (REGIMES["paper"], PAPER_RUNS),
    ],
)
def test_what_bench_writes_is_read(tmp_path: Path, regime: Regime, runs: int) -> None:
    assert regime.blocks(runs) * regime.timed_calls == runs, "bench would write it"
    (result,) = read_bench(written(tmp_path, regime, runs)).results
    assert len(result.raw_ms) == runs


@pytest.mark.parametrize(
    ("regime", "runs"),
    [
        (replace(REGIMES["steady"], timed_calls=2_000_000), 2_000_000),
        (replace(REGIMES["steady"], timed_calls=400_000), 5 * 400_000),
        (REGIMES["mixed"], MAX_RUNS + 1),
        (REGIMES["mixed"], MIN_BLOCKS - 1),
        (REGIMES["steady"], 4 * (MIN_BLOCKS - 1)),
        (REGIMES["paper"], 5 * (MIN_BLOCKS - 1)),
        (REGIMES["paper"], PAPER_RUNS + 1),
        (replace(REGIMES["steady"], timed_calls=0), 80),
        (replace(REGIMES["steady"], timed_calls=-4), 80),
    ],
)
def test_what_bench_cannot_write_is_refused(tmp_path: Path, regime: Regime, runs: int) -> None:
    with pytest.raises(UsageError, match=f"no benchmark has {runs} runs in blocks of {regime.timed_calls}"):
        read_bench(written(tmp_path, regime, runs))


def test_blocks_are_as_long_as_the_regime_says(tmp_path: Path) -> None:
    path = written(tmp_path, REGIMES["steady"], 80)
    path.write_bytes(path.read_bytes().replace(b'"calls_per_block": 4', b'"calls_per_block": 5'))
    with pytest.raises(UsageError, match="80 runs in blocks of 5, of 4 by its regime"):
        read_bench(path)
