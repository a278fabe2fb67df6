"""Files from outside: read only if they are regular, and never more than is expected.

A name may lead to a pipe that never answers, to a device that never ends, or to more than the memory holds. Whatever is wrong is
an `OSError` whose `strerror` says it.
"""

import errno
import glob
import os
import shutil
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

StrPath = str | Path
"""How a caller of the library may name a file."""

NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

CHUNK_BYTES = 1 << 16

OF_THE_NAME = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EPERM", "EINVAL", "ELOOP", "ENAMETOOLONG", "EILSEQ"),
        *("ENXIO", "ENODEV", "EOPNOTSUPP", "ETXTBSY", "EBUSY", "EFBIG", "EOVERFLOW", "ESTALE"),
    )
    if hasattr(errno, name)
)
"""Errors that are about the one file that a name leads to; any other is about the machine: its memory, descriptors, disk."""


def is_of_the_machine(error: BaseException) -> bool:
    """Say whether the system refused what has nothing to do with the file that was to be read: others would fare no better."""
    if isinstance(error, OSError):
        return (
            error.errno is not None and error.errno not in OF_THE_NAME
        )  # libraries raise some without a number for bad contents
    return isinstance(error, MemoryError)


def optional_path(path: StrPath | None) -> Path | None:
    """Return a path that may not have been given."""
    return None if path is None else Path(path)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for anything.

    Raises:
        OSError: there is none, or it is a folder, a pipe, a socket or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NEVER_WAIT)
    except ValueError as error:  # a zero byte or a lone surrogate in the name
        raise OSError(errno.EINVAL, "no file can have this name") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a regular file whole.

    Raises:
        OSError: as `open_regular`, or it has more than `max_bytes` bytes.
    """
    with open_regular(path) as file:
        # A buffer is made for all that is asked for. What the kernel makes as it is read says that it is empty, or a page.
        data = file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
        while len(data) <= max_bytes and (more := file.read(min(max_bytes + 1 - len(data), CHUNK_BYTES))):
            data += more
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes")
    return data


def unfinished(path: Path) -> Path:
    """Return the name beside a file or folder under which this process writes it; what killed ones have left there is removed."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.unfinished-*"):
        if not _is_alive(leftover.name.rpartition("-")[2]):
            remove(leftover)
    return path.with_name(f".{path.name}.unfinished-{os.getpid()}")


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that can be; a link is removed, not followed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _is_alive(process: str) -> bool:
    """Say whether a process of that number may still run; anything but a number is somebody else's."""
    if not (process.isascii() and process.isdecimal() and len(process) < 10):
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def real_path(path: Path) -> Path:
    """Return where a name leads, all links followed; `Path.resolve` would raise where they lead in a circle."""
    return Path(os.path.realpath(path))


def is_folder(path: Path) -> bool:
    """Say whether there is a folder; any name may be asked for, also one that leads in a circle or to where nobody may look."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def is_regular(path: Path) -> bool:
    """Say whether there is a regular file; any name may be asked for."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
