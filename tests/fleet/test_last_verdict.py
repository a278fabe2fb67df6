"""A file that one machine built and did not run, and another one is sent: the row and the bundle are those of the last verdict.

The second machine is this process, where what it says can be chosen.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.errors import BundleError, DeployError, ExportError, MissingError, RunError
from edgevit_deploy.every_target import Network
from edgevit_deploy.fleet import rows
from edgevit_deploy.fleet.abilities import Facts
from edgevit_deploy.fleet.cluster import Seat
from edgevit_deploy.fleet.convert import convert_all
from edgevit_deploy.fleet.dispatch import NotDoneError, Order, Outcome
from edgevit_deploy.fleet.jobs import Converted
from edgevit_deploy.fleet.parcel import Parcel
from edgevit_deploy.host import ThisHost
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.pipeline import Attempt
from edgevit_deploy.request import FileRequest

Second = Callable[[Order], Any]


def seat(name: str, *resources: str) -> Seat:
    facts = Facts(host="here", machine="a machine", versions={})
    return Seat(address=f"tcp://{name}", name=name, resources=frozenset(("slot", *resources)), facts=facts)


BUILDS = seat("builds", "build-fake")


class TwoMachines:
    """A cluster of a machine that builds and another one."""

    def __init__(self, other: Seat) -> None:
        self.other = other

    def seats(self) -> list[Seat]:
        return [BUILDS, self.other]

    def require(self, asked: Sequence[frozenset[str]], what: str) -> None:
        pass


@pytest.fixture
def convert(only_fake: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Attempt]:
    """Convert for a machine that builds; what the other one does is given."""

    def run(second: Second, *has: str) -> Attempt:
        class InTurn:
            """Stands for `Dispatch`: the first order finds no runtime, the others come to what `second` says."""

            def __init__(self, cluster: Any, orders: Sequence[Order]) -> None:
                self.waiting = list(orders)

            def add(self, order: Order) -> None:
                assert not (tmp_path / "out").exists(), "a verdict is still to come"
                self.waiting.append(order)

            def outcomes(self) -> Iterator[Outcome]:
                first = self.waiting.pop()
                with pytest.MonkeyPatch.context() as without_runtime:
                    without_runtime.setattr(ThisHost, "find_session", lambda self, target: None)
                    result = first.job.run(first.given)
                yield Outcome(order=first, result=result, seat=BUILDS)
                while self.waiting:
                    yield self.come_to(self.waiting.pop())

            def come_to(self, order: Order) -> Outcome:
                try:
                    return Outcome(order=order, result=second(order), seat=other)
                except DeployError as error:
                    return Outcome(order=order, error=error, seat=None if isinstance(error, NotDoneError) else other)

        other = seat("other", *(has or ("run-fake",)))
        monkeypatch.setattr(rows, "Dispatch", InTurn)
        network = Network(origin=ModelOrigin(model="edgevit_xxs", num_classes=10, seed=0), output=tmp_path / "out")
        cluster: Any = TwoMachines(other)
        (attempts,) = convert_all(cluster, [network], request=FileRequest(image_size=32))
        (attempt,) = attempts.attempts
        return attempt

    return run


def bundles(folder: Path) -> dict[str, str]:
    """Return the status in the manifest of everything that lies in a folder."""
    found = folder.iterdir() if folder.exists() else ()
    return {path.name: json.loads((path / "manifest.json").read_text())["parity"]["status"] for path in found}


def honest(order: Order) -> Any:
    return order.job.run(order.given)


def raising(error: DeployError) -> Second:
    def run(order: Order) -> Any:
        raise error

    return run


def not_passed(order: Order) -> Any:
    """Judge with a bound that nothing holds."""
    converted: Converted = order.job.run(order.given)
    assert converted.parcel is not None
    files = dict(converted.parcel.files)
    manifest = json.loads(files["manifest.json"])
    assert manifest["parity"]["status"] == "passed"
    manifest["parity"]["status"] = "failed"
    files["manifest.json"] = json.dumps(manifest).encode()
    return replace(converted, attempt=replace(converted.attempt, status="failed"), parcel=Parcel(files=files))


def changed(order: Order) -> Any:
    converted: Converted = order.job.run(order.given)
    assert converted.parcel is not None
    return replace(converted, parcel=Parcel(files={**converted.parcel.files, "labels.txt": b"other"}))


def without(status: Any, reason: str) -> Second:
    """A conversion that came to nothing there, and why."""
    return lambda order: Converted(attempt=Attempt(target="fake", precision="fp32", status=status, reason=reason))


def test_what_passed_elsewhere_passed(convert: Callable[..., Attempt], tmp_path: Path) -> None:
    attempt = convert(honest)
    assert (attempt.status, attempt.worker) == ("passed", "other")
    assert bundles(tmp_path / "out") == {"fake-fp32": "passed"}


def test_what_failed_elsewhere_lies_beside_its_place_alone(convert: Callable[..., Attempt], tmp_path: Path) -> None:
    attempt = convert(not_passed)
    assert (attempt.status, attempt.worker) == ("failed", "other")
    assert bundles(tmp_path / "out") == {"fake-fp32.failed": "failed"}


@pytest.mark.parametrize(
    ("second", "has", "reason"),
    [
        (raising(RunError("the compiler refuses layer 7")), "run-fake", "layer 7"),
        (raising(ExportError("the converter crashed")), "build-fake,run-fake", "crashed"),
        (without("failed", "the converter crashed"), "build-fake,run-fake", "crashed"),
        (raising(BundleError("a hash is wrong")), "run-fake", "a hash is wrong"),
        (changed, "run-fake", "what worker other sent is not a bundle as its manifest says"),
    ],
)
def test_a_failure_on_the_machine_that_runs_it_is_the_rows(
    convert: Callable[..., Attempt], tmp_path: Path, second: Second, has: str, reason: str
) -> None:
    attempt = convert(second, *has.split(","))
    assert (attempt.status, attempt.worker, attempt.conversion) == ("failed", "other", None)
    assert reason in attempt.reason
    assert bundles(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("second", "has", "reason"),
    [
        (raising(NotDoneError("4 workers were lost")), "run-fake", "not run elsewhere: 4 workers were lost"),
        (raising(MissingError("no driver")), "run-fake", "not run elsewhere: other: no driver"),
        (without("skipped", "not installed"), "build-fake,run-fake", "not run elsewhere: other: not installed"),
        (honest, "nothing", ""),
    ],
)
def test_what_says_nothing_of_the_file_leaves_the_first_verdict(
    convert: Callable[..., Attempt], tmp_path: Path, second: Second, has: str, reason: str
) -> None:
    attempt = convert(second, *has.split(","))
    assert (attempt.status, attempt.worker, attempt.reason) == ("built, not run", "builds", reason)
    assert bundles(tmp_path / "out") == {"fake-fp32": "built, not run"}
