"""A quantised bundle again: its ranges, and whether its file rounds by them; neither needs pictures or weights."""

from pathlib import Path

from edgevit_deploy.bundle.folder import recorded_path
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.calibration.record import Calibration, check_fits, read_calibration
from edgevit_deploy.deploy.rounding import grid_of
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.verification.replan import form_of, options_of
from edgevit_deploy.workbench import Host


def ranges_of(bundle: Path, manifest: Manifest) -> Path | None:
    """Return where a bundle keeps its ranges; None where it has none.

    Raises:
        BundleError: they are not there.
    """
    if manifest.quantisation is None or manifest.quantisation.calibration is None:
        return None
    return recorded_path(bundle, manifest, manifest.quantisation.calibration)


def calibration_of(bundle: Path, manifest: Manifest) -> Calibration | None:
    """Return the ranges of a bundle; None where it has none.

    Raises:
        BundleError: they are not there.
        UsageError: they were changed, or are of another network or form.
    """
    place = ranges_of(bundle, manifest)
    if place is None:
        return None
    calibration = read_calibration(place)
    check_fits(calibration, manifest.model, manifest.preprocess, form_of(manifest).choices(), place)
    return calibration


def check_rounding(bundle: Path, manifest: Manifest, artifact: Artifact, host: Host) -> None:
    """Prove that a quantised file rounds activations by the ranges that lie beside it, and as its target does.

    Args:
        bundle: the folder.
        manifest: of it.
        artifact: its file.
        host: finds the exporter, which reads its own files.

    Raises:
        UsageError: ranges that were changed or are of something else, or a scheme that this version's target does not have.
        BundleError: the file rounds otherwise.
        RunError: the file cannot be read.
    """
    if manifest.quantisation is None:
        return
    exporter = host.find_exporter(manifest.target)
    quantisation = exporter.quantisation(manifest.precision, options_of(manifest, exporter))
    scheme = manifest.quantisation.scheme
    if quantisation is None or quantisation.scheme != scheme:
        raise UsageError(
            f"{bundle}: this edgevit-deploy rounds {manifest.target} {manifest.precision} in another way than the bundle says; "
            "convert again"
        )
    calibration = calibration_of(bundle, manifest)
    if calibration is None:
        return
    found = set(exporter.stored(artifact).activations)
    expected = _grids(calibration, scheme)
    if found != expected:
        raise BundleError(
            f"{artifact.path}: rounds activations by {len(found - expected)} grids that its ranges do not give, and not by "
            f"{len(expected - found)} that they give; convert again"
        )


def _grids(calibration: Calibration, scheme: Scheme) -> set[tuple[float, int]]:
    """Return the scale and zero point of every activation that is rounded."""
    operators = calibration.ranges.values()
    ends = [ranges.input for ranges in operators] + [ranges.output for ranges in operators if scheme.outputs]
    grids = [grid_of(end, scheme) for end in ends]
    return {(grid.scale, grid.zero_point) for grid in grids}
