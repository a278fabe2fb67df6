"""`bench` on one worker of a cluster, alone: the bundles travel there, and the figures say where they are from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgevit_deploy.errors import RunError
from edgevit_deploy.fleet.abilities import to_convert, to_run
from edgevit_deploy.fleet.cluster import Cluster
from edgevit_deploy.fleet.dispatch import Dispatch, Order
from edgevit_deploy.fleet.jobs import BenchJob, Bundles, named_file
from edgevit_deploy.fleet.parcel import check_parcel, pack
from edgevit_deploy.measure.bench import BenchRun, Protocol
from edgevit_deploy.measure.contests import Against
from edgevit_deploy.workbench.results import Progress, silent


def bench(
    cluster: Cluster,
    bundles: Sequence[Path],
    *,
    threads: int = 1,
    runs: int | None = None,
    regime: Literal["steady", "mixed"] | None = None,
    protocol: Protocol = "interleaved",
    against: Against | None = None,
    weights: Path | None = None,
    peer: str | None = None,
    ops: bool = False,
    seed: int = 0,
    needs: Sequence[str] = (),
    progress: Progress = silent,
) -> BenchRun:
    """Time bundles as `api.bench` does, on a worker that runs all of them and does nothing else meanwhile.

    Args:
        cluster: with the workers.
        bundles: as for `api.bench`, and so everything up to `seed`.
        threads: see `bundles`.
        runs: see `bundles`.
        regime: see `bundles`.
        protocol: see `bundles`.
        against: see `bundles`.
        weights: see `bundles`.
        peer: see `bundles`.
        ops: see `bundles`.
        seed: see `bundles`.
        needs: resources that the worker must have besides.
        progress: shows what is done.

    Raises:
        UsageError: refused arguments.
        BundleError: a damaged bundle, or one that does not compute the right numbers there.
        RunError: a runtime could not load or run a file, or the worker was lost again and again.
        MissingError: no worker has what is needed, or the scheduler is gone.
    """
    with progress("bench") as step:
        step("reading the bundles")
        parcels = tuple(map(pack, bundles))
        targets = [check_parcel(parcel, "this machine").target for parcel in parcels]
        more = frozenset(needs).union(*(to_convert(target)[-1] for target in targets if against is not None))
        asked = tuple(each | more for each in to_run(targets))
        cluster.require(asked, "bench")
        given = Bundles(parcels=parcels, weights=named_file(weights))
        job = BenchJob(
            labels=tuple(map(str, bundles)),
            threads=threads,
            runs=runs,
            regime=regime,
            protocol=protocol,
            against=against,
            peer=peer,
            ops=ops,
            seed=seed,
        )
        step("waiting for a worker and its figures")
        (outcome,) = Dispatch(cluster, [Order(key=None, job=job, given=given, asked=asked)]).outcomes()
        if outcome.error is not None:
            raise outcome.error
        run, seat = outcome.result, outcome.seat
        if not isinstance(run, BenchRun) or seat is None:
            raise RunError(f"what came of the benchmark is a {type(run).__name__}; start the workers again")
        return replace(run, worker=f"{seat.name} on {seat.facts.host}")
