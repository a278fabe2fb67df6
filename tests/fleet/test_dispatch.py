"""Jobs on real workers in processes of their own: each where it can be done, one at a time, elsewhere when a worker is lost."""

from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.errors import BundleError, MissingError, RunError
from edgevit_deploy.fleet import dispatch
from edgevit_deploy.fleet.cluster import Cluster
from edgevit_deploy.fleet.dispatch import RETRIES, Dispatch, NotDoneError, Order, Outcome
from tests.helpers import fleet
from tests.helpers.fleet import Alone, Die, Raise, Say

ANYWHERE = (frozenset({"linux"}),)
RED, BLUE = frozenset({"red"}), frozenset({"blue"})


def outcomes(cluster: Cluster, *jobs: Any, asked: Any = ANYWHERE, given: object = None) -> dict[int, Outcome]:
    orders = [Order(key=number, job=job, given=given, asked=asked) for number, job in enumerate(jobs)]
    return {outcome.order.key: outcome for outcome in Dispatch(cluster, orders).outcomes()}


@pytest.mark.parametrize("color", ["red", "blue"])
def test_jobs_go_where_their_resource_is(cluster: Cluster, color: str) -> None:
    done = outcomes(cluster, *(Say(word=str(number)) for number in range(4)), asked=(frozenset({color}),))
    assert [done[number].result for number in range(4)] == [(str(number), None) for number in range(4)]
    assert {outcome.seat.name for outcome in done.values() if outcome.seat} == {color}


def test_the_first_alternative_that_a_worker_has_is_taken(cluster: Cluster) -> None:
    (outcome,) = outcomes(cluster, Say(word="x"), asked=(frozenset({"green"}), BLUE, RED)).values()
    assert outcome.seat is not None
    assert outcome.seat.name == "blue"


def test_both_workers_work_and_each_does_one_job_at_a_time(cluster: Cluster, empty: Path) -> None:
    done = outcomes(cluster, *(Alone(folder=empty) for _ in range(6)))
    assert [outcome.error for outcome in done.values()] == [None] * 6
    assert len({outcome.result for outcome in done.values()}) == 2


def test_a_resource_that_nobody_has_is_refused_by_name(cluster: Cluster) -> None:
    cluster.require([RED], "job")
    with pytest.raises(MissingError, match="job: no worker has macos; start `edgevit-deploy worker ADDRESS`"):
        cluster.require([frozenset({"macos", "red"})], "job")
    with pytest.raises(MissingError, match="no worker has all of blue, red"):
        cluster.require([RED | BLUE], "job")


def test_a_job_that_no_worker_can_do_any_more_waits_a_while_and_fails(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE_S", 1.0)
    done = outcomes(cluster, Say(word="x"), asked=(frozenset({"macos"}),))
    assert isinstance(done[0].error, NotDoneError)
    assert "no worker has macos" in str(done[0].error)
    assert outcomes(cluster, Say(word="x"))[0].result == ("x", None), "the others are not held up"


@pytest.mark.slow
def test_a_scheduler_that_goes_meanwhile_ends_the_command_in_one_line(tmp_path: Path) -> None:
    with (
        fleet.scheduler(tmp_path) as address,
        fleet.workers(address, ("own", ())),
        fleet.connected(address, 1) as cluster,
    ):
        orders = [Order(key=number, job=Say(word="x"), given=None, asked=(frozenset(),)) for number in range(3)]
        coming = Dispatch(cluster, orders).outcomes()
        assert next(coming).result == ("x", None)
        fleet.end_scheduler(tmp_path)
        with pytest.raises(MissingError, match=f"the scheduler at {address} no longer answers"):
            list(coming)


def test_20_megabytes_go_to_every_worker_and_come_back(cluster: Cluster) -> None:
    given = bytes(range(256)) * 80_000
    done = outcomes(cluster, *(Say(word=str(number)) for number in range(4)), given=given)
    assert [done[number].result == (str(number), given) for number in range(4)] == [True] * 4


def test_an_error_is_the_outcome_of_its_own_job_alone(cluster: Cluster) -> None:
    done = outcomes(cluster, Raise(error=BundleError("damaged")), Raise(error=KeyError("x")), Say(word="good"))
    assert isinstance(done[0].error, BundleError)
    assert str(done[0].error) == "damaged"
    assert isinstance(done[1].error, RunError)
    assert "KeyError" in str(done[1].error)
    assert done[2].result == ("good", None)


def test_a_job_whose_worker_is_killed_is_done_elsewhere(cluster: Cluster, empty: Path) -> None:
    done = outcomes(cluster, Die(folder=empty, times=1), Say(word="by the way"))
    assert done[0].result == 1
    assert done[1].result == ("by the way", None)
    (killed,) = empty.iterdir()
    assert done[0].seat is not None
    assert {killed.name.partition("-")[0], done[0].seat.name} == {"red", "blue"}


def test_a_job_that_kills_every_worker_fails_after_three_retries_and_takes_none_with_it(cluster: Cluster, empty: Path) -> None:
    done = outcomes(cluster, Die(folder=empty, times=99), *(Say(word=str(number)) for number in range(3)))
    assert [done[number].result for number in (1, 2, 3)] == [(str(number), None) for number in range(3)]
    error = str(done[0].error)
    assert error.startswith(f"{RETRIES + 1} workers were lost while they did it: ")
    assert "red on" in error
    assert "blue on" in error
    assert len(list(empty.iterdir())) == RETRIES + 1, "each time another process"
