"""The host's facts on which latencies depend, and how many threads it has for us."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this host tells about itself; None where it does not.

    `cores_for_us` is how many of the cores this process may use; the load average is of the minute before it was read.
    """

    system: str
    cpu: str
    cores: int
    cores_for_us: int
    governor: str | None
    load_average_1min: float | None
    python: str
    libraries: dict[str, str]

    def describe(self) -> str:
        """Return one line for people."""
        load = "not readable" if self.load_average_1min is None else f"{self.load_average_1min:.2f}"
        return (
            f"{self.cpu}, {self.cores_for_us} of {self.cores} cores, {self.system}, governor {self.governor or 'not readable'}, "
            f"load average before {load}."
        )


def read_machine(packages: set[str]) -> Machine:
    """Read what this host tells about itself.

    Args:
        packages: distributions whose installed versions matter.
    """
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        cores_for_us=_cores_for_us(),
        governor=governor.read_text(encoding="utf-8").strip() if governor.is_file() else None,
        load_average_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        python=platform.python_version(),
        libraries={name: version for name in sorted(packages) if (version := _installed_version(name))},
    )


def check_threads(threads: int) -> None:
    """Refuse more threads than there are cores for them.

    Raises:
        UsageError: with the number of cores.
    """
    cores = _cores_for_us()
    if not 1 <= threads <= cores:
        raise UsageError(f"--threads {threads}: this process may use {cores} cores; use --threads 1 to {cores}")


def _cores_for_us() -> int:
    if hasattr(os, "sched_getaffinity"):  # fewer than cpu_count under taskset or in a container
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    """Return the CPU's name; on Linux x86 with family and model, since virtual machines call several generations by one name."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    first_core = info.read_text(encoding="utf-8").partition("\n\n")[0]
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first_core.splitlines())}
    name = facts.get("model name", platform.processor() or platform.machine())
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
