"""`convert.py report BUNDLE...`: one HTML page about bundles, to keep or to send."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, say
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import real_path

REPORT_NAME = "report.html"


def report_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write one self-contained HTML page about bundles, after re-hashing their files; exit code 1 if one of them failed.

    Args:
        bundles: Folders written by a conversion.
        output: The page. [default: report.html beside the first bundle]
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.bundle.folder import open_bundle, read_labels
    from edgevit_deploy.commands.report.page import Subject, render, write_page
    from edgevit_deploy.measure.accuracy.record import read_record
    from edgevit_deploy.verification.rounded import calibration_of

    folders = [real_path(bundle) for bundle in bundles]
    path = output or folders[0].parent / REPORT_NAME
    _check_outside(path, folders)
    labels = short_labels(folders)
    manifests = [open_bundle(bundle) for bundle in bundles]
    subjects = [
        Subject(
            label=label,
            manifest=manifest,
            evaluation=read_record(bundle, manifest),
            calibration=calibration_of(bundle, manifest),
            labels=read_labels(bundle, manifest),
        )
        for label, bundle, manifest in zip(labels, bundles, manifests, strict=True)
    ]
    write_page(render(subjects), path)
    verdicts = [subject.manifest.verdict for subject in subjects]
    say(f"wrote {path}: {'; '.join(f'{label} {status}' for label, status in zip(labels, verdicts, strict=True))}")
    if json:
        print_json({"report": str(path), "verdicts": dict(zip(map(str, bundles), verdicts, strict=True))})
    return 1 if "failed" in verdicts else 0


def _check_outside(path: Path, folders: Sequence[Path]) -> None:
    for folder in folders:
        if real_path(path).is_relative_to(folder):
            raise UsageError(
                f"--output {path} lies inside the bundle {folder.name}, which would then no longer verify; put it beside"
            )


def short_labels(folders: Sequence[Path]) -> list[str]:
    """Name bundles by their path below the folder that holds them all: short, and without this machine's paths."""
    common = os.path.commonpath([folder.parent for folder in folders])
    return [folder.relative_to(common).as_posix() for folder in folders]
