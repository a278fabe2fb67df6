"""Two folders change places in one call, where the system has one: no moment without the one or the other."""

import ctypes
import os
import sys
from pathlib import Path

RENAME_EXCHANGE = 2
"""Linux's renameat2 and macOS's renamex_np (there RENAME_SWAP) have the same number for it."""

AT_FDCWD = -100


def exchange(one: Path, other: Path) -> bool:
    """Exchange what two names stand for, atomically; False, with nothing changed, where system or disk cannot.

    Source: renameat2(2) of Linux 3.15 and later; renamex_np(2) of macOS 10.12 and later.
    """
    names = [os.fsencode(path) for path in (one, other)]
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            status = libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
        elif sys.platform == "darwin":
            status = libc.renamex_np(names[0], names[1], RENAME_EXCHANGE)
        else:
            return False
    except (AttributeError, OSError, TypeError):  # a C library without the call
        return False
    return int(status) == 0
