"""`convert.py bench BUNDLE...`: what bundles cost on this host, against each other, naive exports or peers."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.bench.files import write_files
from edgevit_deploy.commands.bench.view import document, print_run
from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.fleet import FleetFlags
from edgevit_deploy.commands.pages import check_folder
from edgevit_deploy.errors import MissingError, UsageError

if TYPE_CHECKING:
    from edgevit_deploy.measure.bench import BenchRun, Timing


def bench_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    threads: int = 1,
    runs: int | None = None,
    regime: Literal["steady", "mixed"] | None = None,
    protocol: Literal["interleaved", "paper"] = "interleaved",
    against: Literal["original", "fp32", "peers", "ablations"] | None = None,
    weights: Path | None = None,
    peer: str | None = None,
    ops: Annotated[bool, Parameter(negative="")] = False,
    energy: Annotated[bool, Parameter(negative="")] = False,
    output: Path | None = None,
    seed: int = 0,
    fleet_flags: Annotated[FleetFlags, Parameter(name="*")] = FleetFlags(),  # noqa: B008 - frozen
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure latency, load time, memory and size of bundles, interleaved, with the first against itself as a control.

    Args:
        bundles: Folders written by a conversion. Each is re-hashed and must reproduce its golden outputs here first.
        threads: Threads of each runtime.
        runs: Timed runs of each bundle, rounded up to whole blocks. [default: 50]
        regime: steady times 4 runs in a row after 2 warm ones; mixed changes the bundle after every run. [default: steady]
        protocol: paper is the EdgeViT paper's: the mean of 50 passes of TorchScript lite, float32, batch 1, on one thread.
        against: original: naive exports of the same weights; fp32: their file in float32; peers: the networks that the paper
            compares with, in the bundles' precision (needs timm); ablations: the paper's, for bundles of edgevit_xxs. They are
            converted now, judged by the same parity gate, and timed in the same run.
        weights: The checkpoint that the bundles were made from, for --against original and fp32.
        peer: For --against peers, the only one to time: MobileNetV2, for example. [default: all of them]
        ops: Also run each bundle under its runtime's own profiler: time by part of the network, and share of the machine's peak.
        energy: Also measure millijoules of a run, by this host's own counters (RAPL, NVML). Exit code 3 where there is none.
        output: Folder for bench.json, bench.md and a plot, bench.svg.
        seed: Seed of the order of the blocks.
        fleet_flags: Which machine: one worker is found that runs all the bundles, and does nothing else meanwhile.
        json: Print one JSON document on stdout, with every raw time, and nothing else there.
    """
    from edgevit_deploy.measure.bench import check_bundles, read_timing

    fleet_flags.check()
    if energy and fleet_flags.on is not None:
        raise UsageError("--energy reads the counters of this machine; drop --on, or bench on the other machine itself")
    timing = read_timing(
        threads=threads, runs=runs, regime=regime, protocol=protocol, seed=seed, cores_here=fleet_flags.on is None
    )
    check_bundles(bundles)
    check_folder(output)
    with _bench_where(fleet_flags, energy=energy) as bench:
        run = bench(
            bundles,
            threads=threads,
            runs=runs,
            regime=regime,
            protocol=protocol,
            against=against,
            weights=weights,
            peer=peer,
            ops=ops,
            seed=seed,
            progress=progress,
        )
    print_run(run)
    if output is not None and run.benchmark is not None:
        baselines = [*_flag("--against", against), *_flag("--weights", weights), *_flag("--peer", peer)]
        command = _command(bundles, timing, baselines, ops=ops, energy=energy, where=fleet_flags.tokens())
        write_files(run, run.benchmark, command, output)
        say(f"saved: {output}: bench.md, bench.json, bench.svg")
    if json:
        print_json(document(run))
    return MissingError.exit_code if run.benchmark is None else 0


@contextmanager
def _bench_where(flags: FleetFlags, *, energy: bool) -> "Iterator[Callable[..., BenchRun]]":
    """Give what benches: this process, or a worker of the scheduler that `--on` names."""
    from edgevit_deploy import api

    if flags.on is None:
        yield lambda bundles, **how: api.bench(*bundles, energy=energy, **how)
        return
    from edgevit_deploy.fleet.bench import bench

    with flags.cluster() as cluster:
        yield partial(bench, cluster, needs=flags.wanted())


def _flag(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]


def _command(
    bundles: Sequence[Path], timing: "Timing", baselines: Sequence[str], *, ops: bool, energy: bool, where: Sequence[str]
) -> str:
    """Return the command line that times the same again."""
    flags = ["--seed", str(timing.seed)]
    if timing.protocol == "paper":
        flags += ["--protocol", timing.protocol]
    else:
        flags += ["--threads", str(timing.threads), "--runs", str(timing.runs), "--regime", timing.regime.name]
    flags += [*baselines, *(["--ops"] if ops else []), *(["--energy"] if energy else [])]
    return shlex.join(["python", "convert.py", "bench", *map(str, bundles), *flags, *where])
