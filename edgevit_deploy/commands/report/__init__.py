"""`convert.py report BUNDLE...`: one HTML page about bundles, to keep or to send."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, say
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import real_path

if TYPE_CHECKING:
    from edgevit_deploy.bundle.manifest import Manifest
    from edgevit_deploy.commands.report.flips import Seen
    from edgevit_deploy.measure.saved import SavedBench

REPORT_NAME = "report.html"


def report_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    bench: Path | None = None,
    judge: Path | None = None,
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write one self-contained HTML page about bundles, after re-hashing their files; exit code 1 if one of them failed.

    Args:
        bundles: Folders written by a conversion.
        bench: Folder that `bench --output` wrote, or its bench.json: latencies of these bundles beside their sizes.
        judge: The folder that rounded bundles were judged on: pictures that they decide unlike the network are shown.
        output: The page. [default: report.html beside the first bundle]
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.bundle.folder import open_bundle, read_labels
    from edgevit_deploy.bundle.place import check_outside_bundles
    from edgevit_deploy.commands.report.page import Subject, render, write_page
    from edgevit_deploy.measure.accuracy.record import read_record
    from edgevit_deploy.measure.saved import read_bench
    from edgevit_deploy.verification.rounded import calibration_of

    folders = [real_path(bundle) for bundle in bundles]
    path = output or folders[0].parent / REPORT_NAME
    check_outside_bundles(path)
    labels = short_labels(folders)
    manifests = [open_bundle(bundle) for bundle in bundles]
    saved = read_bench(bench) if bench else None
    _check_timed(saved, bench, manifests)
    looks = _look_again(judge, labels, manifests)
    subjects = [
        Subject(
            label=label,
            manifest=manifest,
            evaluation=read_record(bundle, manifest),
            calibration=calibration_of(bundle, manifest),
            labels=read_labels(bundle, manifest),
            seen=looks[label][0] if label in looks else None,
            looked=looks[label][1] if label in looks else "",
        )
        for label, bundle, manifest in zip(labels, bundles, manifests, strict=True)
    ]
    write_page(render(subjects, saved), path)
    verdicts = [subject.manifest.verdict for subject in subjects]
    say(f"wrote {path}: {'; '.join(f'{label} {status}' for label, status in zip(labels, verdicts, strict=True))}")
    if json:
        print_json({"report": str(path), "verdicts": dict(zip(map(str, bundles), verdicts, strict=True))})
    return 1 if "failed" in verdicts else 0


def _check_timed(saved: "SavedBench | None", bench: Path | None, manifests: "Sequence[Manifest]") -> None:
    """Refuse a benchmark of other files."""
    from edgevit_deploy.measure.accuracy.identity import identity_of

    if saved is not None and not any(saved.result_of(identity_of(manifest)) for manifest in manifests):
        raise UsageError(f"--bench {bench}: none of these bundles was timed there; give the folder of their own `bench --output`")


def _look_again(
    judge: Path | None, labels: Sequence[str], manifests: "Sequence[Manifest]"
) -> "dict[str, tuple[tuple[Seen, ...], str]]":
    """Return, for the label of each bundle that was judged, what there is to see of its flips, and say how many are not there."""
    from edgevit_deploy.commands.report.flips import look_again, summary
    from edgevit_deploy.data.photographs import find_pictures

    if judge is None:
        return {}
    judged = {label: manifest for label, manifest in zip(labels, manifests, strict=True) if manifest.decisions is not None}
    if not judged:
        raise UsageError("--judge: none of these bundles was judged by decisions; convert with --judge DIR, or drop it")
    folder = find_pictures(judge, flag="--judge")
    looks = {label: look_again(manifest, folder) for label, manifest in judged.items()}
    said = {label: summary(seen, folder) for label, seen in looks.items()}
    for label, seen in looks.items():
        if any(each.why for each in seen):
            say(f"{label}: {said[label]}")
    return {label: (seen, said[label]) for label, seen in looks.items()}


def short_labels(folders: Sequence[Path]) -> list[str]:
    """Name bundles by their path below the folder that holds them all: short, and without this machine's paths."""
    common = os.path.commonpath([folder.parent for folder in folders])
    return [folder.relative_to(common).as_posix() for folder in folders]
