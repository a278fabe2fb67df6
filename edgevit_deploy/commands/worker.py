"""`edgevit-deploy worker ADDRESS`: this machine does jobs for others."""

from typing import Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import say
from edgevit_deploy.commands.fleet import AccessFlags
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import shortened


def worker(
    address: str,
    *,
    access_flags: Annotated[AccessFlags, Parameter(name="*")] = AccessFlags(),  # noqa: B008 - frozen
    name: str | None = None,
    resource: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> int:
    """Work for the Dask scheduler at an address: jobs of `--on` come here, as far as this machine can do them.

    A worker executes what it is sent. It says what it can do from the same probes as `doctor`.

    Args:
        address: Of the scheduler, tcp://HOST:PORT or tls://HOST:PORT, as `dask scheduler` prints it.
        access_flags: Who gets in.
        name: What the tables call this worker. [default: the machine's name and a number]
        resource: More that this machine has (comma separated), for --needs NAME.
    """
    more = [item for each in resource for item in each.split(",") if item]
    if numbered := next((item for item in more if "=" in item), ""):
        raise UsageError(f"--resource {shortened(numbered)}: expected a name without =, for --needs NAME")
    from edgevit_deploy.fleet.abilities import declared
    from edgevit_deploy.fleet.worker import check, serve

    access = access_flags.access()
    check(address, access)
    resources = declared() | dict.fromkeys(more, 1.0)
    say(f"this machine has: {', '.join(resources)}")
    serve(address, resources, access=access, name=name, step=say)
    return 0
