"""Tables for the terminal and for Markdown pages, and files that are written together or not at all."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from edgevit_deploy.commands.console import print_table
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import unfinished
from edgevit_deploy.outside.text import writable


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


def check_folder(output: Path | None) -> None:
    """Refuse a folder for the files of a command before its work is done.

    Raises:
        UsageError: it lies in a bundle, which would then no longer verify, or it is a file, or a link that leads nowhere.
    """
    from edgevit_deploy.bundle.place import check_outside_bundles

    if output is None:
        return
    check_outside_bundles(output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")
    if output.is_symlink() and not output.exists():
        raise UsageError(f"--output {output} is a link that leads nowhere; name a folder")


def write_together(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files into the folder that --output names, over those of an earlier run.

    Args:
        folder: made if need be.
        contents: file name -> text, or bytes of a picture.

    Raises:
        UsageError: the folder cannot be written; no file is left half-written.
    """
    write_beside({folder / name: content for name, content in contents.items()}, output=folder)


def write_beside(contents: Mapping[Path, str | bytes], *, output: Path) -> None:
    """Write each content beside its place, and move all into place at the end: none is ever there half-written.

    Args:
        contents: place -> text or bytes; its folder is made if need be.
        output: what --output names, for the error.

    Raises:
        UsageError: a place cannot be written.
    """
    beside: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside[path] = unfinished(path)
            beside[path].write_bytes(content if isinstance(content, bytes) else writable(content).encode())
        for path, written in beside.items():
            written.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--output {output} cannot be written ({reason}); give another place") from error
    finally:
        for written in beside.values():
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
