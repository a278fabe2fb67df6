"""Jobs handed to workers: each to the best one that is free, one at a time, and elsewhere again when a worker is lost.

Dask alone would queue jobs at workers and blame every job that waits at a worker for its end, so that one bad job takes others
with it; here a worker holds one job.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import DeployError, RunError, first_line
from edgevit_deploy.fleet.abilities import SLOT, Asked
from edgevit_deploy.fleet.cluster import Cluster, Seat, lacking
from edgevit_deploy.fleet.jobs import Job, perform

if TYPE_CHECKING:
    from distributed import Future

RETRIES = 3
"""How often a job goes to another worker after the one that did it was lost."""

PATIENCE_S = 60.0
"""How long a job waits when no worker that could do it is left: a worker's process is started again within seconds."""

POLL_S = 0.5


class NotDoneError(RunError):
    """No worker was left to do a job, or each that tried was lost: this says nothing of the job itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to be done.

    Attributes:
        key: of whoever gave it.
        job: the job.
        given: what it needs besides; sent to a worker once for all orders that have the same object.
        asked: what its worker must have, best first.
        avoid: kinds of workers that it has been to.
    """

    key: Any
    job: Job
    given: object
    asked: tuple[Asked, ...]
    avoid: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an order: a result, or the error in its place; and the worker that did it last."""

    order: Order
    result: Any = None
    error: DeployError | None = None
    seat: Seat | None = None


@dataclass(slots=True, kw_only=True)
class _Try:
    order: Order
    lost: list[Seat] = field(default_factory=list)
    seat: Seat | None = None
    asked: Asked = frozenset()
    alone_since_s: float | None = None


class Dispatch:
    """The orders of one command on one cluster; orders may be added while outcomes are read.

    Args:
        cluster: with the workers.
        orders: the first ones.
    """

    def __init__(self, cluster: Cluster, orders: Sequence[Order] = ()) -> None:
        self._cluster = cluster
        self._waiting = [_Try(order=order) for order in orders]
        self._running: dict[Future, _Try] = {}
        self._sent: dict[tuple[int, str], tuple[object, Future]] = {}

    def add(self, order: Order) -> None:
        """Add an order."""
        self._waiting.append(_Try(order=order))

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield what comes of the orders, as it comes; whatever ends this early cancels the others.

        Raises:
            MissingError: the scheduler is gone.
        """
        try:
            while self._waiting or self._running:
                seats = self._cluster.seats()
                yield from self._give_up_lost(seats)
                yield from self._hand_out(seats)
                for future in self._finished():
                    attempt = self._running.pop(future)
                    if (outcome := self._outcome(attempt, future)) is not None:
                        yield outcome
        finally:
            self._cancel([*self._running, *(future for _, future in self._sent.values())])

    def _hand_out(self, seats: Sequence[Seat]) -> Iterator[Outcome]:
        """Give each waiting order the best free worker; yield those for which there is none any more."""
        free = {seat.address for seat in seats} - {attempt.seat.address for attempt in self._running.values() if attempt.seat}
        waiting, self._waiting = self._waiting, []
        for attempt in waiting:
            asked, able = _able(attempt.order, seats)
            if not able:
                attempt.alone_since_s = attempt.alone_since_s or time.monotonic()
                if time.monotonic() - attempt.alone_since_s > PATIENCE_S:
                    yield Outcome(order=attempt.order, error=NotDoneError(lacking(attempt.order.asked, seats)))
                    continue
            else:
                attempt.alone_since_s = None
            chosen = min((seat for seat in able if seat.address in free), key=_elsewhere_first(attempt.lost), default=None)
            if chosen is None or not self._start(attempt, chosen, asked):
                self._waiting.append(attempt)
            else:
                free.discard(chosen.address)

    def _start(self, attempt: _Try, seat: Seat, asked: Asked) -> bool:
        """Send an order to a worker; False when the worker has gone meanwhile."""
        client, order = self._cluster.client, attempt.order
        try:
            given = self._scatter(order.given, seat)
            future = client.submit(
                perform,
                order.job,
                given,
                workers=[seat.address],
                resources=dict.fromkeys([SLOT, *asked], 1),
                pure=False,
            )
        except (OSError, KeyError, ValueError, RuntimeError):  # seats() says so if it is the scheduler that has gone
            return False
        attempt.seat, attempt.asked = seat, asked
        self._running[future] = attempt
        return True

    def _scatter(self, given: object, seat: Seat) -> "Future":
        """Send what orders need to a worker, unless it has it: inline it would go through the scheduler with every job."""
        key = (id(given), seat.address)
        if key not in self._sent:
            future = self._cluster.client.scatter(given, workers=[seat.address], hash=False)
            self._sent[key] = (given, future)
        return self._sent[key][1]

    def _finished(self) -> "list[Future]":
        """Wait a moment for orders that have ended."""
        from distributed import CancelledError, wait

        if not self._running:
            time.sleep(POLL_S)
            return []
        with self._cluster.client.as_current(), suppress(TimeoutError, CancelledError):
            wait(list(self._running), timeout=POLL_S, return_when="FIRST_COMPLETED")
        return [future for future in self._running if future.status != "pending"]

    def _outcome(self, attempt: _Try, future: "Future") -> Outcome | None:
        """Return what came of an order that has ended; None where it goes to another worker."""
        from distributed import CancelledError, KilledWorker

        if future.status == "finished":
            try:
                return Outcome(order=attempt.order, result=future.result(), seat=attempt.seat)
            except (OSError, KeyError, CancelledError):  # the worker was lost with its result
                return self._again(attempt)
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, KilledWorker):  # None: cancelled, since what it was given was lost with the worker
            return self._again(attempt)
        if not isinstance(error, DeployError):
            error = RunError(f"{type(error).__name__}: {first_line(error)}")
        return Outcome(order=attempt.order, error=error, seat=attempt.seat)

    def _give_up_lost(self, seats: Sequence[Seat]) -> Iterator[Outcome]:
        """Take back the orders whose worker is no longer there."""
        present = {seat.address for seat in seats}
        for future, attempt in list(self._running.items()):
            if attempt.seat is not None and attempt.seat.address not in present and future.status == "pending":
                del self._running[future]
                self._cancel([future])
                if (outcome := self._again(attempt)) is not None:
                    yield outcome

    def _again(self, attempt: _Try) -> Outcome | None:
        """Let an order wait for another worker; the outcome where it has been to enough of them."""
        seat, attempt.seat = attempt.seat, None
        assert seat is not None
        attempt.lost.append(seat)
        self._sent = {key: value for key, value in self._sent.items() if key[1] != seat.address}
        if len(attempt.lost) <= RETRIES:
            self._waiting.insert(0, attempt)
            return None
        names = ", ".join(f"{each.name} on {each.facts.host}" for each in attempt.lost)
        reason = f"{len(attempt.lost)} workers were lost while they did it: {names}; see what ended them, memory for example"
        return Outcome(order=attempt.order, error=NotDoneError(reason), seat=seat)

    def _cancel(self, futures: "Sequence[Future]") -> None:
        with suppress(Exception):  # of a scheduler that is gone; the orders are then, too
            self._cluster.client.cancel(list(futures), force=True)


def _elsewhere_first(lost: Sequence[Seat]) -> Any:
    """Return the key by which workers are chosen: elsewhere first, where some were lost."""
    hosts = [seat.facts.host for seat in lost]
    names = [seat.name for seat in lost]
    return lambda seat: (hosts.count(seat.facts.host), names.count(seat.name), seat.name, seat.address)


def _able(order: Order, seats: Sequence[Seat]) -> tuple[Asked, list[Seat]]:
    """Return the first alternative of an order that workers have, and those workers."""
    for asked in order.asked:
        able = [seat for seat in seats if asked <= seat.resources and seat.kind not in order.avoid]
        if able:
            return asked, able
    return frozenset(), []
