"""`convert.py verify BUNDLE...`: prove bundles again, wherever they are now."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, ARITHMETIC_SAMPLED
from edgevit_deploy.commands.console import print_json, print_table, progress, say, status
from edgevit_deploy.commands.pictures import say_passed_over, show_top5
from edgevit_deploy.errors import MissingError
from edgevit_deploy.host import host_on
from edgevit_deploy.outside.text import figure
from edgevit_deploy.process.sysroot import UNDER_EMULATION, is_arm64

if TYPE_CHECKING:
    from edgevit_deploy.bundle.manifest import Manifest
    from edgevit_deploy.verification.bundle import Verification
    from edgevit_deploy.verification.layers import LayerDiff, LayerReport

COLUMNS = ("bundle", "status", "file that ran", "on", "golden error", "bound", "top-1", "full parity", "detail")
OPTIONAL = ("file that ran", "bound", "on", "full parity", "top-1")
LAYER_COLUMNS = ("after", "part", "values", "largest", "error", "bound", "x noise", "")


def verify_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    weights: Path | None = None,
    seed: int | None = None,
    labels: Path | None = None,
    images: Path | None = None,
    strict: Annotated[bool, Parameter(negative="")] = False,
    layers: Annotated[bool, Parameter(negative="")] = False,
    calibration: Path | None = None,
    on_arm64: Path | None = None,
    runtime: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Re-hash, load, run and compare bundles with their golden outputs.

    Args:
        bundles: Folders written by a conversion, wherever they are now.
        weights: The checkpoint they were made from: the whole parity check again.
        seed: The seed they were made from, for random weights.
        labels: Text file with one class name a line, if one was given at conversion.
        images: Folder of photographs, or tree with a subfolder a class, to run to top-5 with labels.
        strict: Refuse a folder of photographs in which something is broken, hidden or no picture.
        layers: Convert the graph once more with taps after every part, and compare each with float64 on the target's runtime; of
            a rounded file, what rounding each operator alone costs.
        calibration: The pictures that a rounded file was calibrated on: whether they show the ranges that it keeps.
        on_arm64: Run them on ARM64 kernels, emulated, in this folder, which .ci/install-arm64 makes; parity only, no latency. On
            an ARM64 machine they run natively and the folder is not looked at.
        runtime: Run them by this runtime, by its name in `doctor`. [default: the first of the target's that works here]
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy import api
    from edgevit_deploy.bundle.readme import bound_on_pictures
    from edgevit_deploy.data.photographs import crop_note

    results = [
        api.verify(
            bundle,
            weights=weights,
            seed=seed,
            labels=labels,
            images=images,
            strict=strict,
            layers=layers,
            calibration=calibration,
            on_arm64=on_arm64,
            runtime=runtime,
            progress=progress,
        )
        for bundle in bundles
    ]
    reports = {str(result.bundle): result.layers for result in results if result.layers is not None}
    print_table("verify", COLUMNS, [row for result in results for row in _rows(result)], optional=OPTIONAL)
    if on_arm64 is not None:
        _say_on_arm64(results, on_arm64)
    say_passed_over(results[0].passed_over)
    run = [result for result in results if result.top5 is not None]
    for note in dict.fromkeys(crop_note(result.photographs, result.manifest.preprocess) for result in run):
        if note:
            say(f"note: {note}")
    show_top5(
        {str(result.bundle): result.top5 for result in run if result.top5 is not None},
        results[0].photographs,
        {str(result.bundle): result.right for result in run},
    )
    for result in results:
        bound, probes = bound_on_pictures(result.manifest, digits=2), result.manifest.probes
        if bound and probes is not None:
            say(f"{result.bundle}: on other pictures {bound}. {probes.sentence()}")
        if (decisions := result.manifest.decisions) is not None:
            say(f"{result.bundle}, when it was made: {decisions.sentence()}")
    for name, report in reports.items():
        _show_layers(name, report)
    for result in results:
        if result.losses is not None:
            _show_losses(str(result.bundle), result.losses)
    if json:
        print_json([_document(result, on_arm64) for result in results])
    if any(result.status == "failed" for result in results) or not all(report.ok for report in reports.values()):
        return 1
    not_run = [result for result in results if result.status == "built, not run"]
    for result in not_run:
        why = result.golden.substitute or host_on(on_arm64, runtime).why_not_run(result.manifest.target)
        say(f"{result.bundle}: not run is not passed. {why}")
    return MissingError.exit_code if not_run else 0


def _show_losses(name: str, losses: "dict[str, float]") -> None:
    """Show what rounding each operator alone costs, those that lose most first."""
    worst_first = sorted(losses.items(), key=lambda item: item[1])
    rows = [[path, f"{sqnr_db:.1f}"] for path, sqnr_db in worst_first]
    print_table(f"operators of {name}, each rounded alone", ("operator", "SQNR dB"), rows)
    path, sqnr_db = worst_first[0]
    say(f"{name}: {path} loses most, SQNR {sqnr_db:.1f} dB where it alone is rounded")


def _remark(manifest: "Manifest") -> str:
    """Say what must be known of a bundle beside what was found now."""
    if manifest.failure:
        return manifest.failure
    return manifest.verdict if manifest.verdict in (ARITHMETIC_ONLY, ARITHMETIC_SAMPLED) else ""


def _show_layers(name: str, report: "LayerReport") -> None:
    title = f"layers of {name}, its graph converted again with taps, on {report.runtime}"
    print_table(title, LAYER_COLUMNS, [_layer_cells(layer) for layer in report.layers])
    failed = report.first_failed
    if failed is None:
        how = f", but {report.substitute}" if report.substitute else ""
        say(f"{name}: all {len(report.layers)} layers are within tolerance{how}")
        return
    diff = failed.diff
    say(
        f"{name}: the first layer out of tolerance is {failed.tap.name} ({failed.tap.part}): error {figure(diff.error)} on "
        f"{diff.worst_probe!r}, bound {diff.tolerance.atol:.2g}; everything before it is good"
    )


def _layer_cells(layer: "LayerDiff") -> "list[str | Text]":
    diff = layer.diff
    figures = [f"{layer.scale:.3g}", figure(diff.error), f"{diff.tolerance.atol:.2g}", figure(diff.noise_ratio)]
    return [layer.tap.name, layer.tap.part, str(layer.tap.values), *figures, status("passed" if diff.ok else "failed")]


def _say_on_arm64(results: "list[Verification]", sysroot: Path) -> None:
    """Say in a line what each runtime made of the golden data: a narrow table leaves the runtime and the bound out."""
    if is_arm64():
        say(f"this machine is an ARM64 one: all was run natively, and {sysroot} was not used")
    for result in results:
        for check in (result.golden, result.sample):
            if check is not None and check.max_abs is not None:
                top1 = f", top-1 {check.top1}" if check.top1 else ""
                figures = f"error {figure(check.max_abs)}, bound {check.atol:.2g}{top1}"
                say(f"{result.bundle}: {check.status}, {figures}; {check.runtime}")


def _document(result: "Verification", on_arm64: Path | None) -> dict[str, object]:
    layers = result.layers
    return {
        "bundle": str(result.bundle),
        "status": result.status,
        "on_arm64": None if on_arm64 is None else "natively" if is_arm64() else UNDER_EMULATION,
        "golden": result.golden,
        "sample": result.sample,
        "parity": result.parity,
        "probes": result.manifest.probes,
        "top5": result.top5,
        "right": result.right,
        "passed_over": result.passed_over,
        "layers": layers,
        "losses": result.losses,
        "first_layer_out_of_tolerance": layers.first_failed.tap.name if layers and layers.first_failed else None,
    }


def _rows(result: "Verification") -> "list[list[str | Text]]":
    """Return a line for each runtime that replayed the golden data."""
    worst = result.parity.worst if result.parity else None
    parity = "" if worst is None else f"{figure(worst.error)}, bound {worst.tolerance.atol:.2g}"
    checks = [(result.golden, replace(result, sample=None).status, parity)]
    checks += [(result.sample, result.sample.status, "")] if result.sample is not None else []
    return [
        [
            str(result.bundle),
            status(found),
            golden.file,
            golden.runtime,
            "" if golden.max_abs is None else figure(golden.max_abs),
            f"{golden.atol:.2g}",
            golden.top1,
            full,
            _remark(result.manifest),
        ]
        for golden, found, full in checks
    ]
