"""What `convert.py bench --output` writes: a page, the JSON document, and a plot; all of them, or nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.commands.bench.plot import svg_plot
from edgevit_deploy.commands.bench.view import document, explanation, setting, tables
from edgevit_deploy.commands.pages import markdown_text, write_together
from edgevit_deploy.outside.text import json_bytes

if TYPE_CHECKING:
    from edgevit_deploy.measure.bench import BenchRun
    from edgevit_deploy.measure.result import Benchmark

PAGE_NAME, PLOT_NAME = "bench.md", "bench.svg"


def write_files(run: "BenchRun", benchmark: "Benchmark", command: str, output: Path) -> None:
    """Write the three files into a folder, over those of an earlier run.

    Args:
        run: what was found out.
        benchmark: of the run.
        command: the command line that makes these files, which the page states.
        output: the folder, made if need be.

    Raises:
        UsageError: the folder cannot be written.
    """
    from edgevit_deploy.measure.saved import DOCUMENT_NAME

    contents = {
        PAGE_NAME: _page(run, benchmark, command),
        DOCUMENT_NAME: json_bytes(document(run)).decode(),
        PLOT_NAME: svg_plot(benchmark.results, setting(benchmark)),
    }
    write_together(output, contents)


def _page(run: "BenchRun", benchmark: "Benchmark", command: str) -> str:
    notes = [*explanation(run, benchmark), *(f"warning: {warning}" for warning in benchmark.warnings())]
    return "\n".join(
        [
            "# Benchmark\n",
            f"```\n{command}\n```\n",
            f"![latency by runtime]({PLOT_NAME})\n",
            *(table.markdown() for table in tables(run, benchmark)),
            *(f"- {markdown_text(note)}" for note in notes),
            "",
        ]
    )
