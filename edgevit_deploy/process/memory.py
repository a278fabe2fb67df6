"""How much memory this process has used."""

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
