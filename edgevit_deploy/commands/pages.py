"""Tables for the terminal and for Markdown pages, and files that are written together or not at all."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from edgevit_deploy.commands.console import print_table
from edgevit_deploy.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; a coloured cell is a `Text`."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]

    def print(self) -> None:
        """Print it for people."""
        print_table(self.title, self.columns, self.rows)

    def markdown(self) -> str:
        """Return it as a section of a Markdown page."""
        rows = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = ["| " + " | ".join(markdown_text(cell) for cell in row) + " |" for row in rows]
        return "\n".join([f"## {self.title}\n", *lines, ""])


def markdown_text(text: str | Text) -> str:
    """Return text that stays one cell, or one line of a list, and is no HTML."""
    return str(text).replace("\n", ", ").replace("|", "\\|").replace("<", "&lt;")


def write_together(folder: Path, contents: Mapping[str, str]) -> None:
    """Write text files into a folder, over those of an earlier run; whatever happens, none is left half-written.

    Args:
        folder: made if need be.
        contents: file name -> text.

    Raises:
        UsageError: the folder cannot be written.
    """
    unfinished = {name: folder / f".{name}.unfinished-{os.getpid()}" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            unfinished[name].write_text(text, encoding="utf-8")
        for name, path in unfinished.items():
            path.replace(folder / name)
    except OSError as error:
        raise UsageError(f"--output {folder} cannot be written ({error.strerror}); give a folder that can be written") from error
    finally:
        for path in unfinished.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
