"""What `convert.py bench --energy` shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edgevit_deploy.commands.pages import Table

if TYPE_CHECKING:
    from edgevit_deploy.measure.energy.host import HostEnergy

COLUMNS = ("file", "meter", "mJ a run above idle", "95 %", "mJ a run in all", "W above idle", "idle W", "runs")


def energy_table(energies: "Sequence[HostEnergy]") -> Table:
    """Return what each file takes, by each meter."""
    rows = []
    for entry in energies:
        (low, high), idle = entry.interval_mj, [window.watts for window in entry.idle]
        rows.append(
            [
                entry.label,
                entry.meter,
                f"{entry.mean_mj:.4g}",
                f"{low:.4g} to {high:.4g}",
                f"{entry.total_mj:.4g}",
                f"{entry.mean_w:.3g}",
                f"{min(idle):.3g} to {max(idle):.3g}",
                str(sum(window.runs for window in entry.windows)),
            ]
        )
    return Table(title="energy, by the counters of this machine", columns=COLUMNS, rows=rows)


def energy_document(entry: "HostEnergy") -> dict[str, object]:
    """Return what one file takes as a part of the JSON document."""
    return {
        "name": entry.label,
        "meter": entry.meter,
        "mean_mj": entry.mean_mj,
        "interval_mj": entry.interval_mj,
        "total_mj": entry.total_mj,
        "mean_w": entry.mean_w,
        "energies_mj": entry.energies_mj,
        "idle_w": [window.watts for window in entry.idle],
        "windows": msgspec.to_builtins(entry.windows),
    }


def energy_lines(energies: "Sequence[HostEnergy]") -> list[str]:
    """Say in words what the figures mean, and what makes them less than trustworthy."""
    if not energies:
        return []
    first = energies[0]
    return [
        f"energy: {len(first.windows)} windows of about {first.windows[0].seconds:.1f} s for each file, shuffled, with all "
        "of them loaded; idle is measured before and after each round, and a straight line through it is subtracted. "
        "A counter sees the whole machine, other "
        "programs too; RAPL sees no disk, screen or power supply. A GPU's counter says nothing about what runs on the CPU.",
        *dict.fromkeys(f"warning: {entry.warning}" for entry in energies if entry.warning),
    ]
