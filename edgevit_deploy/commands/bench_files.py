"""What `convert.py bench --output` writes: a page, the JSON document, and a plot; all of them, or nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from edgevit_deploy.commands.bench_output import Run, Table, document, explanation, setting, tables
from edgevit_deploy.commands.bench_plot import svg_plot
from edgevit_deploy.errors import UsageError

if TYPE_CHECKING:
    from edgevit_deploy.benchmark_result import Benchmark

PAGE_NAME, DOCUMENT_NAME, PLOT_NAME = "bench.md", "bench.json", "bench.svg"


def check_folder(output: Path, bundles: Sequence[Path]) -> None:
    """Refuse a folder for the files before anything is timed.

    Raises:
        UsageError: it lies in a bundle, which would then no longer verify, or it is a file.
    """
    for bundle in bundles:
        if output.resolve().is_relative_to(bundle.resolve()):
            raise UsageError(f"--output {output} lies in the bundle {bundle}, which would then no longer verify; put it beside")
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")


def write_files(run: Run, benchmark: "Benchmark", command: str, output: Path) -> None:
    """Write the three files into a folder, over those of an earlier run.

    Args:
        run: what was found out.
        benchmark: of the run.
        command: the command line that makes these files, which the page states.
        output: the folder, made if need be.

    Raises:
        UsageError: the folder cannot be written.
    """
    contents = {
        PAGE_NAME: _page(run, benchmark, command),
        DOCUMENT_NAME: msgspec.json.format(msgspec.json.encode(document(run)), indent=1).decode() + "\n",
        PLOT_NAME: svg_plot(benchmark.results, setting(benchmark)),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            unfinished = output / f".{name}.unfinished"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(output / name)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}; use --output with a folder that can be written") from error


def _page(run: Run, benchmark: "Benchmark", command: str) -> str:
    notes = [*explanation(run, benchmark), *(f"warning: {warning}" for warning in benchmark.warnings())]
    return "\n".join(
        [
            "# Benchmark\n",
            f"```\n{command}\n```\n",
            f"![latency by runtime]({PLOT_NAME})\n",
            *(_markdown(table) for table in tables(run, benchmark)),
            *(f"- {_cell(note)}" for note in notes),
            "",
        ]
    )


def _markdown(table: Table) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([f"## {table.title}\n", *lines, ""])


def _cell(cell: str | Text) -> str:
    return str(cell).replace("\n", ", ").replace("|", "\\|").replace("<", "&lt;")
