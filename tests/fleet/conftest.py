"""One scheduler and two workers for all tests of a process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fleet

PATIENCE_S = 120.0


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers: red and blue have what their names say; only red builds and runs files."""
    with (
        fleet.scheduler(tmp_path_factory.mktemp("scheduler")) as address,
        fleet.workers(address, ("red", ("linux", "red", *fleet.CAN)), ("blue", ("linux", "blue"))),
    ):
        yield address


@pytest.fixture(scope="session")
def cluster(address: str) -> Iterator[Any]:
    with fleet.connected(address, 2) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def both_are_there(request: pytest.FixtureRequest) -> None:
    """Wait for a worker that a test before this one has killed: its nanny starts it again, which takes seconds."""
    if "cluster" in request.fixturenames:
        cluster, until = request.getfixturevalue("cluster"), time.monotonic() + PATIENCE_S
        while {seat.name for seat in cluster.seats()} < {"red", "blue"}:
            assert time.monotonic() < until, "a worker did not come back"
            time.sleep(0.1)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder that jobs leave marks in."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder
