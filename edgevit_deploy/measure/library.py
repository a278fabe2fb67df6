"""`bench` as a function of plain arguments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.bench import BenchRun, Protocol, read_timing
from edgevit_deploy.measure.bench import bench as bench_on
from edgevit_deploy.measure.contests import Against
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.workbench.results import Progress, silent


def bench(
    *bundles: StrPath,
    threads: int = 1,
    runs: int | None = None,
    regime: Literal["steady", "mixed"] | None = None,
    protocol: Protocol = "interleaved",
    against: Against | None = None,
    weights: StrPath | None = None,
    peer: str | None = None,
    ops: bool = False,
    energy: bool = False,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    progress: Progress = silent,
) -> BenchRun:
    """Measure latency, load time, memory and size of bundles, interleaved, with the first against itself as a control.

    Args:
        bundles: folders written by a conversion; each must reproduce its golden outputs here first.
        threads: of each runtime.
        runs: timed runs of each bundle, rounded up to whole blocks; 50 when None.
        regime: steady times 4 runs in a row after 2 warm ones; mixed changes the bundle after every run.
        protocol: paper is the EdgeViT paper's.
        against: original: naive exports of the same weights; fp32: their file in float32; peers: others, in that precision;
            ablations: the paper's, of the bundles' network.
        weights: the checkpoint that the bundles were made from, for `original` and `fp32`.
        peer: for `peers`, the only one to time.
        ops: profile each bundle as well.
        energy: measure energy as well, by the counters of this host.
        seed: of the order of the blocks.
        labels: what the results call the bundles; their folders when None.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments.
        BundleError: a damaged bundle, or one that does not compute the right numbers here.
        RunError: a runtime could not load or run a file.
        MissingError: energy was asked for, and no counter can be read here.
    """
    timing = read_timing(threads=threads, runs=runs, regime=regime, protocol=protocol, seed=seed)
    paths, given = [Path(bundle) for bundle in bundles], optional_path(weights)
    with progress("bench") as step:
        return bench_on(
            paths,
            THIS_HOST,
            timing,
            against=against,
            weights=given,
            peer=peer,
            ops=ops,
            energy=energy,
            labels=labels,
            step=step,
        )
