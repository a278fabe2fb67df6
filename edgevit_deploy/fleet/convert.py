"""`convert_all` on the workers of a cluster: the rows, bundles and folders of a run here, and where each was made."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgevit_deploy.bundle.place import check_replaceable
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.every_target import Attempts, Network, place_of, plans_of
from edgevit_deploy.fleet.abilities import Asked, to_convert, to_run
from edgevit_deploy.fleet.cluster import Cluster, Seat
from edgevit_deploy.fleet.dispatch import Order
from edgevit_deploy.fleet.jobs import ConvertJob, Source
from edgevit_deploy.fleet.rows import Item, Rows, refusal
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.pipeline import Progress, silent
from edgevit_deploy.request import FileRequest
from edgevit_deploy.workbench import open_workbench


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
    request = request or FileRequest()
    cluster.require([frozenset(needs)], "--needs")
    seats = cluster.seats()
    items = []
    for network in networks:
        own, photographs = _items(network, request, photographs, frozenset(needs), seats)
        items.append(own)
    rows = Rows([item for each in items for item in each], photographs, cluster)
    attempts = iter(rows.fill(progress))
    return [
        Attempts(
            attempts=tuple(next(attempts) for _ in each),
            model_notes=each[0].model.notes if each else (),
            photographs=photographs,
        )
        for each in items
    ]


def _items(
    network: Network, request: FileRequest, photographs: PictureFolder, needs: Asked, seats: Sequence[Seat]
) -> tuple[list[Item], PictureFolder]:
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
        item = Item(
            origin=origin,
            source=source,
            model=model,
            plan=plan,
            place=place_of(network.output, plan),
            asked=asked,
            runs=tuple(each | needs for each in to_run([plan.target])),
            order=None,
        )
        if any(each <= seat.resources for each in asked for seat in seats) and not refusal(plan):
            check_replaceable(item.place)
            job = ConvertJob(target=plan.target, request=replace(request, precision=plan.precision), origin=origin)
            item = replace(item, order=Order(key=None, job=job, given=source, asked=asked))
        items.append(item)
    return items, photographs


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
