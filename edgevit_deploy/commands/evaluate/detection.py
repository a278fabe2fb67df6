"""What `convert.py evaluate` shows of detectors: a table, in words what the figures mean, and the JSON document."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from edgevit_deploy.commands.console import print_json, print_table, say, status
from edgevit_deploy.commands.evaluate.files import DOCUMENT_NAME
from edgevit_deploy.commands.pages import write_together
from edgevit_deploy.errors import MissingError
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import task_of

if TYPE_CHECKING:
    from edgevit_deploy.measure.detection.result import Detected, DetectionEvaluation, Drop, Interval

COLUMNS = ("", "AP", "AP50", "AP75", "small", "medium", "large", "AP lost", "boxes", "pictures/s", "ran on")
OPTIONAL = ("ran on", "pictures/s", "boxes", "AP75")
"""What a narrow terminal does without; `--json` has all of it."""


def detect(bundles: Sequence[Path]) -> bool:
    """Say whether some of the bundles are detectors.

    Raises:
        UsageError: one of them is no bundle.
    """
    from edgevit_deploy.bundle.manifest import read_manifest

    return any(task_of(read_manifest(bundle).conversion.returns) == "detect" for bundle in bundles)


def report_detection(evaluation: "DetectionEvaluation", output: Path | None, *, json: bool) -> int:
    """Print and save an evaluation, and return the exit code.

    Args:
        evaluation: finished.
        output: folder for the document.
        json: print it on stdout.

    Raises:
        UsageError: the folder cannot be written.
    """
    print_detection(evaluation)
    if output is not None:
        write_together(output, {DOCUMENT_NAME: json_bytes(document(evaluation)).decode()})
        say(f"saved: {output / DOCUMENT_NAME}")
    if json:
        print_json(document(evaluation))
    if any(row.status == "failed" or (row.drop is not None and not row.drop.ok) for row in evaluation.rows):
        return 1
    if any(row.status == "not run" for row in evaluation.rows):
        return MissingError.exit_code
    return 0 if evaluation.ok else 1


def print_detection(evaluation: "DetectionEvaluation") -> None:
    """Print everything that people read about one evaluation of detectors."""
    data = evaluation.data
    sample = "" if data.seed is None else f", drawn from {data.pictures} (seed {data.seed})"
    title = (
        f"average precision (COCO), with 95 % intervals, on {data.used} pictures of {data.name} with {data.boxes} boxes in "
        f"{len(data.categories)} categories{sample}"
    )
    print_table(title, COLUMNS, [_cells(row) for row in evaluation.rows], optional=OPTIONAL)
    for line in explanation(evaluation):
        say(line)


def explanation(evaluation: "DetectionEvaluation") -> list[str]:
    """Say in words what cannot be seen in the table."""
    from edgevit_deploy.data.pictures import named
    from edgevit_deploy.parity.statistics import FEW_PICTURES, few

    lines = [f"{row.label}: {sentence}" for row in evaluation.rows for sentence in _sentences(row)]
    if not any(row.kind == "network" for row in evaluation.rows):
        lines.append("average precision alone; --weights FILE adds the network and compares each bundle with it")
    if evaluation.data.used < FEW_PICTURES:
        lines.append(few(evaluation.data.used))
    if evaluation.broken:
        lines.append(f"{len(evaluation.broken)} pictures cannot be used and are in no figure: {named(evaluation.broken)}")
    lines.append(
        "intervals are over sets of as many pictures, drawn from these with repetition, the same for the network and the bundles"
    )
    return lines


def document(evaluation: "DetectionEvaluation") -> dict[str, Any]:
    """Return the whole evaluation as the one JSON document."""
    builtins: dict[str, Any] = msgspec.to_builtins(evaluation)
    for row, plain in zip(evaluation.rows, builtins["rows"], strict=True):
        plain["ok"] = row.ok
    return {"task": "detect", **builtins, "ok": evaluation.ok}


def _sentences(row: "Detected") -> list[str]:
    sentences = list(row.notes)
    if row.not_finite:
        sentences.append(f"outputs of {row.not_finite} pictures are not finite, and nothing is found there")
    if row.status != "ran":
        sentences.append(f"{row.status}. {row.reason}")
    if row.unjudged:
        sentences.append(f"--max-drop is not judged, and so not met: {row.unjudged}")
    elif row.drop is not None and row.drop.limit is not None:
        sentences.append(_demand(row.drop, row.drop.limit))
    return sentences


def _demand(drop: "Drop", limit: float) -> str:
    relation = "is within" if drop.ok else "is above"
    end = f"the upper end of its interval, {drop.interval[1]:.4f}, {relation} --max-drop {limit:g}"
    text = f"it lost {drop.value:.4f} of AP, and {end}"
    return f"{text}: too few pictures" if not drop.ok and drop.value <= limit else text


def _cells(row: "Detected") -> list[str | Text]:
    if row.figures is None:
        return [row.label, status(row.status), *[""] * (len(COLUMNS) - 2)]
    figures = row.figures
    return [
        row.label,
        _with_interval(figures.ap, row.interval),
        *map(_figure, (figures.ap50, figures.ap75, figures.small, figures.medium, figures.large)),
        "" if row.drop is None else _with_interval(row.drop.value, row.drop.interval),
        str(row.boxes),
        "" if row.pictures_per_s is None else f"{row.pictures_per_s:.3g}",
        row.runtime,
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _with_interval(value: float | None, interval: "Interval | None") -> str:
    return _figure(value) if interval is None else f"{_figure(value)}\n{interval[0]:.4f} to {interval[1]:.4f}"
