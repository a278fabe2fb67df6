"""One network or several, converted here or on the workers of a scheduler: what `all` works on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import progress
from edgevit_deploy.commands.flags import FileFlags, NetworkFlags, RoundingFlags
from edgevit_deploy.commands.fleet import FleetFlags
from edgevit_deploy.errors import UsageError
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import PreprocessChoice

if TYPE_CHECKING:
    from edgevit_deploy.every_target import Attempts, Network

TITLE = "edgevit-deploy"


def networks_of(
    flags: NetworkFlags, weights: Sequence[Path], preprocess: PreprocessChoice, output: Path | None
) -> "list[Network]":
    """Return the network of each checkpoint, or the one of no checkpoint; several have a folder each.

    Raises:
        UsageError: bundles of two checkpoints would go to one folder.
    """
    from edgevit_deploy.every_target import Network

    if len(weights) < 2:
        return [Network(origin=flags.origin_of(weights[0] if weights else None, None, preprocess), output=output)]
    folders: dict[str, Path] = {}
    for path in weights:
        if (other := folders.setdefault(path.stem.casefold(), path)) is not path:
            raise UsageError(f"--weights {other} and {path}: the bundles of both would go to {path.stem}; rename one of them")
    folder = Path("build") if output is None else output
    return [Network(origin=flags.origin_of(path, None, preprocess), output=folder / path.stem) for path in weights]


def titles_of(networks: "Sequence[Network]") -> list[str]:
    """Return the title of each network's table."""
    return [TITLE if len(networks) == 1 else str(network.origin.weights) for network in networks]


def convert_networks(
    networks: "Sequence[Network]",
    request: FileRequest,
    file_flags: FileFlags,
    rounding_flags: RoundingFlags,
    fleet_flags: FleetFlags,
) -> "list[Attempts]":
    """Convert each network to every target, here or where `--on` says."""
    from edgevit_deploy.data.photographs import pictures_of
    from edgevit_deploy.every_target import Rounding, check_places, convert_network, plans_of
    from edgevit_deploy.model.loading import load_model

    photographs = pictures_of(file_flags.images, strict=file_flags.strict)
    rounding = Rounding(calibration=rounding_flags.calibration_choice(), judge=rounding_flags.judge_choice())
    if len(networks) > 1 or fleet_flags.on is not None:  # a bad one is said before the first is converted, or anything is started
        for network in networks:
            loaded = load_model(replace(network.origin, image_size=request.fixed_size(), task=request.task))
            if fleet_flags.on is None:
                check_places(network, plans_of(loaded, request, rounding=rounding))
    if fleet_flags.on is not None:
        if rounding.judge is not None:
            raise UsageError(
                "--judge is for files that run here, and --on runs them elsewhere; drop --judge (verdicts then say that "
                "decisions are not judged), or drop --on"
            )
        from edgevit_deploy.fleet.convert import convert_all

        with fleet_flags.cluster() as cluster:
            return convert_all(
                cluster,
                networks,
                request=request,
                photographs=photographs,
                calibration=rounding.calibration,
                needs=fleet_flags.wanted(),
                progress=progress,
            )
    return [
        convert_network(network, request, photographs=photographs, rounding=rounding, progress=progress) for network in networks
    ]
