"""Counters of energy that a host has: of its processors, through Linux's powercap, and of its NVIDIA GPUs, through NVML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.outside.files import is_folder, read_bounded

POWERCAP = Path("/sys/class/powercap")
MAX_BYTES = 4096


class Meter(Protocol):
    """A counter of energy that only rises while it is read often enough."""

    @property
    def name(self) -> str:
        """What it counts."""
        ...

    def read_j(self) -> float:
        """Return the joules since the meter was made.

        Raises:
            RunError: the counter can no longer be read.
        """
        ...


@dataclass(slots=True, kw_only=True)
class _Package:
    """One domain of powercap: its file, where it begins anew, and what was counted so far, in microjoules."""

    file: Path
    wrap_uj: int
    last_uj: int
    counted_uj: int = 0

    def advance(self) -> None:
        now_uj = _number(self.file)
        step_uj = now_uj - self.last_uj
        self.counted_uj += step_uj if step_uj >= 0 else step_uj + self.wrap_uj
        self.last_uj = now_uj


@dataclass(slots=True, kw_only=True)
class Rapl:
    """The packages of a machine (Intel and AMD), added up; cores, graphics and memory controllers are within them.

    A package's counter begins anew after minutes of full load, so it must be read more often than that.
    """

    names: tuple[str, ...]
    _packages: list[_Package] = field(repr=False)

    @property
    def name(self) -> str:
        """What it counts."""
        return f"RAPL {' + '.join(self.names)}"

    def read_j(self) -> float:
        """Return the joules since the meter was made."""
        try:
            for package in self._packages:
                package.advance()
        except (OSError, ValueError) as error:
            raise RunError(f"{self.name}: the counter can no longer be read ({error}); measure again") from error
        return sum(package.counted_uj for package in self._packages) / 1e6


@dataclass(slots=True, kw_only=True)
class Nvml:
    """The boards of a machine's NVIDIA GPUs, added up, memory included."""

    count: int
    _nvml: Any = field(repr=False)
    _handles: list[Any] = field(repr=False)
    _first_mj: int = 0

    @property
    def name(self) -> str:
        """What it counts."""
        return f"NVML, {self.count} GPU{'s' if self.count > 1 else ''}"

    def read_j(self) -> float:
        """Return the joules since the meter was made."""
        try:
            total_mj = sum(int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) for handle in self._handles)
        except self._nvml.NVMLError as error:
            raise RunError(f"{self.name}: the counter can no longer be read ({error}); measure again") from error
        return (total_mj - self._first_mj) / 1000


def find_meters(root: Path | None = None) -> tuple[Meter, ...]:
    """Find the counters of this host.

    Args:
        root: powercap's folder of sysfs; this machine's when None.

    Raises:
        MissingError: there is none that can be read; why, in one line.
    """
    found: list[Meter] = []
    reasons: list[str] = []
    for find in (lambda: find_rapl(root or POWERCAP), find_nvml):
        meter = find()
        if isinstance(meter, str):
            reasons.append(meter)
        else:
            found.append(meter)
    if not found:
        raise MissingError(
            f"no counter of energy can be read here: {'; '.join(reasons)}. Drop --energy, or record a trace of a power meter and "
            "use `energy`"
        )
    return tuple(found)


def find_rapl(root: Path) -> Rapl | str:
    """Return the packages' meter, or why there is none."""
    if not is_folder(root):
        return f"{root} is not there (virtual machines and containers mostly hide it)"
    packages, names, unreadable = [], [], ""
    for folder in sorted(root.glob("intel-rapl:*")):  # the driver's name, on AMD too; memory-mapped twins have another
        if folder.name.count(":") != 1:
            continue  # a part of a package
        try:
            name = read_bounded(folder / "name", MAX_BYTES).decode("ascii", "replace").strip()
            if not name.startswith("package"):
                continue  # psys is the whole board, packages included
            wrap_uj = _number(folder / "max_energy_range_uj")
            packages.append(_Package(file=folder / "energy_uj", wrap_uj=wrap_uj, last_uj=_number(folder / "energy_uj")))
            names.append(name)
        except OSError as error:
            unreadable = f"{folder / 'energy_uj'} cannot be read ({error.strerror}): run as root, or `sudo chmod a+r` that file"
        except ValueError as error:
            unreadable = f"{folder} holds what no counter does ({error})"
    if unreadable:  # some of the packages are not the machine
        return unreadable
    return Rapl(names=tuple(names), _packages=packages) if packages else f"{root} has no package of a processor"


def find_nvml() -> Nvml | str:
    """Return the GPUs' meter, or why there is none."""
    try:
        import pynvml
    except ImportError:
        return "NVML needs nvidia-ml-py (`pip install nvidia-ml-py`)"
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        meter = Nvml(count=len(handles), _nvml=pynvml, _handles=handles)
        meter._first_mj = sum(int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) for handle in handles)
    except pynvml.NVMLError as error:
        return f"NVML counts no energy here ({error})"
    return meter if handles else "NVML sees no GPU"


def _number(path: Path) -> int:
    value = int(read_bounded(path, MAX_BYTES))
    if not 0 <= value < 2**64:
        raise ValueError(f"{path.name} is {value}")
    return value
