"""`built, not run` disappears where a worker can run the file: it builds it too, or judges what another one has built."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from tests.helpers import fleet
from tests.helpers.fakes import FAKE_COMMAND

pytestmark = pytest.mark.slow

BUILDS, RUNS = "build-fake", "run-fake"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with a worker that builds and says that it runs, one that only runs, one that does both, one that fails."""
    with (
        fleet.scheduler(tmp_path_factory.mktemp("scheduler")) as address,
        fleet.workers(address, ("a-builds", (BUILDS, RUNS, "one", "two", "three", "four")), env={fleet.RUNTIME: "nothing"}),
        fleet.workers(address, ("b-runs", (RUNS, "one")), ("c-both", (BUILDS, RUNS, "two"))),
        fleet.workers(address, ("d-refuses", (RUNS, "four")), env={fleet.RUNTIME: "refuses"}),
        fleet.connected(address, 4),
    ):
        yield address


@pytest.mark.parametrize(
    ("needs", "worker", "status"),
    [("one", "b-runs", "passed"), ("two", "c-both", "passed"), ("three", "a-builds", "built, not run")],
)
def test_a_file_goes_on_to_a_machine_that_runs_it(
    only_fake: None, mixed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], needs: str, worker: str, status: str
) -> None:
    assert run(["all", *FAKE_COMMAND[1:], "--on", mixed, "--needs", needs, "--output", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["rows"]
    assert (row["worker"], row["status"]) == (worker, status)
    assert row["runtime"] == ("fake runtime" if status == "passed" else "none on this host")
    bundle = tmp_path / "fake-fp32"
    assert json.loads((bundle / "manifest.json").read_text())["parity"]["status"] == status
    assert ("**Passed** on fake runtime" in (bundle / "README.md").read_text()) == (status == "passed")
    if status == "passed":
        assert run(["verify", str(bundle), "--seed", "0"]) == 0


def test_a_failure_where_it_can_run_is_the_row_and_nothing_is_written(
    only_fake: None, mixed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["all", *FAKE_COMMAND[1:], "--on", mixed, "--needs", "four", "--output", str(out), "--json"]) == 1
    (row,) = json.loads(capfd.readouterr().out)["rows"]
    assert (row["worker"], row["status"]) == ("d-refuses", "failed")
    assert "the compiler refuses this file" in row["detail"]
    assert not out.exists()
