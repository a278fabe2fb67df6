"""The program in a child of its own where its address space is limited: libraries abort there while they are loaded.

A limit of the address space (`ulimit -v`) is the one fault that reaches the main process itself, since it also holds for loading
PyTorch. The parent is forked before anything is imported, so it is small; it says how the child ended, and clears what it left.
"""

import contextlib
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

LEAST_BYTES = 3 * 2**28
"""PyTorch cannot be loaded in less. Where memory ends while modules are imported, libraries wait for ever for a thread that they
are refused, and CPython 3.11 itself turns in a circle where it has no 32 bytes for an exception that it is handling."""

GRACE_S = 20
"""Of a process that was asked to end: one that turns in such a circle hears nothing."""

OWN_CODES = (0, 1, 2, 3, 130)
"""Exit codes of the program; the loader of the system has others, 127 for example."""

ENDED = b"ended"
"""What a supervised process says last. A library that cannot have a thread (OpenMP's) may end the process with code 1 and no line
of ours; places are absolute paths, so that none is called this."""

RESERVE_BYTES = 2**25
"""Kept free for the last words of a process whose memory has run out: an error line takes objects, and colours more of them."""

_reserve: mmap.mmap | None = None

_told: int | None = None
"""Where a supervised process says what it writes, and that it ends; None where nobody supervises."""


def supervise(clear: Callable[[Path], None]) -> None:
    """Return in the process that is to go on; the parent of it, where there is one, ends here with its status.

    Args:
        clear: removes what a killed process has left beside the place of a bundle.
    """
    global _reserve, _told
    from edgevit_deploy.process.memory import address_space_bytes, address_space_note

    limit, note = address_space_bytes(), address_space_note()
    if limit is None or not hasattr(os, "fork"):
        return
    if limit < LEAST_BYTES:
        print(f"error: this needs {LEAST_BYTES / 2**30:g} GiB at least{note}", file=sys.stderr)  # noqa: T201
        os._exit(1)
    heard, _told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        os.setpgid(0, 0)  # so that Ctrl-C in a terminal comes once, from the parent
        _reserve = mmap.mmap(-1, RESERVE_BYTES)
        sys.unraisablehook = lambda _: None  # what a destructor meets without memory is no news
        return
    os.close(_told)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: _end(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os.set_blocking(heard, False)  # a process that outlives it may hold the other end
    with os.fdopen(heard, "rb") as lines:
        places = [line for line in (lines.read() or b"").split(b"\0") if line]
    if code in OWN_CODES and (ENDED in places or code != 1):
        os._exit(code)
    for place in places:
        with contextlib.suppress(Exception):  # what is in the way here is left to the next run
            clear(Path(os.fsdecode(place)))
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    print(f"error: the program {how}{note}", file=sys.stderr, flush=True)  # noqa: T201 - too small for the console
    os._exit(1)


def _end(child: int, number: int) -> None:
    os.kill(child, number)
    signal.alarm(GRACE_S)


def writes(place: Path) -> None:
    """Say at which place a bundle is being written, in case this process cannot clear it itself."""
    _tell(os.fsencode(place.absolute()))


def make_room() -> None:
    """Give back what was kept for the last words of this process."""
    if _reserve is not None:
        _reserve.close()


def ends() -> None:
    """Say that this process ends by itself, and has said why."""
    _tell(ENDED)


def _tell(line: bytes) -> None:
    if _told is not None:
        os.write(_told, line + b"\0")
