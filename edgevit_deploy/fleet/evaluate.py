"""The shards of `evaluate` on the workers of a cluster: what runs travels there, the pictures must be there already."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.fleet.abilities import Asked, to_run
from edgevit_deploy.fleet.cluster import Cluster
from edgevit_deploy.fleet.dispatch import Dispatch, Order, Outcome
from edgevit_deploy.fleet.jobs import EvaluateJob, Opened, named_file, size_of
from edgevit_deploy.fleet.parcel import check_parcel, pack
from edgevit_deploy.measure.accuracy.shards import RunShards, Shard, ShardLogits, Subject

EVERY_WORKER: tuple[Asked, ...] = (frozenset(),)
"""What PyTorch asks for."""


def shards_on(cluster: Cluster, needs: Sequence[str] = ()) -> RunShards:
    """Return what `api.evaluate` takes as `run_shards`: each shard is a job of its own, all shards of a file on one runtime.

    Args:
        cluster: with the workers.
        needs: resources that every worker must have besides.
    """

    def run(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        """Yield the shards' results as they come.

        Raises:
            UsageError: a worker has other pictures than this machine.
            MissingError: the scheduler is gone.
        """
        orders: list[Order] = []
        for subject, group in groupby(shards, key=lambda shard: shard.subject):
            given, asked = _sent(subject, frozenset(needs))
            first, *others = group
            try:
                chosen = cluster.require(asked, "not run on the workers")
            except MissingError as error:
                yield ShardLogits.without(first, "not run", str(error))
                continue
            orders += [_order(shard, given, chosen) for shard in (first, *others)]
        ran = dict[Subject, tuple[str, str]]()
        with closing(Dispatch(cluster, orders).outcomes()) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome.error, RunError):
                    yield ShardLogits.without(outcome.order.key, "failed", str(outcome.error))
                elif outcome.error is not None:
                    raise outcome.error
                else:
                    yield _of_one_runtime(outcome, ran)

    return run


def _order(shard: Shard, given: Opened, asked: Asked) -> Order:
    sizes = tuple(size_of(shard.picture(index)) or 0 for index in range(len(shard.files)))
    job = EvaluateJob(shard=replace(shard, data=shard.data.absolute()), sizes=sizes)
    return Order(key=shard, job=job, given=given, asked=(asked,))


def _of_one_runtime(outcome: Outcome, ran: dict[Subject, tuple[str, str]]) -> ShardLogits:
    """Return a shard's result; as failed where another shard of its subject ran on another runtime, as `ran` tells.

    A worker that has come meanwhile may have a better runtime than those that were there.
    """
    result: ShardLogits = outcome.result
    shard, worker = outcome.order.key, outcome.seat.name if outcome.seat else ""
    if result.status != "ran":
        return result
    runtime, other = ran.setdefault(shard.subject, (result.runtime, worker))
    if result.runtime == runtime:
        return result
    return ShardLogits.without(
        shard,
        "failed",
        f"some of its pictures ran on {runtime} (worker {other}), others on {result.runtime} (worker {worker}), and these are no "
        "figures of one file; say --needs NAME for what one of these workers has, or end the other one",
    )


def _sent(subject: Subject, needs: Asked) -> tuple[Opened, tuple[Asked, ...]]:
    """Return what workers need of a subject, and what they must have; they prove that it is still what it was."""
    if subject.kind == "network":
        sent, asked = Opened(weights=named_file(subject.path)), EVERY_WORKER
    else:
        parcel = pack(subject.path)
        sent, asked = Opened(parcel=parcel), to_run([check_parcel(parcel, "this machine").target])
    return sent, tuple(each | needs for each in asked)
