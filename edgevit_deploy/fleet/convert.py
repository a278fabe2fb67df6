"""`convert_all` on the workers of a cluster: the rows, bundles and folders of a run here, and where each was made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.bundle.place import check_replaceable
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.deploy.form import read_form
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.every_target import Attempts, Network, place_of, plans_of
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.fleet.abilities import Asked, to_convert, to_run
from edgevit_deploy.fleet.cluster import Cluster, Seat, lacking
from edgevit_deploy.fleet.dispatch import Dispatch, Order, Outcome
from edgevit_deploy.fleet.jobs import Converted, ConvertJob, Source
from edgevit_deploy.fleet.judge import JudgeJob, ToJudge
from edgevit_deploy.fleet.parcel import Parcel, check_parcel, publish
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.pipeline import Attempt, Conversion, Progress, silent
from edgevit_deploy.request import FileRequest
from edgevit_deploy.workbench import open_workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One row to be: what is converted, for which place, and the order where a worker can do it.

    `asked` is what building asks of a worker, `runs` what running the file does.
    """

    origin: ModelOrigin
    source: Source
    model: LoadedModel
    plan: ExportPlan[Any]
    place: Path
    asked: tuple[Asked, ...]
    runs: tuple[Asked, ...]
    order: Order | None


def convert_all(
    cluster: Cluster,
    networks: Sequence[Network],
    *,
    request: FileRequest | None = None,
    photographs: PictureFolder = NO_PICTURES,
    needs: Sequence[str] = (),
    progress: Progress = silent,
) -> list[Attempts]:
    """Convert networks to every target that a worker can build, as `api.convert_all` does here.

    Each goes to a worker that builds its target and runs it, where there is one. While it is `built, not run`, a machine of
    another kind builds and runs it, or else one judges it that can only run it.

    Args:
        cluster: with the workers.
        networks: each has rows of its own.
        request: what is asked of every file; the defaults when None.
        photographs: those that join the probes are sent along.
        needs: resources that every worker must have besides.
        progress: shows how many rows are done.

    Raises:
        UsageError: refused arguments, a bad picture, or a place that cannot be written.
        MissingError: no worker has what `needs` names, or the scheduler is gone.
    """
    request = _with_form(request or FileRequest())
    cluster.require([frozenset(needs)], "--needs")
    seats = cluster.seats()
    items = []
    for network in networks:
        own, photographs = _items(network, request, photographs, frozenset(needs), seats)
        items.append(own)
    rows = _Rows([item for each in items for item in each], photographs, cluster)
    attempts = iter(rows.fill(progress))
    return [
        Attempts(
            attempts=tuple(next(attempts) for _ in each),
            model_notes=each[0].model.notes if each else (),
            photographs=photographs,
        )
        for each in items
    ]


class _Rows:
    """The rows of all networks, filled as outcomes arrive; each bundle is put in its place then."""

    def __init__(self, items: Sequence[_Item], photographs: PictureFolder, cluster: Cluster) -> None:
        self._items = items
        self._photographs = photographs
        self._cluster = cluster
        self._attempts: dict[int, Attempt] = {}

    def fill(self, progress: Progress) -> list[Attempt]:
        """Let the orders be done, and return a row for each item."""
        orders = [replace(item.order, key=number) for number, item in enumerate(self._items) if item.order is not None]
        dispatch = Dispatch(self._cluster, orders)
        with progress("all") as step:
            step(f"{len(orders)} conversions on {len(self._cluster.seats())} workers")
            for count, outcome in enumerate(dispatch.outcomes(), 1):
                attempt = self._take(outcome)
                step(f"{count} done: {attempt.target} {attempt.precision} {attempt.status}, {attempt.worker}")
                if attempt.status == "built, not run" and (other := self._elsewhere(outcome)) is not None:
                    dispatch.add(other)
        return [self._attempts.get(number) or _skipped(item, self._cluster) for number, item in enumerate(self._items)]

    def _take(self, outcome: Outcome) -> Attempt:
        """Return what an outcome is as a row, which it becomes unless it is a second one that says no more than the first."""
        number, item = outcome.order.key, self._items[outcome.order.key]
        worker = outcome.seat.name if outcome.seat else ""
        failed = Attempt(target=item.plan.target, precision=item.plan.precision, status="failed", worker=worker)
        if outcome.error is not None:
            attempt = replace(failed, reason=str(outcome.error))
        else:
            converted: Converted = outcome.result
            try:
                attempt = self._received(converted, item, worker, again=number in self._attempts)
            except BundleError as error:
                attempt = replace(failed, reason=str(error))
        if number not in self._attempts or attempt.conversion is not None:
            self._attempts[number] = attempt
        return attempt

    def _received(self, converted: Converted, item: _Item, worker: str, *, again: bool) -> Attempt:
        """Return the row of what a worker sent; its bundle is in its place then, unless it is a second one that was not run.

        Raises:
            BundleError: it is not a bundle of this conversion.
        """
        attempt = replace(converted.attempt, worker=worker)
        if converted.parcel is None:
            return attempt
        sender = f"worker {worker}"
        manifest = check_parcel(converted.parcel, sender)
        _check_asked(manifest, item, sender)
        if again and manifest.parity.status == "built, not run":
            return attempt
        return replace(
            attempt, status=manifest.parity.status, conversion=self._published(converted, converted.parcel, item, sender)
        )

    def _published(self, converted: Converted, parcel: Parcel, item: _Item, sender: str) -> Conversion:
        bundle, manifest = publish(parcel, item.place, sender)
        return Conversion(
            bundle=bundle,
            manifest=manifest,
            report=manifest.parity,
            model_notes=item.model.notes,
            duration_s=converted.duration_s,
            photographs=self._photographs,
        )

    def _elsewhere(self, outcome: Outcome) -> Order | None:
        """Return the order for a machine of another kind that may run the file; None where there is none."""
        order, seat, item = outcome.order, outcome.seat, self._items[outcome.order.key]
        if seat is None or outcome.result is None:
            return None
        avoid = order.avoid | {seat.kind}
        if isinstance(order.job, ConvertJob) and (asked := self._suited(item.asked[:-1], avoid)):
            return replace(order, asked=asked, avoid=avoid)
        if (asked := self._suited(item.runs, avoid)) and outcome.result.parcel is not None:
            job = JudgeJob(origin=item.origin, duration_s=outcome.result.duration_s)
            return replace(
                order, job=job, given=ToJudge(parcel=outcome.result.parcel, source=item.source), asked=asked, avoid=avoid
            )
        return None

    def _suited(self, asked: Sequence[Asked], avoid: frozenset[Any]) -> tuple[Asked, ...]:
        """Return those alternatives that a worker of a kind not to be avoided has."""
        seats = [seat for seat in self._cluster.seats() if seat.kind not in avoid]
        return tuple(each for each in asked if any(each <= seat.resources for seat in seats))


def _items(
    network: Network, request: FileRequest, photographs: PictureFolder, needs: Asked, seats: Sequence[Seat]
) -> tuple[list[_Item], PictureFolder]:
    """Return a row to be for each target and precision of one network, and the photographs that can be read.

    Raises:
        UsageError: refused arguments, a bad picture, or a place that holds something else.
    """
    origin = replace(network.origin, image_size=request.fixed_size())
    model = load_model(origin)
    source, photographs = _source(origin, model, photographs)
    items = []
    for plan in plans_of(model, request):
        asked = tuple(each | needs for each in to_convert(plan.target))
        item = _Item(
            origin=origin,
            source=source,
            model=model,
            plan=plan,
            place=place_of(network.output, plan),
            asked=asked,
            runs=tuple(each | needs for each in to_run([plan.target])),
            order=None,
        )
        if any(each <= seat.resources for each in asked for seat in seats) and not _refusal(plan):
            check_replaceable(item.place)
            job = ConvertJob(target=plan.target, request=replace(request, precision=plan.precision), origin=origin)
            item = replace(item, order=Order(key=None, job=job, given=source, asked=asked))
        items.append(item)
    return items, photographs


def _skipped(item: _Item, cluster: Cluster) -> Attempt:
    """Return the row of a target that no worker can build, or that refuses what is asked."""
    reason = _refusal(item.plan) or lacking(item.asked, cluster.seats())
    return Attempt(target=item.plan.target, precision=item.plan.precision, status="skipped", reason=reason)


def _refusal(plan: ExportPlan[Any]) -> str:
    try:
        THIS_HOST.find_exporter(plan.target).refuse(plan)
    except UsageError as error:
        return str(error)
    return ""


def _check_asked(manifest: Manifest, item: _Item, sender: str) -> None:
    """Refuse a bundle that is whole, but not the one that was asked for."""
    asked = (item.plan.target, item.plan.precision, item.model.record)
    if (manifest.target, manifest.precision, manifest.model) != asked or manifest.parity.verdict != manifest.parity.status:
        raise BundleError(f"what {sender} sent is not the bundle that was asked for; nothing was written")


def _source(origin: ModelOrigin, model: LoadedModel, photographs: PictureFolder) -> tuple[Source, PictureFolder]:
    """Read what workers need of this machine's files, and return with it the photographs that can be read."""
    with open_workbench(model, THIS_HOST, photographs=photographs) as workbench:
        joining = tuple(workbench.read_photographs())
    source = Source(
        weights=None if origin.weights is None else _file(origin.weights),
        labels=None if origin.labels is None else _file(origin.labels),
        photographs=tuple((name, _content(photographs.root / name)) for name in joining),
    )
    return source, workbench.photographs


def _file(path: Path) -> tuple[str, bytes]:
    return path.name, _content(path)


def _content(path: Path) -> bytes:
    return read_bounded(path, path.stat().st_size)


def _with_form(request: FileRequest) -> FileRequest:
    """Read the file of a form here, since no worker has it."""
    if isinstance(request.form, str | Path):
        return replace(request, form=read_form(Path(request.form)).form)
    return request
