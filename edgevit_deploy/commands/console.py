"""What people read: progress and tables on stderr; and the one JSON document on stdout.

What is said may come from a bundle, a checkpoint or a file name of anyone's, so all of it goes through `printable` here.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgevit_deploy.errors import RunError
from edgevit_deploy.outside.text import json_for_a_terminal, printable
from edgevit_deploy.process.supervisor import make_room

WIDTH_OF_A_FILE = 160
"""Of tables that go to no terminal."""

WIDEST = 10_000
"""Of a table that is measured; a terminal's own width would cap what it wants."""

STYLES = {
    "passed": "green",
    "built, not run": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "yes": "green",
    "no": "yellow",
}


def stderr() -> Console:
    """Return the console for people; made anew each time, so that a redirected stderr is honoured, and one that is closed."""
    if sys.stderr is None or sys.stderr.closed:
        return Console(file=io.StringIO(), highlight=False, emoji=False)
    return Console(stderr=True, highlight=False, emoji=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """Print one line for people."""
    stderr().print(_safe(text))


def print_error(text: str) -> None:
    """Print one error line, also where there is no memory for colours."""
    make_room()
    try:
        stderr().print(f"[bold red]error:[/] {_safe(text)}", soft_wrap=True)
    except (MemoryError, SystemError):  # the second is Python's own, short of memory
        os.write(2, f"error: {printable(text)}\n".encode())


def print_json(document: object) -> None:
    """Print the one JSON document on stdout.

    Raises:
        RunError: stdout is closed, full, or a pipe that nobody reads.
    """
    try:
        sys.stdout.buffer.write(json_for_a_terminal(document))
        sys.stdout.buffer.flush()
    except (OSError, ValueError, AttributeError) as error:  # closed before the start: there is no stdout, or one without a file
        _drop_stdout()
        reason = error.strerror if isinstance(error, OSError) else "it is closed"
        raise RunError(f"the JSON document could not be written to stdout ({reason}); redirect stdout to a file") from error


def _drop_stdout() -> None:
    """Send to nowhere what Python would try to write to a broken stdout once more at the end, with a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _safe(text: str) -> str:
    """Return one line of text that neither a terminal nor rich's markup obeys."""
    return escape(printable(text))


def status(text: str) -> Text:
    """Colour a status word; the word itself always says it too."""
    return Text(text, style=STYLES.get(text, ""))


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], optional: Sequence[str] = ()
) -> Set[str]:
    """Print a table for people; a str cell is shown as it is, brackets too, a coloured one is a `Text`.

    Args:
        title: above it.
        columns: their headings.
        rows: one cell for each column.
        optional: columns that are left out where the terminal is too narrow for all, the first of them first.

    Returns:
        Which columns were left out.
    """
    console = stderr()
    if not console.is_terminal:
        console = Console(file=console.file, highlight=False, emoji=False, width=WIDTH_OF_A_FILE)
    left_out: set[str] = set()
    table = _table(title, columns, rows, left_out)
    for column in optional:
        if console.measure(table, options=console.options.update(max_width=WIDEST)).maximum <= console.width:
            break
        left_out.add(column)
        table = _table(title, columns, rows, left_out)
    console.print(table)
    return left_out


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], left_out: Set[str]) -> Table:
    table = Table(title=_safe(title), title_justify="left")
    kept = [index for index, column in enumerate(columns) if column not in left_out]
    for index in kept:
        table.add_column(columns[index], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[index]) for index in kept))
    return table


def _cell(content: str | Text) -> Text:
    """Return a cell; text of several lines is a cell of several lines."""
    text, style = (content.plain, content.style) if isinstance(content, Text) else (content, "")
    return Text("\n".join(map(printable, text.split("\n"))), style=style)


@contextmanager
def progress(label: str) -> Iterator[Callable[[str], None]]:
    """Show which step of `label` runs and for how long: a spinner on a terminal, one line a step elsewhere."""
    console = stderr()
    if not console.is_terminal:
        start = time.monotonic()
        yield lambda text: console.print(_safe(f"[{time.monotonic() - start:5.1f} s] {label}: {text}"))
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(_safe(label))
        yield lambda text: bar.update(task, description=_safe(f"{label}: {text}"))
