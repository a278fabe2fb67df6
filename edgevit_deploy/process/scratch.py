"""Folders for files that are not kept."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgevit_deploy.errors import UsageError


def temporary_folder() -> Path | None:
    """Return where temporary files go, None where there is no such place."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a fresh folder that is removed at the end.

    Raises:
        UsageError: no temporary folder can be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(f"no temporary folder can be written ({error.strerror or error}); set TMPDIR to one that can") from error
    with folder as path:
        yield Path(path)
