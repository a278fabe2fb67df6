"""Workers that cannot take part: refused at the start, left out and said once where they come later."""

import sys
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.errors import MissingError
from edgevit_deploy.fleet.abilities import Facts, describe
from edgevit_deploy.fleet.cluster import Cluster
from edgevit_deploy.fleet.dispatch import Dispatch, Order
from tests.helpers import fleet


class Scheduler:
    """Stands for Dask's client: what each worker answers, and how often it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {name: {"id": name, "resources": {"slot": 1.0}} for name in self.answers}}

    def run(self, function: Any, workers: list[str], on_error: str) -> dict[str, Any]:
        self.asked += workers
        return {name: self.answers[name] for name in workers}


def facts(**others: str) -> Facts:
    return Facts(host="there", machine="a machine", versions={**describe().versions, **others})


def cluster(scheduler: Scheduler) -> tuple[Cluster, list[str]]:
    said: list[str] = []
    client: Any = scheduler
    return Cluster(client, "tcp://x", said.append), said


UNSUITABLE = {
    "other versions": (facts(msgspec="0.0.1"), "worker odd on there has other versions: msgspec 0.0.1, here it is "),
    "not ours": (ImportError("no module named edgevit_deploy"), "the worker at odd has another edgevit-deploy than this machine"),
    "older": (AttributeError("no describe"), "the worker at odd has another edgevit-deploy than this machine"),
    "broken": (RuntimeError("libfoo\nis gone"), "the worker at odd cannot say what it is (RuntimeError: libfoo); start it again"),
    "strange": ("hello", "the worker at odd cannot say what it is ('hello')"),
    "another one's": (facts(elsewhere="2"), "worker odd on there has other versions: elsewhere 2, on worker good it is 1"),
}


@pytest.mark.parametrize("case", UNSUITABLE)
def test_it_is_refused_at_the_start(case: str) -> None:
    answer, message = UNSUITABLE[case]
    with pytest.raises(MissingError) as caught:
        cluster(Scheduler(good=facts(elsewhere="1"), odd=answer))[0].check()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("case", UNSUITABLE)
def test_it_is_left_out_later_and_said_once(case: str) -> None:
    answer, message = UNSUITABLE[case]
    scheduler = Scheduler(good=facts(elsewhere="1"))
    found, said = cluster(scheduler)
    found.check()
    scheduler.answers["odd"] = answer
    assert [seat.name for _ in range(3) for seat in found.seats()] == ["good"] * 3
    (line,) = said
    assert line.startswith(f"left out: {message}")
    assert scheduler.asked == ["good", "odd"], "each once"


def test_one_that_does_not_answer_is_asked_again_and_takes_part_then() -> None:
    scheduler = Scheduler(good=facts(), slow=OSError("timed out"))
    found, said = cluster(scheduler)
    found.check()
    assert [seat.name for seat in found.seats()] == ["good"]
    scheduler.answers["slow"] = facts()
    assert [seat.name for seat in found.seats()] == ["good", "slow"]
    assert said == []


def test_none_at_all_is_an_error_at_the_start() -> None:
    with pytest.raises(MissingError, match="the scheduler has no workers; start one with"):
        cluster(Scheduler(slow=OSError("timed out")))[0].check()


@pytest.mark.slow
def test_a_worker_of_dasks_own_is_refused_or_left_out(tmp_path: Path) -> None:
    """It has our code and does not say what it can do."""
    said: list[str] = []
    plain = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard", "--nthreads", "1"]
    with (
        fleet.scheduler(tmp_path) as address,
        fleet.workers(address, ("own", ())),
        fleet.connected(address, 1, say=said.append) as found,
        fleet.process([*plain, address, "--name", "alien"]),
    ):
        fleet.wait_until(lambda: bool(found.seats() and said))
        order = Order(key=0, job=fleet.Say(word="done"), given=None, asked=(frozenset(),))
        (outcome,) = Dispatch(found, [order]).outcomes()
        with pytest.raises(MissingError) as caught, fleet.connected(address, 2):
            pass
    assert outcome.seat is not None
    assert outcome.seat.name == "own"
    (line,) = said
    assert line == f"left out: {caught.value}"
    assert line.startswith("left out: worker alien on ")
    assert "does not say what it can do; start it with `edgevit-deploy worker ADDRESS`" in line
