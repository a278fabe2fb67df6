"""`convert.py verify BUNDLE...`: prove bundles again, wherever they are now."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.commands.hosts import find_session, why_not_run
from edgevit_deploy.commands.pictures import show_top5
from edgevit_deploy.console import print_json, print_table, progress, say, status
from edgevit_deploy.errors import MissingError

if TYPE_CHECKING:
    from edgevit_deploy.source import LoadedModel
    from edgevit_deploy.verify import Verification

COLUMNS = ("bundle", "status", "file that ran", "on", "golden error", "bound", "full parity", "detail")


def verify_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    weights: Path | None = None,
    seed: int | None = None,
    labels: Path | None = None,
    images: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Re-hash, load, run and compare bundles with their golden outputs.

    Args:
        bundles: Folders written by a conversion, wherever they are now.
        weights: The checkpoint they were made from: the whole parity check again.
        seed: The seed they were made from, for random weights.
        labels: Text file with one class name a line, if one was given at conversion.
        images: Folder of photographs to run to top-5 with labels.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.preprocess import find_images
    from edgevit_deploy.verify import verify

    pictures = find_images(images) if images else []
    results = []
    for bundle in bundles:
        with progress(str(bundle)) as step:
            model = _load(bundle, weights, seed, labels) if weights or seed is not None else None
            results.append(verify(bundle, find_session, step, model=model, pictures=pictures))
    print_table("verify", COLUMNS, [_cells(result) for result in results])
    show_top5({str(result.bundle): result.top5 for result in results if result.top5 is not None})
    if json:
        print_json([_document(result) for result in results])
    if any(result.status == "failed" for result in results):
        return 1
    not_run = [result for result in results if result.status == "built, not run"]
    for result in not_run:
        say(f"{result.bundle}: not run is not passed. {why_not_run(result.manifest.target)}")
    return MissingError.exit_code if not_run else 0


def _load(bundle: Path, weights: Path | None, seed: int | None, labels: Path | None) -> "LoadedModel":
    """Load the model that a bundle says it was made from; `verify` then compares the two records."""
    from edgevit_deploy.manifest import read_manifest
    from edgevit_deploy.source import ModelSource, load_model

    model = read_manifest(bundle).model
    source = ModelSource(
        model=model.variant,
        weights=weights,
        num_classes=model.num_classes,
        image_size=model.image_size,
        labels=labels,
        seed=seed,
    )
    return load_model(source)


def _document(result: "Verification") -> dict[str, object]:
    return {
        "bundle": str(result.bundle),
        "status": result.status,
        "golden": result.golden,
        "parity": result.parity,
        "top5": result.top5,
    }


def _cells(result: "Verification") -> "list[str | Text]":
    golden, worst = result.golden, result.parity.worst if result.parity else None
    return [
        str(result.bundle),
        status(result.status),
        golden.file,
        golden.runtime,
        "" if golden.max_abs is None else f"{golden.max_abs:.2g}",
        f"{golden.atol:.2g}",
        "" if worst is None else f"{worst.max_abs:.2g}, bound {worst.tolerance.atol:.2g}",
        "failed parity when it was made" if result.manifest.parity.status == "failed" else "",
    ]
