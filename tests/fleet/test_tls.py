"""A cluster behind TLS: whoever has a certificate of its authority gets in, and nobody else."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.fleet.access import Access, security_of
from edgevit_deploy.fleet.connection import open_cluster
from edgevit_deploy.fleet.dispatch import Dispatch, Order
from edgevit_deploy.fleet.worker import serve
from tests.helpers import fleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl"),
]


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path) -> Access:
    """Make an authority in a folder, and a certificate that it has signed, as docs/fleet.md does."""
    folder.mkdir()
    ca, ca_key, key, request, cert = (folder / f"{name}.pem" for name in ("ca", "ca-key", "key", "request", "cert"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", f"/CN={folder.name}", "-days", "2")
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=worker")
    signing = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, "-out", cert, *signing)
    return Access(ca=ca, cert=cert, key=key)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Access:
    return authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Access:
    return authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def behind_tls(ours: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler behind TLS, with one worker."""
    files = [str(path) for path in (ours.ca, ours.cert, ours.key)]
    flags = ["--protocol", "tls", "--host", "127.0.0.1", "--tls-ca-file", files[0], "--tls-cert", files[1], "--tls-key", files[2]]
    with (
        fleet.scheduler(tmp_path_factory.mktemp("scheduler"), *flags) as address,
        fleet.workers(address, ("inside", ()), tls=[Path(file) for file in files]),
    ):
        yield address


def test_who_has_a_certificate_of_the_authority_gets_in(behind_tls: str, ours: Access) -> None:
    assert behind_tls.startswith("tls://")
    with fleet.connected(behind_tls, 1, ours) as cluster:
        order = Order(key=0, job=fleet.Say(word="hello"), given=None, asked=(frozenset(),))
        (outcome,) = Dispatch(cluster, [order]).outcomes()
    assert outcome.result == ("hello", None)
    assert outcome.seat is not None
    assert outcome.seat.name == "inside"


def test_who_has_another_ones_does_not(behind_tls: str, theirs: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevit_deploy.fleet.connection.CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(MissingError, match="no scheduler answers at tls://"), open_cluster(behind_tls, theirs):
        pass


def answer(address: str, access: Access) -> str:
    """Ask whoever listens at an address who he is, as Dask's own parts ask each other, and return his answer's type."""
    from distributed.core import rpc

    async def ask() -> object:
        security = security_of(access)
        assert security is not None
        async with rpc(address, connection_args=security.get_connection_args("client"), timeout=10) as other:
            return await asyncio.wait_for(other.identity(), 15)

    identity = asyncio.run(ask())
    assert isinstance(identity, dict)
    return str(identity["type"])


def test_the_scheduler_and_the_worker_refuse_a_stranger_who_trusts_them(behind_tls: str, ours: Access, theirs: Access) -> None:
    """He knows our authority, so that it is not he who ends the connection, and shows a certificate of another one."""
    stranger = Access(ca=ours.ca, cert=theirs.cert, key=theirs.key)
    with fleet.connected(behind_tls, 1, ours) as cluster:
        (worker,) = (seat.address for seat in cluster.seats())
    for address, kind in ((behind_tls, "Scheduler"), (worker, "Worker")):
        assert address.startswith("tls://")
        assert answer(address, ours) == kind
        with pytest.raises((OSError, TimeoutError)):
            answer(address, stranger)


def test_a_stranger_becomes_neither_client_nor_worker(behind_tls: str, ours: Access, theirs: Access) -> None:
    stranger = Access(ca=ours.ca, cert=theirs.cert, key=theirs.key)
    with pytest.raises(MissingError), open_cluster(behind_tls, stranger):
        pass
    with pytest.raises(MissingError):
        serve(behind_tls, {"slot": 1.0}, access=stranger, name="stranger")
    with fleet.connected(behind_tls, 1, ours) as cluster:
        assert [seat.name for seat in cluster.seats()] == ["inside"]


def test_who_has_none_does_not(behind_tls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevit_deploy.fleet.connection.CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(UsageError, match="TLS needs --tls-ca"), open_cluster(behind_tls, Access()):
        pass
    with pytest.raises(MissingError, match="no scheduler answers"), open_cluster(behind_tls.replace("tls", "tcp"), Access()):
        pass


@pytest.mark.parametrize("field", ["ca", "cert", "key"])
def test_files_that_are_no_certificates_are_one_line(
    ours: Access, theirs: Access, tmp_path: Path, expect_error: Callable[..., str], field: str
) -> None:
    files = {"ca": ours.ca, "cert": ours.cert, "key": ours.key}
    security_of(Access(**files))
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("no certificate")
    for wrong in (damaged, tmp_path / "not there", *([theirs.key] if field == "key" else [])):
        chosen = {**files, field: wrong}
        flags = [text for name, path in chosen.items() for text in (f"--tls-{name}", path)]
        line = expect_error(2, "all", "--model", "edgevit_xxs", "--on", "tls://127.0.0.1:1", *flags)
        assert "cannot be used" in line
        assert str(wrong) in line
