"""Every target of a network, one after the other: what `all` does here, and one target of it on a worker elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.place import check_place
from edgevit_deploy.calibration.choice import NO_CALIBRATION, CalibrationChoice, JudgeChoice
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Exporter, ExportPlan, Quantisation
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.pipeline import Attempt, try_convert
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import Precision
from edgevit_deploy.workbench import open_workbench, quiet
from edgevit_deploy.workbench.results import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network to convert: where its weights come from, and where its bundles go (`build/<variant>` when None)."""

    origin: ModelOrigin
    output: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Where the ranges of quantised files come from, and on what their decisions are judged."""

    calibration: CalibrationChoice = NO_CALIBRATION
    judge: JudgeChoice | None = None


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
    rounding: Rounding = Rounding(),
    progress: Progress = silent,
) -> Attempts:
    """Convert one network to every target that can run here, in the precision that is asked for, or in all of them.

    Args:
        network: which, and where its bundles go.
        request: what is asked of every file.
        targets: only these; all that are registered when None.
        photographs: at most 32, spread evenly, join the parity probes.
        rounding: of quantised files; without a calibration they are not among all precisions.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments that are wrong for every target, a bad picture, or a place that cannot be written.
    """
    loaded = load_model(replace(network.origin, image_size=request.fixed_size(), task=request.task))
    plans = plans_of(loaded, request, targets, rounding)
    check_rounding_of_all(plans, rounding, one=targets is not None and len(targets) == 1)
    check_places(network, plans)
    with open_workbench(loaded, THIS_HOST, quiet, photographs, rounding.calibration, rounding.judge) as workbench:
        attempts = [try_convert(workbench, plan, place_of(network.output, plan), progress) for plan in plans]
    return Attempts(attempts=tuple(attempts), model_notes=loaded.notes, photographs=workbench.photographs)


def plans_of(
    loaded: LoadedModel,
    request: FileRequest,
    targets: Sequence[str] | None = None,
    rounding: Rounding = Rounding(),
) -> list[ExportPlan[Any]]:
    """Return every conversion of a network, in the order of the table.

    Of a precision that nobody has asked for by its name, quantised ones are left out where there are no ranges for any.

    Raises:
        UsageError: no such target, or a request that is wrong for every target.
    """
    exporters = map(THIS_HOST.find_exporter, THIS_HOST.targets() if targets is None else targets)
    return [
        replace(request, precision=precision).plan(exporter, loaded)
        for exporter in exporters
        for precision in _wanted(exporter, request.precision, rounding)
    ]


def _wanted(exporter: Exporter[Any], asked: Precision | None, rounding: Rounding) -> tuple[Precision, ...]:
    """Return in which precisions a target is to be converted; one that it has not, where it is to say why."""
    if asked is None:
        return (*exporter.precisions, *(exporter.quantised if rounding.calibration.given else ()))
    return (asked,) if exporter.has(asked) or (asked == "int8" and exporter.no_integers) else ()


def check_rounding_of_all(plans: Sequence[ExportPlan[Any]], rounding: Rounding, *, one: bool = False) -> None:
    """Refuse what was said of rounding where no file of several is rounded so.

    Args:
        plans: of all files.
        rounding: as it was said.
        one: whether they are of one target, which alone can take ranges.

    Raises:
        UsageError: naming the flag.
    """
    if rounding.calibration.ranges is not None and not one:
        raise UsageError("--ranges are of one target's graph; use them with that target, or --calibration DIR for all of them")
    if rounding.calibration.given and not any(plan.scheme and plan.scheme.calibrated for plan in plans):
        precision = plans[0].precision if plans else "no precision"
        raise UsageError(f"--calibration: no file in {precision} needs ranges; use --precision int8, or drop --calibration")
    if rounding.judge is not None and not any(plan.scheme for plan in plans):
        raise UsageError("--judge is for quantised precisions; add --precision int8 and --calibration DIR, or drop --judge")


def check_rounding(plan: ExportPlan[Any], calibration: CalibrationChoice, judge: JudgeChoice | None) -> None:
    """Refuse what was said of rounding where nothing is rounded so.

    Raises:
        UsageError: naming the flag.
    """
    if calibration.given and not (plan.scheme and plan.scheme.calibrated):
        flag = "--ranges" if calibration.ranges is not None else "--calibration"
        calibrated = [name for name, own in _quantised(plan).items() if own.scheme.calibrated]
        raise UsageError(f"{flag}: {plan.target} {plan.precision} needs no ranges; {_use_or_drop(calibrated, flag)}")
    if judge is not None and plan.scheme is None:
        advice = _use_or_drop(list(_quantised(plan)), "--judge")
        raise UsageError(f"--judge is for quantised precisions, and {plan.precision} is none; {advice}")


def _quantised(plan: ExportPlan[Any]) -> Mapping[Precision, Quantisation]:
    return THIS_HOST.find_exporter(plan.target).quantised


def _use_or_drop(precisions: Sequence[Precision], flag: str) -> str:
    """Return the end of an error line: a precision that the flag is for, if the target has one, or the flag's end."""
    return f"use --precision {precisions[0]}, or drop {flag}" if precisions else f"drop {flag}"


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
