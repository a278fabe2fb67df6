"""`edgevit-deploy worker ADDRESS`: where it listens, what it says of itself, and how it ends."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.helpers import fleet

COMMAND = (sys.executable, str(fleet.ROOT / "convert.py"), "worker")


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    with fleet.scheduler(tmp_path) as address:
        yield address


@contextmanager
def worker(address: str, said: Path, *flags: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the command until the end of a `with` block, once it has said that it works."""
    with fleet.process([*COMMAND, address, *flags], said=said) as running:
        fleet.wait_until(lambda: "one job at a time" in said.read_text() or running.poll() is not None)
        yield running


def listening(process: int) -> set[str]:
    """Return the addresses at which a process and its children listen."""
    parent = psutil.Process(process)
    found = [entry for each in (parent, *parent.children(recursive=True)) for entry in each.net_connections("tcp")]
    return {entry.laddr.ip for entry in found if entry.status == psutil.CONN_LISTEN}


def outside(addresses: set[str]) -> list[str]:
    """Return those that are not loopback."""
    return [address for address in addresses if not ipaddress.ip_address(address).is_loopback]


def test_what_listens_on_every_network_is_noticed() -> None:
    with socket.create_server(("0.0.0.0", 0)):
        assert outside(listening(os.getpid())) == ["0.0.0.0"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_worker_of_a_scheduler_on_loopback_listens_nowhere_else(scheduler: str, tmp_path: Path, host: str) -> None:
    """Also when its process was killed and started again."""
    address = scheduler.replace("127.0.0.1", host)
    with worker(address, tmp_path / "said", "--name", "own") as running, fleet.connected(address, 1) as cluster:
        assert listening(running.pid)
        assert outside(listening(running.pid)) == []
        (before,) = (seat.address for seat in cluster.seats())
        os.kill(cluster.client.run(os.getpid)[before], signal.SIGKILL)
        fleet.wait_until(lambda: {seat.address for seat in cluster.seats()} - {before} != set())
        assert outside(listening(running.pid)) == []


def test_workers_of_on_local_listen_nowhere_else() -> None:
    before = outside(listening(os.getpid()))  # of other tests in this process
    with fleet.connected("local:2", 2):
        assert listening(os.getpid())
        assert outside(listening(os.getpid())) == before


def test_it_declares_what_doctor_finds_and_what_it_was_told(scheduler: str, tmp_path: Path) -> None:
    from edgevit_deploy.fleet.abilities import declared

    said = tmp_path / "said"
    with (
        worker(scheduler, said, "--name", "own", "--resource", "scanner,lamp", "--resource", "tripod"),
        fleet.connected(scheduler, 1) as cluster,
    ):
        (seat,) = cluster.seats()
    assert seat.name == "own"
    assert seat.resources == {*declared(), "scanner", "lamp", "tripod"}
    assert "scanner" in said.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_it_has_started(scheduler: str, tmp_path: Path, number: int) -> None:
    with worker(scheduler, tmp_path / "said") as running:
        started = psutil.Process(running.pid).children(recursive=True)
        assert started
        running.send_signal(number)
        assert running.wait(timeout=fleet.START_S) == 0
        assert psutil.wait_procs(started, timeout=10)[1] == []
    assert "Traceback" not in (tmp_path / "said").read_text()


@pytest.mark.slow
def test_it_ends_when_its_scheduler_goes_and_says_so(tmp_path: Path) -> None:
    with fleet.scheduler(tmp_path) as address, worker(address, tmp_path / "said") as running:
        fleet.end_scheduler(tmp_path)
        assert running.wait(timeout=fleet.START_S) == 0
    assert f"the scheduler at {address} has gone, and " in (tmp_path / "said").read_text()


@pytest.mark.slow
def test_a_name_that_is_taken_is_refused(scheduler: str, tmp_path: Path) -> None:
    with worker(scheduler, tmp_path / "said", "--name", "own"), fleet.connected(scheduler, 1):
        ended = subprocess.run([*COMMAND, scheduler, "--name", "own"], capture_output=True, text=True, timeout=fleet.START_S)
    assert ended.returncode == 3
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error:"))
    assert "own" in line
    assert "give another --name" in line
    assert "Traceback" not in ended.stderr
