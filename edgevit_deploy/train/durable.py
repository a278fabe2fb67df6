"""Files that are there whole or not at all, whatever ends the process or the machine."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import unfinished


def replace_durably(contents: Mapping[Path, bytes], *, kept: Mapping[Path, Path] | None = None) -> None:
    """Write files beside their places, flush them to the disk, and rename them into place.

    Args:
        contents: place -> bytes.
        kept: place -> name that the file there gets, before the new one takes its place.

    Raises:
        UsageError: a place cannot be written; nothing half-written stays.
    """
    for path, content in contents.items():
        beside = unfinished(path)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if kept and path in kept and path.exists():
                path.replace(kept[path])
            beside.replace(path)
            _flush_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise UsageError(f"{path} cannot be written ({error.strerror}); make room or give another --output") from error


def _flush_folder(folder: Path) -> None:
    """Make renames outlast a loss of power, where the system lets folders be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
