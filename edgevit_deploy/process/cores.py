"""How many cores this process may use, which are fewer than the machine's under taskset or in a container."""

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy, at least one.

    Args:
        root: below which `proc` and `sys` are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(root)]))


def _quotas(root: Path) -> list[int]:
    """Return the whole cores that its cgroup (version 2) and those around it grant."""
    found = []
    for folder in _cgroups(root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            granted_us, period_us = (root / "sys/fs/cgroup" / folder / "cpu.max").read_text(encoding="ascii").split()
            found.append(int(granted_us) // int(period_us))  # granted is the word "max" where there is no limit
    return found


def _cgroups(root: Path) -> list[PurePosixPath]:
    """Return the process's own cgroup and those around it, as folders below `sys/fs/cgroup`."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    return [] if own is None else [PurePosixPath(own), *PurePosixPath(own).parents]
