"""`evaluate --on ADDRESS`: all pictures of a file run on one runtime. The workers are this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runtimes
from edgevit_deploy import api
from edgevit_deploy.fleet import evaluate
from edgevit_deploy.fleet.abilities import Facts
from edgevit_deploy.fleet.cluster import Cluster, Seat
from edgevit_deploy.fleet.dispatch import Order, Outcome
from edgevit_deploy.measure import accuracy
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle
from tests.helpers.fakes import FAKE_RUNTIME


def seat(name: str, *resources: str) -> Seat:
    facts = Facts(host="here", machine="a machine", versions={})
    return Seat(address=f"tcp://{name}", name=name, resources=frozenset(("slot", *resources)), facts=facts)


FIRST, SECOND = seat("first", "run-fake"), seat("second", "run-other")


class Machines(Cluster):
    """Workers that are there, without a scheduler."""

    def __init__(self, *seats: Seat) -> None:
        self.there = list(seats)

    def seats(self) -> list[Seat]:
        return self.there


@pytest.fixture
def asked(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Three shards for each subject, a second runtime for the target, and the orders that were given."""
    monkeypatch.setattr(accuracy, "PICTURES", 14)
    monkeypatch.setitem(runtimes.RUNTIMES, "other", replace(FAKE_RUNTIME, name="other"))
    return []


@pytest.fixture
def run(asked: list[Order], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Evaluate on some workers; `ran_on` says which one and its runtime does each order."""

    def evaluation(*seats: Seat, ran_on: Callable[[int], tuple[Seat, str]]) -> Any:
        class HereInTurn:
            def __init__(self, cluster: Cluster, orders: Sequence[Order]) -> None:
                asked.extend(orders)

            def outcomes(self) -> Iterator[Outcome]:
                for number, order in enumerate(asked):
                    who, runtime = ran_on(number)
                    yield Outcome(order=order, result=replace(order.job.run(order.given), runtime=runtime), seat=who)

        monkeypatch.setattr(evaluate, "Dispatch", HereInTurn)
        bundle: Path = trained_bundle()
        return api.evaluate(
            bundle, data=pictures(4), weights=trained.WEIGHTS, run_shards=evaluate.shards_on(Machines(*seats), ())
        )

    return evaluation


@pytest.mark.parametrize(("seats", "chosen"), [((FIRST, SECOND), "run-fake"), ((SECOND,), "run-other")])
def test_one_alternative_is_chosen_for_all_shards_of_a_file(
    run: Callable[..., Any], asked: list[Order], seats: tuple[Seat, ...], chosen: str
) -> None:
    result = run(*seats, ran_on=lambda number: (seats[0], "one runtime"))
    assert [row.status for row in result.rows] == ["ran", "ran"]
    assert [order.asked for order in asked] == [(frozenset(),)] * 3 + [(frozenset({chosen}),)] * 3


def test_figures_of_two_runtimes_are_no_row(run: Callable[..., Any]) -> None:
    """The network's three shards are on one; the last of the bundle's is on a runtime that has come meanwhile."""
    result = run(FIRST, ran_on=lambda number: (SECOND, "new one") if number == 5 else (FIRST, "old one"))
    network, bundle = result.rows
    assert network.status == "ran"
    assert bundle.status == "failed"
    assert "some of its pictures ran on old one (worker first), others on new one (worker second)" in bundle.reason
