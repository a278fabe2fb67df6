"""What `convert.py evaluate --output` writes beside its shards: the JSON document and a page; both of them, or nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.commands.evaluate.view import demand_sentences, document, general_lines
from edgevit_deploy.commands.pages import write_together
from edgevit_deploy.commands.report import short_labels
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.outside.text import json_bytes

if TYPE_CHECKING:
    from edgevit_deploy.measure.accuracy.result import Evaluation

PAGE_NAME, DOCUMENT_NAME = "evaluation.html", "evaluation.json"


def write_files(evaluation: "Evaluation", data: Path, output: Path) -> None:
    """Write both files into a folder, over those of an earlier run.

    Args:
        evaluation: finished.
        data: the folder of its pictures, for the thumbnails.
        output: the folder, made if need be.

    Raises:
        UsageError: the folder cannot be written.
    """
    from edgevit_deploy.commands.report.page import render_evaluation
    from edgevit_deploy.measure.accuracy.record import records_of

    rows, records = evaluation.bundles, records_of(evaluation, data)
    labels = dict(zip(rows, short_labels([real_path(Path(row.label)) for row in rows]), strict=True))
    every = {row: labels.get(row, row.label) for row in evaluation.rows}
    lines = [f"{label}: {row.status}. {row.reason}" for row, label in every.items() if row.status != "ran"]
    lines += [f"{label}: {sentence}" for row, label in every.items() for sentence in demand_sentences(row)]
    named = {labels[row]: records[row.label] for row in rows if row.label in records}
    page = render_evaluation(named, [*lines, *general_lines(evaluation)])
    write_together(output, {PAGE_NAME: page, DOCUMENT_NAME: json_bytes(document(evaluation)).decode()})
