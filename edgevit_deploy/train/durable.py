"""Files that are there whole or not at all, whatever ends the process or the machine."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import unfinished
from edgevit_deploy.process.interrupts import INTERRUPTS


def replace_durably(contents: Mapping[Path, bytes], *, kept: Mapping[Path, Path] | None = None) -> None:
    """Write files beside their places, flush them to the disk, and rename them into place; Ctrl-C waits until each is there.

    Args:
        contents: place -> bytes.
        kept: place -> name that the file there gets, before the new one takes its place.

    Raises:
        UsageError: a place cannot be written; nothing half-written stays.
    """
    for path, content in contents.items():
        try:
            with INTERRUPTS.held():
                _replace(path, content, kept.get(path) if kept else None)
        except OSError as error:
            raise UsageError(f"{path} cannot be written ({error.strerror}); make room or give another --output") from error


def _replace(path: Path, content: bytes, kept: Path | None) -> None:
    beside = unfinished(path)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if kept is not None and path.exists():
            path.replace(kept)
        beside.replace(path)
        _flush_folder(path.parent)
    finally:  # of whatever ends it; in its place it has that name no more
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make renames outlast a loss of power, where the system lets folders be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
