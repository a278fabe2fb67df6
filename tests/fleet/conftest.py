"""One scheduler and two workers for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fleet


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


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder that jobs leave marks in."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder
