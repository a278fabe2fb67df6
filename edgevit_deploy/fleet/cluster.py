"""A cluster: a scheduler's workers, and whether they are what they must be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import MissingError, first_line
from edgevit_deploy.fleet.abilities import SLOT, Asked, Facts, describe, differences
from edgevit_deploy.workbench import Step, quiet

if TYPE_CHECKING:
    from distributed import Client

START_WORKER = "`edgevit-deploy worker ADDRESS`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker as it is now: a new process of the same worker has the same name and another address."""

    address: str
    name: str
    resources: Asked
    facts: Facts

    @property
    def kind(self) -> tuple[str, Asked]:
        """What decides whether a file that another worker could not run may run on this one."""
        return self.facts.machine, self.resources


class Cluster:
    """The scheduler, asked for its workers again and again.

    Args:
        client: connected to it.
        address: of the scheduler.
        say: told once of each worker that has come later and is left out.
    """

    def __init__(self, client: "Client", address: str, say: Step = quiet) -> None:
        self.client = client
        self.address = address
        self._say = say
        self._facts: dict[str, Facts] = {}
        self._left_out: set[str] = set()
        self._versions: dict[str, tuple[str, str]] = {}
        """Of all workers so far: distribution -> version, and the worker that has it."""

    def check(self) -> None:
        """Refuse workers that cannot take part, before the work; one that comes later is left out, and that is said.

        Raises:
            MissingError: the scheduler is gone or has no workers; or one is none of ours, or has other versions than this machine
                or than another worker.
        """
        seats, refused = self._meet()
        if refused:
            raise MissingError(next(iter(refused.values())))
        if not seats:
            raise MissingError(f"{self.address}: {lacking([frozenset({SLOT})], [])}")

    def seats(self) -> list[Seat]:
        """Return the workers that are there now and can take part, by name.

        Raises:
            MissingError: the scheduler is gone.
        """
        seats, refused = self._meet()
        for address, reason in refused.items():
            self._left_out.add(address)
            self._say(f"left out: {reason}")
        return seats

    def _meet(self) -> tuple[list[Seat], dict[str, str]]:
        """Return the workers that are there now, by name; and of those that cannot take part, why, by address."""
        try:
            found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
            refused = self._ask(set(found) - set(self._facts) - self._left_out)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise MissingError(
                f"the scheduler at {self.address} no longer answers; start it and run the same command again"
            ) from error
        seats = [
            Seat(
                address=address,
                name=_name(entry["id"], self._facts[address]),
                resources=frozenset(entry["resources"]),
                facts=self._facts[address],
            )
            for address, entry in found.items()
            if address in self._facts and address not in self._left_out
        ]
        seats.sort(key=lambda seat: (seat.name, seat.address))
        refused |= {seat.address: reason for seat in seats if (reason := self._objection(seat))}
        return [seat for seat in seats if seat.address not in refused], refused

    def require(self, asked: Sequence[Asked], what: str) -> Asked:
        """Refuse at once what no worker could ever do, for which Dask would wait; return the best alternative that one has.

        Raises:
            MissingError: naming the resources that no worker has.
        """
        seats = self.seats()
        for each in asked:
            if any(each <= seat.resources for seat in seats):
                return each
        raise MissingError(f"{what}: {lacking(asked, seats)}")

    def _ask(self, addresses: set[str]) -> dict[str, str]:
        """Ask workers that have come for their facts, and return why some have none; one that has left is passed over."""
        refused = {}
        answers = self.client.run(describe, workers=sorted(addresses), on_error="return") if addresses else {}
        for address, answer in answers.items():
            if isinstance(answer, Facts):
                self._facts[address] = answer
            elif isinstance(answer, ImportError | AttributeError):
                refused[address] = (
                    f"the worker at {address} has another edgevit-deploy than this machine, or none ({first_line(answer)}); "
                    f"install the same one there and start it with {START_WORKER}"
                )
            elif not isinstance(answer, OSError):
                what = f"{type(answer).__name__}: {first_line(answer)}" if isinstance(answer, Exception) else repr(answer)
                refused[address] = f"the worker at {address} cannot say what it is ({what}); start it again with {START_WORKER}"
        return refused

    def _objection(self, seat: Seat) -> str:
        """Say why a worker cannot take part; nothing where it can, and its versions are then those of the next ones, too."""
        who, theirs = f"worker {seat.name} on {seat.facts.host}", seat.facts.versions
        differing = differences(describe().versions, theirs) or [
            f"{name} {theirs[name]}, on worker {worker} it is {version}"
            for name, (version, worker) in self._versions.items()
            if theirs.get(name, version) != version
        ]
        if differing:
            return f"{who} has other versions: {'; '.join(differing)}; install the same ones there"
        if SLOT not in seat.resources:
            return f"{who} does not say what it can do; start it with {START_WORKER}"
        for name, version in theirs.items():
            self._versions.setdefault(name, (version, seat.name))
        return ""


def lacking(asked: Sequence[Asked], seats: Sequence[Seat]) -> str:
    """Say which resources no worker has, of the alternative that asks for least."""
    if not seats:
        return f"the scheduler has no workers; start one with {START_WORKER}"
    have = frozenset[str]().union(*(seat.resources for seat in seats))
    least = min(asked, key=lambda each: (len(each - have), len(each)))
    if missing := sorted(least - have):
        return f"no worker has {' or '.join(missing)}; start {START_WORKER} on a machine that has it"
    return f"no worker has all of {', '.join(sorted(least))}; start {START_WORKER} on a machine that has them"


def _name(name: object, facts: Facts) -> str:
    """Return what rows call a worker; those started here have a number only."""
    return f"{facts.host}-{name}" if isinstance(name, int) else str(name)
