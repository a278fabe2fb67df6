"""What people read: progress and tables on stderr; and the one JSON document on stdout."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

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


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table for people; a str cell is shown as it is, brackets too, a coloured one is a `Text`."""
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console = stderr()
    if not console.is_terminal:
        console = Console(stderr=True, highlight=False, width=160)
    console.print(table)


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
