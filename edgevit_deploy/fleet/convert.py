"""`convert_all` on the workers of a cluster: the rows, bundles and folders of a run here, and where each was made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgevit_deploy.calibration.choice import NO_CALIBRATION, CalibrationChoice
from edgevit_deploy.calibration.record import calibration_bytes
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.every_target import (
    Attempts,
    Network,
    Rounding,
    check_places,
    check_rounding_of_all,
    place_of,
    plans_of,
    refusal,
)
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.fleet.abilities import Asked, to_convert, to_run
from edgevit_deploy.fleet.cluster import Cluster, Seat
from edgevit_deploy.fleet.dispatch import Order
from edgevit_deploy.fleet.jobs import ConvertJob, Source, named_file, read_whole
from edgevit_deploy.fleet.rows import Item, Rows
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.request import FileRequest
from edgevit_deploy.workbench import open_workbench
from edgevit_deploy.workbench.results import Progress, silent


def convert_all(
    cluster: Cluster,
    networks: Sequence[Network],
    *,
    request: FileRequest | None = None,
    photographs: PictureFolder = NO_PICTURES,
    calibration: CalibrationChoice = NO_CALIBRATION,
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
        calibration: where the ranges of quantised files come from; they are observed here, and sent in place of the pictures.
        needs: resources that every worker must have besides.
        progress: shows how many rows are done.

    Raises:
        UsageError: refused arguments, a bad picture, or a place that cannot be written.
        MissingError: no worker has what `needs` names, or the scheduler is gone.
    """
    request = request or FileRequest()
    cluster.require([frozenset(needs)], "--needs")
    networks = [replace(each, origin=replace(each.origin, image_size=request.fixed_size())) for each in networks]
    can_build = _can_build(cluster.seats(), frozenset(needs))
    wanted = []
    for network in networks:
        model = load_model(network.origin)
        plans = plans_of(model, request, rounding=Rounding(calibration=calibration))
        check_rounding_of_all(plans, Rounding(calibration=calibration))
        check_places(network, plans, can_build)
        wanted.append((network, model, plans))
    items = []
    for network, model, plans in wanted:
        possible = [plan for plan in plans if can_build(plan) and not refusal(plan)]
        source, ranges, photographs = _source(network.origin, model, photographs, calibration, possible, progress)
        given = _Given(network=network, model=model, source=source, ranges=ranges, request=request, needs=frozenset(needs))
        items.append([given.item(plan, possible=plan in possible) for plan in plans])
    rows = Rows([item for each in items for item in each], photographs, cluster)
    attempts = iter(rows.fill(progress))
    return [
        Attempts(attempts=tuple(next(attempts) for _ in own), model_notes=model.notes, photographs=photographs)
        for own, (_, model, _) in zip(items, wanted, strict=True)
    ]


CanBuild = Callable[[ExportPlan[Any]], bool]


def _can_build(seats: Sequence[Seat], needs: Asked) -> CanBuild:
    """Return what says whether a worker that is there now can build a target."""
    return lambda plan: any(each | needs <= seat.resources for each in to_convert(plan.target) for seat in seats)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What the rows of one network have in common."""

    network: Network
    model: LoadedModel
    source: Source
    ranges: Mapping[Form, bytes]
    request: FileRequest
    needs: Asked

    def item(self, plan: ExportPlan[Any], *, possible: bool) -> Item:
        """Return a row to be, with its order where a worker can build it."""
        ranges = self.ranges.get(plan.form) if plan.scheme and plan.scheme.calibrated else None
        origin, asked = self.network.origin, tuple(each | self.needs for each in to_convert(plan.target))
        request = replace(self.request, precision=plan.precision)
        job = ConvertJob(target=plan.target, request=request, origin=origin, ranges=ranges)
        order = Order(key=None, job=job, given=self.source, asked=asked)
        return Item(
            origin=origin,
            source=self.source,
            model=self.model,
            plan=plan,
            place=place_of(self.network.output, plan),
            asked=asked,
            runs=tuple(each | self.needs for each in to_run([plan.target])),
            order=order if possible else None,
            ranges=ranges,
        )


def _source(
    origin: ModelOrigin,
    model: LoadedModel,
    photographs: PictureFolder,
    calibration: CalibrationChoice,
    plans: Sequence[ExportPlan[Any]],
    progress: Progress,
) -> tuple[Source, dict[Form, bytes], PictureFolder]:
    """Read what workers need of this machine's files, and return with it the photographs that can be read.

    Ranges are observed once for each form in which something is built.
    """
    ranges: dict[Form, bytes] = {}
    with progress("here") as step, open_workbench(model, THIS_HOST, step, photographs, calibration) as workbench:
        joining = tuple(workbench.read_photographs())
        for plan in plans:
            if plan.form not in ranges and (found := workbench.rounded.calibration(plan)) is not None:
                ranges[plan.form] = calibration_bytes(found)
    source = Source(
        weights=named_file(origin.weights),
        labels=named_file(origin.labels),
        photographs=tuple((name, read_whole(photographs.root / name)) for name in joining),
    )
    return source, ranges, workbench.photographs
