"""A worker of this machine: a process that does one job at a time, watched by another one that starts it again."""

import asyncio
import os
import platform
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import MissingError, first_line
from edgevit_deploy.fleet.access import Access, check_address, loopback_of, security_of
from edgevit_deploy.fleet.connection import SETTINGS, check_installed, greet, silence
from edgevit_deploy.process.interrupts import SIGNALS
from edgevit_deploy.workbench import Step, quiet

if TYPE_CHECKING:
    from distributed.security import Security

START_TIMEOUT_S = 120.0
"""How long a worker's process may take to start, and to start again: on a busy machine it takes many seconds."""


def serve(address: str, resources: Mapping[str, float], *, access: Access, name: str | None = None, step: Step = quiet) -> None:
    """Work for a scheduler until it goes, or until a signal comes; what is being done then is done elsewhere.

    Args:
        address: tcp://HOST:PORT or tls://HOST:PORT of the scheduler.
        resources: what this machine can do, as `abilities.declared` returns it.
        access: who gets in.
        name: what rows call it; the machine's name and a number when None.
        step: told when it is ready.

    Raises:
        UsageError: as for `access.check_address` and `access.security_of`.
        MissingError: dask is not installed, no scheduler answers, or it has a worker of that name.
    """
    check(address, access)
    security = security_of(access)
    import dask

    silence()
    with dask.config.set(SETTINGS):
        greet(address, security)
        asyncio.run(_serve(address, dict(resources), security, name or f"{platform.node()}-{os.getpid()}", step))


def check(address: str, access: Access) -> None:
    """Refuse what cannot become a worker; nothing is connected.

    Raises:
        UsageError: an address that is none or would let anyone in.
        MissingError: dask is not installed, or there is no such machine.
    """
    check_address(address, access)
    check_installed("worker")


async def _serve(address: str, resources: dict[str, float], security: "Security | None", name: str, step: Step) -> None:
    from distributed import Nanny

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number in previous:
        loop.add_signal_handler(number, stopped.set)
    nanny: Any = Nanny(
        address,
        nthreads=1,
        resources=resources,
        name=name,
        host=loopback_of(address),
        security=security,
        dashboard=False,
        memory_limit=0,
        death_timeout=START_TIMEOUT_S,
    )
    try:
        async with nanny:
            step(f"{name} works for {address}, one job at a time; Ctrl-C ends it")
            ends = [asyncio.ensure_future(each) for each in (nanny.finished(), stopped.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if not stopped.is_set():
                step(f"the scheduler at {address} has gone, and {name} with it")
    except (OSError, ValueError, RuntimeError) as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        reason = first_line(root)
        raise MissingError(f"no worker can be started for {address} ({reason}); give another --name, or start again") from error
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
