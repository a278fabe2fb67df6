"""A quantised bundle again: its ranges, and whether its file rounds by them; neither needs pictures or weights."""

from pathlib import Path

from edgevit_deploy.bundle.folder import recorded_path
from edgevit_deploy.bundle.manifest import Manifest, QuantisationRecord
from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.calibration.record import Calibration, check_fits, equal_ranges, read_calibration
from edgevit_deploy.calibration.source import CalibrationSource
from edgevit_deploy.deploy.rounding import grid_of
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.exporter import Artifact, Quantisation
from edgevit_deploy.model.loading import DEFAULT_SEED
from edgevit_deploy.verification.replan import form_of, options_of
from edgevit_deploy.workbench import Host, Workbench

SAME = 1e-4
"""Share of its extent by which a range may differ: other processors add up in another order. A step of a grid is 4e-3."""


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
        BundleError: the file rounds otherwise, or other operators than its manifest says.
        RunError: the file cannot be read.
    """
    if manifest.quantisation is None:
        return
    exporter = host.find_exporter(manifest.target)
    quantisation = exporter.quantisation(manifest.precision, options_of(manifest, exporter))
    scheme = manifest.quantisation.scheme
    if quantisation is None or not _can_be(quantisation, scheme):
        raise UsageError(
            f"{bundle}: this edgevit-deploy rounds {manifest.target} {manifest.precision} in another way than the bundle says; "
            "convert again"
        )
    calibration = calibration_of(bundle, manifest)
    if calibration is None:
        return
    found = set(exporter.stored(artifact).activations)
    expected = _grids(calibration, manifest.quantisation)
    if found != expected:
        raise BundleError(
            f"{artifact.path}: rounds activations by {len(found - expected)} grids that its ranges do not give, and not by "
            f"{len(expected - found)} that they give; convert again"
        )


def check_ranges(bundle: Path, manifest: Manifest, workbench: Workbench, pictures: Path) -> None:
    """Prove that the ranges of a bundle are what its calibration pictures show: the one check that sees a picture fed wrongly.

    Args:
        bundle: the folder.
        manifest: of it.
        workbench: with the network.
        pictures: the folder that the bundle was calibrated on.

    Raises:
        UsageError: the bundle has no ranges, or they are of other pictures.
        BundleError: an operator has another range.
    """
    recorded = calibration_of(bundle, manifest)
    if recorded is None:
        raise UsageError(f"--calibration {pictures}: {bundle} keeps no ranges; drop --calibration")
    choice = CalibrationChoice(pictures=pictures if recorded.source == "pictures" else SYNTHETIC, percentile=recorded.percentile)
    source = CalibrationSource(choice, manifest.model, manifest.preprocess, DEFAULT_SEED)
    if source.pictures != recorded.pictures:
        raise UsageError(
            f"--calibration {pictures}: not the {recorded.count} pictures that {bundle} was calibrated on; give those"
        )
    form = form_of(manifest)
    shown = source.calibration(form, workbench.deploy_form(form).network, workbench.step).ranges
    differing = [path for path, ranges in recorded.ranges.items() if not equal_ranges(ranges, shown[path], SAME)]
    if differing:
        raise BundleError(
            f"{bundle}: {len(differing)} of {len(shown)} operators have ranges that these pictures do not show, {differing[0]} "
            "first: they were fed to the network in another way; convert again"
        )


def _can_be(quantisation: Quantisation, scheme: Scheme) -> bool:
    """Say whether a target rounds by a scheme, or may be asked to."""
    try:
        return quantisation.scheme_with(scheme.differences(quantisation.scheme)) == scheme
    except UsageError:
        return False


def _grids(calibration: Calibration, record: QuantisationRecord) -> set[tuple[float, int]]:
    """Return the scale and zero point of every activation that is rounded: of those operators whose loss is on record.

    Raises:
        BundleError: others are than the scheme says, as far as that can be told without the network: it does not say which are
            depthwise, or narrow.
    """
    scheme, rounded = record.scheme, set(record.sqnr_db)
    left = {path for path in calibration.ranges if scheme.leaves(path)}
    said = set(calibration.ranges) - left
    of_every_kind = scheme.depthwise and scheme.fewest_channels == 1
    if not rounded <= said or (of_every_kind and rounded != said):
        raise BundleError(
            f"{len(rounded ^ said)} operators are said to be rounded, or left in floating point, and not on record as such; "
            "convert again"
        )
    operators = [ranges for path, ranges in calibration.ranges.items() if path in rounded]
    ends = [ranges.input for ranges in operators] + [ranges.output for ranges in operators if scheme.outputs]
    grids = [grid_of(end, scheme) for end in ends]
    return {(grid.scale, grid.zero_point) for grid in grids}
