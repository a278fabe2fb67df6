"""`verify` as a function of plain arguments, for the library and the command line."""

from functools import partial
from pathlib import Path

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.data.photographs import pictures_of
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import host_on
from edgevit_deploy.model import loading
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.verification.bundle import Verification
from edgevit_deploy.verification.bundle import verify as verify_on
from edgevit_deploy.verification.rounded import ranges_of
from edgevit_deploy.workbench import open_workbench
from edgevit_deploy.workbench.results import Progress, silent


def verify(
    bundle: StrPath,
    *,
    weights: StrPath | None = None,
    seed: int | None = None,
    labels: StrPath | None = None,
    images: StrPath | None = None,
    strict: bool = False,
    layers: bool = False,
    calibration: StrPath | None = None,
    on_arm64: StrPath | None = None,
    runtime: str | None = None,
    progress: Progress = silent,
) -> Verification:
    """Re-hash, load, run and compare one bundle with its golden outputs, wherever it is now.

    Args:
        bundle: folder written by a conversion.
        weights: the checkpoint it was made from: the whole parity check again.
        seed: the seed it was made from, for random weights.
        labels: text file with one class name a line, if one was given at conversion.
        images: folder of photographs, or tree of labelled ones, to run to top-5.
        strict: refuse a folder of photographs in which something is broken, hidden or no picture.
        layers: convert the graph once more with taps after every part, and compare each with float64.
        calibration: the pictures that a rounded file was calibrated on: whether they show the ranges that it keeps.
        on_arm64: run it on ARM64 kernels, by the runtimes of this sysroot; on an ARM64 machine by its own.
        runtime: run it by this one of its target's registered runtimes; by the first that works when None.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: not a bundle that this version reads, weights that are not the bundle's, no picture that can be read, or a
            runtime that is not of its target.
        MissingError: no such sysroot, or no emulator in it.
        BundleError: a file is missing, changed or unrecorded.
        RunError: the runtime could not load or run the file.
    """
    if layers and weights is None and seed is None:
        raise UsageError("--layers compares with what the weights give; add --weights FILE or --seed N")
    if calibration is not None and weights is None and seed is None:
        raise UsageError("--calibration shows what the weights make of pictures; add --weights FILE or --seed N")
    if labels is not None and weights is None and seed is None:
        raise UsageError("--labels belongs to the weights, which are not given; add --weights FILE or --seed N, or drop --labels")
    bundle, pictures = Path(bundle), pictures_of(optional_path(images), strict=strict)
    host = host_on(optional_path(on_arm64), runtime)
    with progress(str(bundle)) as step:
        check = partial(verify_on, bundle, host, step, pictures=pictures, sysroot=host.sysroot)
        if weights is None and seed is None:
            return check()
        made = read_manifest(bundle)
        origin = ModelOrigin.of(
            made.model, made.preprocess, weights=optional_path(weights), labels=optional_path(labels), seed=seed
        )
        ranges = CalibrationChoice(ranges=ranges_of(bundle, made))
        with open_workbench(loading.load_model(origin), host, step, calibration=ranges) as workbench:
            return check(workbench=workbench, layers=layers, calibration=optional_path(calibration))
