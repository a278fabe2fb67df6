"""A lock file that dies with its process: held by one run, refused to a second one, and gone afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgevit_deploy.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, place: Path) -> Iterator[None]:
    """Hold a lock file for the time of a `with` block; a killed holder's lock is free at once.

    Args:
        path: of the lock file.
        place: what it is for, for the error.

    Raises:
        UsageError: another process holds it.
        OSError: it cannot be made.
    """
    descriptor = _acquire(path, place)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is still held, so that nobody's else is removed
        os.close(descriptor)


def _acquire(path: Path, place: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"another run is writing {place}; wait for its end, or give another --output") from None
        except OSError:  # a disk without locks
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its holder has removed it meanwhile


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
