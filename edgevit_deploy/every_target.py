"""Every target of a network, one after the other: what `all` does here, and one target of it on a worker elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.place import check_place
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.pipeline import Attempt, Progress, silent, try_convert
from edgevit_deploy.request import FileRequest
from edgevit_deploy.workbench import open_workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network to convert: where its weights come from, and where its bundles go (`build/<variant>` when None)."""

    origin: ModelOrigin
    output: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What every target came to, what must be known of the model (random weights, for example), and the folder of pictures."""

    attempts: tuple[Attempt, ...]
    model_notes: tuple[str, ...]
    photographs: PictureFolder


def convert_network(
    network: Network,
    request: FileRequest,
    *,
    targets: Sequence[str] | None = None,
    photographs: PictureFolder = NO_PICTURES,
    progress: Progress = silent,
) -> Attempts:
    """Convert one network to every target that can run here, in every precision or in the one that is asked for.

    Args:
        network: which, and where its bundles go.
        request: what is asked of every file.
        targets: only these; all that are registered when None.
        photographs: at most 32, spread evenly, join the parity probes.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments that are wrong for every target, a bad picture, or a place that cannot be written.
    """
    loaded = load_model(replace(network.origin, image_size=request.fixed_size()))
    plans = plans_of(loaded, request, targets)
    check_places(network, plans)
    with open_workbench(loaded, THIS_HOST, photographs=photographs) as workbench:
        attempts = [try_convert(workbench, plan, place_of(network.output, plan), progress) for plan in plans]
    return Attempts(attempts=tuple(attempts), model_notes=loaded.notes, photographs=workbench.photographs)


def plans_of(loaded: LoadedModel, request: FileRequest, targets: Sequence[str] | None = None) -> list[ExportPlan[Any]]:
    """Return every conversion of a network, in the order of the table.

    Raises:
        UsageError: no such target, or a request that is wrong for every target.
    """
    exporters = map(THIS_HOST.find_exporter, THIS_HOST.targets() if targets is None else targets)
    return [
        replace(request, precision=precision).plan(exporter, loaded)
        for exporter in exporters
        for precision in exporter.precisions
        if request.precision in (None, precision)
    ]


def _can_here(plan: ExportPlan[Any]) -> bool:
    return THIS_HOST.find_exporter(plan.target).probe().ok


def check_places(network: Network, plans: Sequence[ExportPlan[Any]], can: Callable[[ExportPlan[Any]], bool] = _can_here) -> None:
    """Refuse, before the first conversion, a place that one of them could not use.

    Args:
        network: says where its bundles go.
        plans: its conversions.
        can: whether a conversion will be tried; here, unless something else is said.

    Raises:
        UsageError: as for `bundle.place.check_place`.
    """
    for plan in plans:
        if can(plan) and not refusal(plan):
            check_place(place_of(network.output, plan))


def refusal(plan: ExportPlan[Any]) -> str:
    """Say why a target cannot do what is asked; nothing where it can."""
    try:
        THIS_HOST.find_exporter(plan.target).refuse(plan)
    except UsageError as error:
        return str(error)
    return ""


def place_of(output: Path | None, plan: ExportPlan[Any]) -> Path:
    """Return where the bundle of a conversion goes."""
    folder = Path("build") / plan.spec.variant if output is None else output
    return folder / f"{plan.target}-{plan.precision}"
