"""The first things that a worker process does: keep its pipes for messages, end with its parent, and stay within its memory."""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import IO


def begin(memory_bytes: str, lifeline: str) -> None:
    """Set the limits that the parent gave on the command line, before any library is imported.

    Args:
        memory_bytes: how much this process may allocate; 0 for any amount.
        lifeline: descriptor of a pipe that closes when the parent dies, however that happens; -1 for none.
    """
    if int(memory_bytes):
        _limit_memory(int(memory_bytes))
    if int(lifeline) >= 0:
        threading.Thread(target=_end_with_parent, args=(int(lifeline),), daemon=True).start()


def take_over_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return the child's stdin and stdout for messages alone; whatever a library prints goes to stderr from here on."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _limit_memory(size: int) -> None:
    """Limit what may be allocated: Linux counts private writable memory, and not what libraries only reserve or map."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _end_with_parent(lifeline: int) -> None:
    """Wait until the parent is gone, and end this process and what it has started (they are one process group)."""
    with suppress(OSError):
        os.read(lifeline, 1)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
