"""How much memory this process has used, and how much the machine has."""

import os
import platform
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int | None:
    """Return the peak resident memory of this process, or None where the system does not tell.

    On Linux not getrusage: its figure starts with that of the process which started this one.
    """
    if platform.system() == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if not STATUS.exists():
        return None
    peaks_kib = [int(line.split()[1]) for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
    return 1024 * peaks_kib[0] if peaks_kib else None


def physical_memory_bytes() -> int | None:
    """Return how much memory the machine has, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def address_space_bytes() -> int | None:
    """Return how much address space this process may take (`ulimit -v`), or None where it is not limited."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def address_space_note() -> str:
    """Return the end of a sentence about a failure, where this process's address space is limited: few libraries say so."""
    limit = address_space_bytes()
    if limit is None:
        return ""
    return f"; memory is limited to {limit / 2**30:.3g} GiB here (`ulimit -v`), which may be why: lift the limit"
