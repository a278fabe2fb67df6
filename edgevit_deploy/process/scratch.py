"""Folders for files that are not kept."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgevit_deploy.errors import UsageError

COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_USERS_COMPILER_CACHE = os.environ.get(COMPILER_CACHE)
"""Where the user, or the process that started this one, keeps what PyTorch compiles."""


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


@contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """Give a fresh folder inside of the one that a file is being written to.

    After an error it stays, and goes with that folder: removed earlier, it could no longer be seen that it has filled the disk.
    """
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix=".scratch-"))
    yield scratch
    shutil.rmtree(scratch)


def use_for_temporary_files(folder: Path) -> None:
    """Let this process, its libraries and what it starts put their temporary files into a folder, and what they leave of them.

    PyTorch would remember the first such folder for its compiler's cache, and make it again when that is long gone.
    """
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    if not _USERS_COMPILER_CACHE:
        os.environ[COMPILER_CACHE] = str(folder / "compiler-cache")


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let this process put its temporary files into a folder for a while, and then where it did before."""
    before, variables = tempfile.tempdir, {name: os.environ.get(name) for name in ("TMPDIR", COMPILER_CACHE)}
    use_for_temporary_files(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
