"""How a scheduler is reached: the one that `--on` names, or one started here with its workers."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import MissingError, UsageError, first_line
from edgevit_deploy.fleet.abilities import declared
from edgevit_deploy.fleet.access import Access, check_address, security_of
from edgevit_deploy.fleet.cluster import Cluster
from edgevit_deploy.registry import requires
from edgevit_deploy.workbench import Step, quiet

if TYPE_CHECKING:
    from distributed.security import Security

CONNECT_TIMEOUT_S = 5.0
LOCAL = re.compile(r"local(?::(?P<workers>[1-9][0-9]{0,2}))?")

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
def open_cluster(on: str, access: Access = Access(), say: Step = quiet) -> Iterator[Cluster]:  # noqa: B008 - frozen
    """Connect to a scheduler, or start one here with its workers, and leave nothing of it at the end.

    Args:
        on: tcp://HOST:PORT, tls://HOST:PORT, `local` or `local:N` for N workers.
        access: who gets in.
        say: told of workers that come later and are left out.

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
        cluster = Cluster(client, on, say)
        cluster.check()
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
