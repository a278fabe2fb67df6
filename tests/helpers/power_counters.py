"""A machine whose clock and counters are simulated: what runs and what sleeps advances both, so that the energy is known."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRAP_UJ = 50_000_000
"""Small, so that a counter begins anew several times."""


@dataclass(kw_only=True)
class Machine:
    """Two packages under a fake powercap folder.

    Attributes:
        root: of the fake powercap.
        idle_w: drawn by each package when nothing runs.
        warming_w_per_s: by how much more with each second.
    """

    root: Path
    idle_w: float = 8.0
    warming_w_per_s: float = 0.0
    now_s: float = 100.0
    counted_uj: list[float] = field(default_factory=lambda: [0.0, 49_000_000.0])

    def __post_init__(self) -> None:
        for index in range(len(self.counted_uj)):
            self.add_domain(f"intel-rapl:{index}", f"package-{index}", 0)
        self.add_domain("intel-rapl:0:0", "core", 7)
        self.add_domain("intel-rapl:2", "psys", 5)
        self.add_domain("intel-rapl-mmio:0", "package-0", 9)
        self.write()

    def add_domain(self, folder: str, name: str, energy_uj: int) -> None:
        place = self.root / folder
        place.mkdir(parents=True)
        (place / "name").write_text(f"{name}\n")
        (place / "max_energy_range_uj").write_text(f"{WRAP_UJ}\n")
        (place / "energy_uj").write_text(f"{energy_uj}\n")

    def write(self) -> None:
        for index, energy_uj in enumerate(self.counted_uj):
            (self.root / f"intel-rapl:{index}" / "energy_uj").write_text(f"{int(energy_uj) % WRAP_UJ}\n")

    def clock(self) -> float:
        return self.now_s

    def pass_time(self, seconds: float, extra_w: float = 0.0) -> None:
        """Let time pass; the first package does all the work."""
        warm_w = self.warming_w_per_s * (self.now_s - 100.0 + seconds / 2)
        self.now_s += seconds
        for index in range(len(self.counted_uj)):
            self.counted_uj[index] += 1e6 * seconds * (self.idle_w + warm_w + (extra_w if index == 0 else 0.0))
        self.write()


@dataclass(kw_only=True)
class Runner:
    """Stands for a candidate and its session: each run takes some time and some power."""

    machine: Machine
    label: str
    run_s: float
    extra_w: float
    feeds: Any = None
    opened: int = 0

    def session(self, threads: int) -> "Runner":
        self.opened += threads
        return self

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self.opened = 0

    def time_runs(self, feeds: Any, count: int) -> list[float]:
        self.machine.pass_time(count * self.run_s, self.extra_w)
        return [1000 * self.run_s] * count

    @property
    def energy_mj(self) -> float:
        return 1000 * self.run_s * self.extra_w
