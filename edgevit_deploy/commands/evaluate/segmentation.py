"""What `convert.py evaluate` shows of bundles that give each pixel a class: two tables, what they mean, and the JSON document."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from edgevit_deploy.commands.console import print_table, say, status
from edgevit_deploy.commands.pictures import say_passed_over

if TYPE_CHECKING:
    from edgevit_deploy.measure.segmentation.result import Estimate, SegmentationEvaluation, SegmentationRow

COLUMNS = ("", "mIoU", "pixel accuracy", "pixels agree", "drop of mIoU", "pictures/s", "ran on")
OPTIONAL = ("ran on", "pictures/s")
CLASS_COLUMNS = ("class", "pixels", "IoU", "accuracy")


def gives_pixels_classes(bundles: Sequence[Path]) -> bool:
    """Say whether the first of some bundles is a segmenter's; whether the others go with it is asked of all of them later.

    Raises:
        UsageError: no bundle.
    """
    from edgevit_deploy.bundle.manifest import read_manifest

    return bool(bundles) and read_manifest(bundles[0]).conversion.returns == "class_maps"


def print_segmentation(evaluation: "SegmentationEvaluation") -> None:
    """Print everything that people read about one evaluation."""
    sample = "" if evaluation.seed is None else f", a sample of {evaluation.pictures} (seed {evaluation.seed})"
    pictures = f"{evaluation.judged} pictures of {evaluation.data} in {len(evaluation.classes)} classes{sample}"
    print_table(
        f"segmentation, with 95 % intervals over pictures, on {pictures}",
        COLUMNS,
        [_cells(row) for row in evaluation.rows],
        optional=OPTIONAL,
    )
    for row in evaluation.rows:
        if row.status == "ran":
            print_table(f"classes of {row.label}", CLASS_COLUMNS, [*_class_cells(row)])
    for line in _lines(evaluation):
        say(line)
    say_passed_over(evaluation.passed_over)


def _lines(evaluation: "SegmentationEvaluation") -> list[str]:
    """Say in words what cannot be seen in the tables."""
    from edgevit_deploy.data.pictures import named
    from edgevit_deploy.parity.statistics import FEW_PICTURES, few

    lines = [f"{row.label}: {row.status}. {row.reason}" for row in evaluation.rows if row.status != "ran"]
    lines += [
        f"{row.label}: outputs of {row.not_finite:,} pixels are not finite, and count as wrong"
        for row in evaluation.rows
        if row.not_finite
    ]
    lines += [evaluation.absent] if evaluation.absent else []
    if sum(row.kind == "network" for row in evaluation.rows) > 1:
        lines += [f"{row.label}: compared with {row.network}" for row in evaluation.rows if row.pairing]
    if not any(row.kind == "network" for row in evaluation.rows):
        lines.append("mIoU alone; --weights FILE adds the network and compares each bundle with it, pixel by pixel")
    if evaluation.judged < FEW_PICTURES:
        lines.append(few(evaluation.judged))
    if evaluation.broken:
        lines.append(f"{len(evaluation.broken)} pictures cannot be used and are in no figure: {named(evaluation.broken)}")
    return lines


def document(evaluation: "SegmentationEvaluation") -> dict[str, Any]:
    """Return the whole evaluation as the one JSON document."""
    return {
        "task": "segment",
        **msgspec.to_builtins(evaluation),
        "judged": evaluation.judged,
        "absent": evaluation.absent,
        "ok": evaluation.ok,
    }


def _text(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2%}\n{estimate.low:.2%} to {estimate.high:.2%}"


def _cells(row: "SegmentationRow") -> list[str | Text]:
    if row.status != "ran":
        return [row.label, status(row.status), *[""] * (len(COLUMNS) - 2)]
    paired = [_text(row.pairing.agreement), _text(row.pairing.drop)] if row.pairing else ["", ""]
    speed = "" if row.pictures_per_s is None else f"{row.pictures_per_s:.3g}"
    return [row.label, _text(row.miou), _text(row.pixel_accuracy), *paired, speed, row.runtime]


def _class_cells(row: "SegmentationRow") -> list[list[str | Text]]:
    return [[score.name, f"{score.pixels:,}", _text(score.iou), _text(score.accuracy)] for score in row.classes]
