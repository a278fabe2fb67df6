"""Who gets in: workers execute what they are sent, so anything but loopback needs TLS or an explicit `--insecure`."""

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.outside.text import shortened

if TYPE_CHECKING:
    from distributed.security import Security

ADDRESS = re.compile(r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The flags `--tls-ca`, `--tls-cert`, `--tls-key` and `--insecure`."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def files(self) -> dict[str, Path | None]:
        """Return the flags of TLS and what they were given."""
        return {"--tls-ca": self.ca, "--tls-cert": self.cert, "--tls-key": self.key}


def check_address(address: str, access: Access) -> None:
    """Refuse an address that is none, or at which nobody could be kept out; nothing is connected.

    Raises:
        UsageError: with what to type instead.
        MissingError: the host's name is not known.
    """
    parts = ADDRESS.fullmatch(address)
    if parts is None or int(parts["port"]) > 65535:
        raise UsageError(f"{shortened(address)}: expected tcp://HOST:PORT or tls://HOST:PORT, as `dask scheduler` prints it")
    given = [flag for flag, path in access.files().items() if path is not None]
    missing = [flag for flag, path in access.files().items() if path is None]
    if parts["scheme"] == "tls":
        if missing:
            raise UsageError(f"{address}: TLS needs --tls-ca, --tls-cert and --tls-key; add {', '.join(missing)}")
        if access.insecure:
            raise UsageError(f"{address}: --insecure is for tcp://, and this is TLS; drop it")
        return
    if given:
        raise UsageError(f"{address}: {', '.join(given)} would not be used; give tls:// or drop them")
    if not access.insecure and not is_loopback(parts["host"].strip("[]")):
        raise UsageError(
            f"{address}: workers execute whatever anyone sends them, and tcp:// keeps nobody out; use tls:// with --tls-ca, "
            "--tls-cert and --tls-key, or say --insecure for a network of your own"
        )


def is_loopback(host: str) -> bool:
    """Say whether a name or an address is this machine's own loopback, and nothing else.

    Raises:
        MissingError: there is no such name.
    """
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise MissingError(f"no machine called {host} is known ({error}); check the address of the scheduler") from error
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def loopback_of(address: str) -> str | None:
    """Return the loopback at which a scheduler is, as HOST; None where it is elsewhere.

    Dask's workers would listen on every network of the machine, whatever their scheduler's address.

    Raises:
        MissingError: the host's name is not known.
    """
    parts = ADDRESS.fullmatch(address)
    assert parts is not None
    return parts["host"] if is_loopback(parts["host"].strip("[]")) else None


def security_of(access: Access) -> "Security | None":
    """Return Dask's own form of the flags; None without TLS.

    Raises:
        UsageError: a file that is no certificate or key, or a key that is not the certificate's.
    """
    from distributed.security import Security

    if access.ca is None or access.cert is None or access.key is None:
        return None
    ca, cert, key = (str(path.absolute()) for path in (access.ca, access.cert, access.key))
    try:
        ssl.create_default_context(cafile=ca).load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UsageError(
            f"--tls-ca {access.ca}, --tls-cert {access.cert}, --tls-key {access.key}: cannot be used ({reason}); give files in "
            "PEM format, the key that of the certificate and without a password"
        ) from error
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_client_cert=cert,
        tls_client_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
    )


def _no_password() -> str:
    raise ValueError("the key has a password")
