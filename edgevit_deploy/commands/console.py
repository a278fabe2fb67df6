"""What people read: progress and tables on stderr; and the one JSON document on stdout."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import PurePath

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

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
    """Return the console for people; made anew each time, so that a redirected stderr is honoured."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """Print one line for people."""
    stderr().print(escape(text))


def print_error(text: str) -> None:
    """Print one error line."""
    stderr().print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def print_json(document: object) -> None:
    """Print the one JSON document on stdout."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document, enc_hook=_encode_path), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def _encode_path(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


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
        console = Console(stderr=True, highlight=False, width=WIDTH_OF_A_FILE)
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
    table = Table(title=escape(title), title_justify="left")
    kept = [index for index, column in enumerate(columns) if column not in left_out]
    for index in kept:
        table.add_column(columns[index], overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in (row[index] for index in kept)))
    return table


@contextmanager
def progress(label: str) -> Iterator[Callable[[str], None]]:
    """Show which step of `label` runs and for how long: a spinner on a terminal, one line a step elsewhere."""
    console = stderr()
    if not console.is_terminal:
        start = time.monotonic()
        yield lambda text: console.print(escape(f"[{time.monotonic() - start:5.1f} s] {label}: {text}"))
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(label))
        yield lambda text: bar.update(task, description=escape(f"{label}: {text}"))
