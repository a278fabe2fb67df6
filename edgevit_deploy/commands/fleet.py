"""The flags that send work to other machines, and who is asked for it then; nothing of `fleet` is imported without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import say
from edgevit_deploy.errors import UsageError

if TYPE_CHECKING:
    from edgevit_deploy.fleet.access import Access
    from edgevit_deploy.fleet.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class AccessFlags:
    """Who gets in.

    Attributes:
        tls_ca: Certificate of the authority that has signed the others, for tls://.
        tls_cert: This machine's certificate.
        tls_key: Its key.
        insecure: Let tcp:// leave this machine, on a network of your own: whoever reaches a worker executes there what he likes.
    """

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: Annotated[bool, Parameter(negative="")] = False

    def access(self) -> "Access":
        """Return these flags as the fleet's own type."""
        from edgevit_deploy.fleet.access import Access

        return Access(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key, insecure=self.insecure)


@dataclass(frozen=True, kw_only=True)
class FleetFlags(AccessFlags):
    """Which machines do the work.

    Attributes:
        on: Dask scheduler whose workers do the work: tcp://HOST:PORT or tls://HOST:PORT; or local, or local:N for N workers, to
            start one here. Needs Dask (extra fleet).
        needs: What each worker must have besides (comma separated), as `edgevit-deploy worker` declares it: arm64, macos, nvidia.
    """

    on: str | None = None
    needs: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()

    def check(self) -> None:
        """Refuse what these flags cannot mean, before any work.

        Raises:
            UsageError: flags that are for --on, without it; or an address that is none or would let anyone in.
            MissingError: dask is not installed, or there is no such machine.
        """
        if self.on is not None:
            from edgevit_deploy.fleet.connection import check_on

            check_on(self.on, self.access())
        elif self != FleetFlags():
            raise UsageError(
                "--needs, --tls-ca, --tls-cert, --tls-key and --insecure are for --on ADDRESS; add that, or drop them"
            )

    def wanted(self) -> tuple[str, ...]:
        """Return what each worker must have besides."""
        return tuple(name for item in self.needs for name in item.split(",") if name)

    def tokens(self) -> list[str]:
        """Return these flags as they are typed."""
        if self.on is None:
            return []
        files = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        given = {"--on": self.on, "--needs": ",".join(self.wanted()), **files}
        flags = [token for flag, value in given.items() if value for token in (flag, str(value))]
        return [*flags, *(["--insecure"] if self.insecure else [])]

    @contextmanager
    def cluster(self) -> "Iterator[Cluster]":
        """Connect to the scheduler, for the time of a `with` block.

        Raises:
            MissingError: no scheduler answers, or its workers are not what they must be.
        """
        from edgevit_deploy.fleet.connection import open_cluster

        assert self.on is not None
        with open_cluster(self.on, self.access(), say) as cluster:
            yield cluster
