"""A cluster: the scheduler that `--on` names, its workers, and whether they are what they must be; or one started here."""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import MissingError, UsageError, first_line
from edgevit_deploy.fleet.abilities import SLOT, Asked, Facts, declared, describe, differences
from edgevit_deploy.fleet.access import Access, check_address, security_of
from edgevit_deploy.registry import requires

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

CONNECT_TIMEOUT_S = 5.0
LOCAL = re.compile(r"local(?::(?P<workers>[1-9][0-9]{0,2}))?")
START_WORKER = "`edgevit-deploy worker ADDRESS`"

SETTINGS = {
    "distributed.worker.daemon": False,  # or pictures could not be decoded by processes of their own
    "distributed.worker.profile.enabled": False,  # it would be in what is timed
    "distributed.nanny.pre-spawn-environ": {
        # Dask would give each worker one thread, and sums of floats would differ from those of a run without workers.
        "OMP_NUM_THREADS": None,
        "MKL_NUM_THREADS": None,
        "OPENBLAS_NUM_THREADS": None,
        "DASK_LOGGING__DISTRIBUTED": "critical",
    },
}
"""How our workers differ from Dask's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker as it is now: a new process of the same worker has the same name and another address."""

    address: str
    name: str
    resources: Asked
    facts: Facts

    @property
    def kind(self) -> tuple[str, Asked]:
        """What decides whether a file that another worker could not run may run on this one."""
        return self.facts.machine, self.resources


class Cluster:
    """The scheduler, asked for its workers again and again."""

    def __init__(self, client: "Client", address: str) -> None:
        self.client = client
        self.address = address
        self._facts: dict[str, Facts] = {}

    def seats(self) -> list[Seat]:
        """Return the workers that are there now, by name.

        Raises:
            MissingError: the scheduler is gone, or a worker is none of ours or has other versions than this machine.
        """
        try:
            found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
            self._ask(set(found) - set(self._facts))
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise MissingError(
                f"the scheduler at {self.address} no longer answers; start it and run the same command again"
            ) from error
        seats = [
            Seat(
                address=address,
                name=_name(entry["id"], self._facts[address]),
                resources=frozenset(entry["resources"]),
                facts=self._facts[address],
            )
            for address, entry in found.items()
            if address in self._facts
        ]
        for seat in seats:
            self._check(seat)
        return sorted(seats, key=lambda seat: (seat.name, seat.address))

    def require(self, asked: Sequence[Asked], what: str) -> None:
        """Refuse at once what no worker could ever do; Dask would wait for one.

        Raises:
            MissingError: naming the resources that no worker has.
        """
        seats = self.seats()
        if any(each <= seat.resources for each in asked for seat in seats):
            return
        raise MissingError(f"{what}: {lacking(asked, seats)}")

    def _ask(self, addresses: set[str]) -> None:
        """Ask workers that have come for their facts; one that has left meanwhile is passed over."""
        if not addresses:
            return
        answers = self.client.run(describe, workers=sorted(addresses), on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, Facts):
                self._facts[address] = answer
            elif isinstance(answer, ImportError | AttributeError):
                raise MissingError(
                    f"the worker at {address} has another edgevit-deploy than this machine, or none ({first_line(answer)}); "
                    f"install the same one there and start it with {START_WORKER}"
                )

    def _check(self, seat: Seat) -> None:
        if differing := differences(describe().versions, seat.facts.versions):
            raise MissingError(
                f"worker {seat.name} on {seat.facts.host} has other versions: {'; '.join(differing)}; install the same ones there"
            )
        if SLOT not in seat.resources:
            raise MissingError(
                f"worker {seat.name} on {seat.facts.host} does not say what it can do; start it with {START_WORKER}"
            )


def lacking(asked: Sequence[Asked], seats: Sequence[Seat]) -> str:
    """Say which resources no worker has, of the alternative that asks for least."""
    if not seats:
        return f"the scheduler has no workers; start one with {START_WORKER}"
    have = frozenset[str]().union(*(seat.resources for seat in seats))
    least = min(asked, key=lambda each: (len(each - have), len(each)))
    if missing := sorted(least - have):
        return f"no worker has {' or '.join(missing)}; start {START_WORKER} on a machine that has it"
    return f"no worker has all of {', '.join(sorted(least))}; start {START_WORKER} on a machine that has them"


def check_on(on: str, access: Access) -> None:
    """Refuse what `--on` and the flags beside it cannot mean; nothing is connected or imported.

    Raises:
        UsageError: with what to type instead.
        MissingError: dask is not installed, or there is no such machine.
    """
    if not LOCAL.fullmatch(on):
        check_address(on, access)
    elif access != Access():
        raise UsageError(f"--on {on} starts workers of this machine's own; drop the --tls flags and --insecure")
    check_installed("--on")


def check_installed(flag: str) -> None:
    """Refuse to go on without dask.

    Raises:
        MissingError: with the command that installs it.
    """
    found = requires("distributed", extra="fleet")
    if not found.ok:
        raise MissingError(f"{flag} needs Dask: {found.detail}; {found.fix}")


@contextmanager
def open_cluster(on: str, access: Access = Access()) -> Iterator[Cluster]:  # noqa: B008 - frozen
    """Connect to a scheduler, or start one here with its workers, and leave nothing of it at the end.

    Args:
        on: tcp://HOST:PORT, tls://HOST:PORT, `local` or `local:N` for N workers.
        access: who gets in.

    Raises:
        UsageError: as for `check_on`.
        MissingError: dask is not installed, no scheduler answers there, it has no workers, or those are none of ours.
    """
    check_on(on, access)
    import dask
    from distributed import Client

    silence()
    security = security_of(access)
    local = LOCAL.fullmatch(on)
    with dask.config.set(SETTINGS), ExitStack() as opened:
        address: Any = on
        if local:
            address = opened.enter_context(closing(_local_cluster(int(local["workers"] or default_workers()))))
        else:
            greet(address, security)
        try:
            client = Client(address, security=security, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except OSError as error:
            raise _no_answer(on, error) from error
        opened.callback(client.close, timeout=CONNECT_TIMEOUT_S)
        cluster = Cluster(client, on)
        if not cluster.seats():
            raise MissingError(f"{on}: {lacking([frozenset({SLOT})], [])}")
        yield cluster


def greet(address: str, security: "Security | None") -> None:
    """Connect to a scheduler once and part again: a client of Dask's that meets anything else is noisy and slow to end.

    Raises:
        MissingError: nothing answers there, or something that is no scheduler.
    """
    from distributed.comm import connect

    async def meet() -> None:
        arguments = security.get_connection_args("client") if security else {}
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT_TIMEOUT_S, **arguments), CONNECT_TIMEOUT_S)
        await comm.close()

    try:
        asyncio.run(meet())
    except Exception as error:  # of a parser on what some other server says, MemoryError for one
        raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> MissingError:
    reason = first_line(error) if isinstance(error, OSError) else "what answers there is none"
    if isinstance(error, TimeoutError):
        reason = f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return MissingError(f"no scheduler answers at {address} ({reason}); start `dask scheduler` there, or check the address")


def default_workers() -> int:
    """Return how many workers `local` starts: each conversion keeps several cores busy for a part of its time."""
    return max(2, (os.cpu_count() or 1) // 4)


def silence() -> None:
    """Keep Dask's logs to itself: what they say of lost workers is said in the rows."""
    import logging

    import distributed  # noqa: F401 - sets the levels

    dasks = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]  # some have levels of their own
    for name in ("distributed", "tornado", "asyncio", *dasks):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _local_cluster(workers: int) -> Any:
    import logging

    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        memory_limit=0,
        resources=declared(),
    )


def _name(name: object, facts: Facts) -> str:
    """Return what rows call a worker; those started here have a number only."""
    return f"{facts.host}-{name}" if isinstance(name, int) else str(name)
