"""The rows of `all --on ADDRESS`: filled as outcomes arrive, each by its last verdict; only that bundle is put in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.folder import LABELS_NAME
from edgevit_deploy.bundle.manifest import LabelsRecord, Manifest
from edgevit_deploy.calibration.record import CALIBRATION_NAME
from edgevit_deploy.data.photographs import PictureFolder
from edgevit_deploy.errors import BundleError, MissingError
from edgevit_deploy.every_target import refusal
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.fleet.abilities import Asked
from edgevit_deploy.fleet.cluster import Cluster, lacking
from edgevit_deploy.fleet.dispatch import Dispatch, NotDoneError, Order, Outcome
from edgevit_deploy.fleet.jobs import Converted, ConvertJob, Source
from edgevit_deploy.fleet.judge import JudgeJob, ToJudge
from edgevit_deploy.fleet.parcel import Parcel, check_parcel, publish
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin
from edgevit_deploy.pipeline import Attempt, Conversion, conversion_record
from edgevit_deploy.workbench.results import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row to be: what is converted, for which place, and the order where a worker can do it.

    `asked` is what building asks of a worker, `runs` what running the file does, `ranges` what a quantised file is rounded by.
    """

    origin: ModelOrigin
    source: Source
    model: LoadedModel
    plan: ExportPlan[Any]
    place: Path
    asked: tuple[Asked, ...]
    runs: tuple[Asked, ...]
    order: Order | None
    ranges: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What an outcome makes of a row, before its bundle is in its place.

    Attributes:
        attempt: the row, without its conversion.
        parcel: the bundle, checked; None where there is none.
        duration_s: how long the conversion took.
        silent: it says nothing of the file: the worker was lost, or lacks something.
    """

    attempt: Attempt
    parcel: Parcel | None = None
    duration_s: float = 0.0
    silent: bool = False


class Rows:
    """The rows of all networks.

    Args:
        items: one for each row.
        photographs: those that join the probes.
        cluster: with the workers.
    """

    def __init__(self, items: Sequence[Item], photographs: PictureFolder, cluster: Cluster) -> None:
        self._items = items
        self._photographs = photographs
        self._cluster = cluster
        self._first: dict[int, _Verdict] = {}
        """Of files that were built and not run, and are elsewhere now."""

    def fill(self, progress: Progress) -> list[Attempt]:
        """Let the orders be done, and return a row for each item.

        Raises:
            UsageError: a place cannot be written.
            MissingError: the scheduler is gone.
        """
        orders = [replace(item.order, key=number) for number, item in enumerate(self._items) if item.order is not None]
        dispatch, attempts = Dispatch(self._cluster, orders), dict[int, Attempt]()
        with progress("all") as step:
            step(f"{len(orders)} conversions on {len(self._cluster.seats())} workers")
            for count, outcome in enumerate(dispatch.outcomes(), 1):
                number, verdict = outcome.order.key, self._judge(outcome)
                attempt = verdict.attempt
                step(f"{count} done: {attempt.target} {attempt.precision} {attempt.status}, {attempt.worker}")
                if (other := self._elsewhere(outcome, verdict)) is not None:
                    self._first.setdefault(number, verdict)
                    dispatch.add(other)
                else:
                    attempts[number] = self._settle(number, verdict)
        return [attempts.get(number) or self._skipped(item) for number, item in enumerate(self._items)]

    def _judge(self, outcome: Outcome) -> _Verdict:
        item, worker = self._items[outcome.order.key], outcome.seat.name if outcome.seat else ""
        if outcome.error is not None:
            silent = isinstance(outcome.error, NotDoneError | MissingError)
            return _Verdict(attempt=_failed(item, worker, str(outcome.error)), silent=silent)
        converted: Converted = outcome.result
        attempt = replace(converted.attempt, worker=worker)
        if converted.parcel is None:
            return _Verdict(attempt=attempt, silent=attempt.status == "skipped")
        try:
            manifest = check_parcel(converted.parcel, f"worker {worker}")
            _check_asked(converted.parcel, manifest, item, f"worker {worker}")
        except BundleError as error:
            return _Verdict(attempt=_failed(item, worker, str(error)))
        attempt = replace(attempt, status=manifest.parity.status)
        return _Verdict(attempt=attempt, parcel=converted.parcel, duration_s=converted.duration_s)

    def _settle(self, number: int, verdict: _Verdict) -> Attempt:
        """Return the row, its bundle in its place: the last verdict, or the first where the others say nothing of the file."""
        first, last = self._first.pop(number, verdict), verdict.attempt
        if first is not verdict and verdict.silent:
            why = ": ".join(filter(None, ("not run elsewhere", last.worker, last.reason)))
            reason = "; ".join(filter(None, (first.attempt.reason, why)))
            verdict = replace(first, attempt=replace(first.attempt, reason=reason))
        elif last.status == "built, not run":
            verdict = first
        item, attempt = self._items[number], verdict.attempt
        try:
            return replace(attempt, conversion=self._published(item, verdict))
        except BundleError as error:
            return _failed(item, attempt.worker, str(error))

    def _published(self, item: Item, verdict: _Verdict) -> Conversion | None:
        if verdict.parcel is None:
            return None
        bundle, manifest = publish(verdict.parcel, item.place, f"worker {verdict.attempt.worker}")
        return Conversion(
            bundle=bundle,
            manifest=manifest,
            report=manifest.parity,
            model_notes=item.model.notes,
            duration_s=verdict.duration_s,
            photographs=self._photographs,
        )

    def _elsewhere(self, outcome: Outcome, verdict: _Verdict) -> Order | None:
        """Return the order for a machine of another kind that may run the file; None where there is none, or no need."""
        order, seat, item = outcome.order, outcome.seat, self._items[outcome.order.key]
        if seat is None or verdict.attempt.status != "built, not run":
            return None
        avoid = order.avoid | {seat.kind}
        if isinstance(order.job, ConvertJob) and (asked := self._suited(item.asked[:-1], avoid)):
            return replace(order, asked=asked, avoid=avoid)
        if (asked := self._suited(item.runs, avoid)) and verdict.parcel is not None:
            job = JudgeJob(origin=item.origin, duration_s=verdict.duration_s)
            return replace(order, job=job, given=ToJudge(parcel=verdict.parcel, source=item.source), asked=asked, avoid=avoid)
        return None

    def _suited(self, asked: Sequence[Asked], avoid: frozenset[Any]) -> tuple[Asked, ...]:
        """Return those alternatives that a worker of a kind not to be avoided has."""
        seats = [seat for seat in self._cluster.seats() if seat.kind not in avoid]
        return tuple(each for each in asked if any(each <= seat.resources for seat in seats))

    def _skipped(self, item: Item) -> Attempt:
        """Return the row of a target that no worker can build, or that refuses what is asked."""
        reason = refusal(item.plan) or lacking(item.asked, self._cluster.seats())
        return Attempt(target=item.plan.target, precision=item.plan.precision, status="skipped", reason=reason)


def _failed(item: Item, worker: str, reason: str) -> Attempt:
    return Attempt(target=item.plan.target, precision=item.plan.precision, status="failed", reason=reason, worker=worker)


def _check_asked(parcel: Parcel, manifest: Manifest, item: Item, sender: str) -> None:
    """Refuse a bundle that is whole, but not the one that was asked for."""
    plan, model = item.plan, item.model
    names = "".join(f"{label}\n" for label in model.labels).encode()
    asked = {
        "target": plan.target,
        "precision": plan.precision,
        "model": model.record,
        "conversion": conversion_record(plan),
        "preprocess": model.spec.preprocess,
        "labels": LabelsRecord(path=LABELS_NAME, count=len(model.labels), placeholders=model.labels_are_placeholders),
    }
    wrong = [name for name, value in asked.items() if getattr(manifest, name) != value]
    if not wrong and parcel.files[LABELS_NAME].splitlines() != names.splitlines():  # Windows ends its lines otherwise
        wrong = ["labels"]
    if manifest.parity.verdict != manifest.parity.status:
        wrong.append("parity")
    if item.ranges is not None and parcel.files.get(CALIBRATION_NAME) != item.ranges:
        wrong.append("ranges")
    if wrong:
        raise BundleError(f"what {sender} sent is not the bundle that was asked for ({', '.join(wrong)}); nothing was written")
