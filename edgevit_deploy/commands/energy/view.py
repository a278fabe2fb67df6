"""What `convert.py energy` shows, and the record that other commands read."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import say
from edgevit_deploy.commands.pages import Table

if TYPE_CHECKING:
    from edgevit_deploy.measure.energy.result import Energy, Reading

TAIL_SHARE = 0.1
"""Of an inference, from which its tail is worth a word."""

COLUMNS = ("inferences", "mJ each", "95 % of the mean", "std", "W", "ms each", "background W", "may be wrong by", "top-1 % / mJ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was run, and where: the name of the record, the bundle's identity or nothing, and the device as the user calls it."""

    name: str
    bundle: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Top1:
    """How often the network is right, and who says so.

    Attributes:
        share: of the pictures, 0 to 1.
        interval: 95 % interval of it; None where only a figure was given.
        source: what says it.
    """

    share: float
    interval: tuple[float, float] | None
    source: str

    def per_mj(self, energy: "Energy") -> float:
        """Return percent of top-1 for a millijoule."""
        return 100 * self.share / energy.mean_mj

    def per_mj_interval(self, energy: "Energy") -> tuple[float, float]:
        """Return the 95 % interval of that; both figures are uncertain on their own, so their squares add up."""
        low, high = energy.interval_mj
        own = 0.0 if self.interval is None or not self.share else (self.interval[1] - self.interval[0]) / 2 / self.share
        half = math.hypot((high - low) / 2 / energy.mean_mj, own)
        return self.per_mj(energy) * (1 - half), self.per_mj(energy) * (1 + half)


def document(reading: "Reading", energy: "Energy", ran: Ran, top1: Top1 | None) -> dict[str, object]:
    """Return the result as the one JSON document."""
    trace = reading.trace
    return {
        "energy": {
            "name": ran.name,
            "bundle": ran.bundle,
            "device": ran.device,
            "runs": energy.runs,
            "used": energy.used,
            "per_region": energy.per_region,
            "mean_mj": energy.mean_mj,
            "interval_mj": energy.interval_mj,
            "std_mj": energy.std_mj,
            "mean_w": energy.mean_w,
            "std_w": energy.std_w,
            "mean_ms": energy.mean_ms,
            "background_w": energy.background_w,
            "error_share": energy.error_share,
            "energies_mj": energy.energies_mj,
            "durations_ms": energy.durations_ms,
        },
        "top1": top1,
        "top1_percent_per_mj": None if top1 is None else top1.per_mj(energy),
        "top1_percent_per_mj_interval": None if top1 is None else top1.per_mj_interval(energy),
        "doubts": energy.doubts,
        "trace": {
            "source": trace.source,
            "duration_s": trace.duration_s,
            "cell_s": trace.cell_s,
            "cells": len(trace.power_w),
            "missing_cells": int((~trace.known).sum()),
        },
        "regions_s": (trace.start_s + reading.regions.spans * trace.cell_s).tolist() if reading.regions is not None else [],
        "notes": energy.notes,
    }


def summary(energy: "Energy") -> str:
    """Say the result in one line."""
    low, high = energy.interval_mj
    return (
        f"{energy.mean_mj:.4g} mJ each (95 % of the mean: {low:.4g} to {high:.4g}), std {energy.std_mj:.3g}, "
        f"{energy.mean_w:.3g} W above {energy.background_w:.3g} W, {energy.mean_ms:.4g} ms, "
        f"{energy.used} of {energy.runs} inferences"
    )


def table(energy: "Energy", name: str, top1: Top1 | None) -> Table:
    """Return the result as a table of one row."""
    low, high = energy.interval_mj
    row = [
        f"{energy.used} of {energy.runs}",
        f"{energy.mean_mj:.4g}",
        f"{low:.4g} to {high:.4g}",
        f"{energy.std_mj:.3g}",
        f"{energy.mean_w:.3g} (std {energy.std_w:.2g})",
        f"{energy.mean_ms:.4g}",
        f"{energy.background_w:.3g}",
        f"{energy.error_share:.2%}",
        "" if top1 is None else f"{top1.per_mj(energy):.3g}",
    ]
    return Table(title=f"energy of an inference above the background: {name}", columns=COLUMNS, rows=[row])


def lines(reading: "Reading", energy: "Energy", top1: Top1 | None) -> list[str]:
    """Say in words what the figures mean and how far they can be trusted."""
    trace, regions = reading.trace, reading.regions
    said = [
        f"{trace.source}: {trace.duration_s:.2f} s in cells of {1000 * trace.cell_s:.4g} ms. Background: a line between the "
        "mean power of the pauses beside each inference. The standard deviation is from one inference to the next, noise "
        "included.",
        "may be wrong by: two standard deviations of what the trace itself shows (noise, restless background, edges between "
        "samples); the meter's own scale is not in it.",
    ]
    if regions is not None and regions.tail_s > TAIL_SHARE * energy.mean_ms / 1000:
        said.append(f"power falls for {1000 * regions.tail_s:.1f} ms after an inference; that is counted as its own")
    if top1 is not None:
        low, high = top1.per_mj_interval(energy)
        said.append(
            f"top-1 {top1.share:.2%} ({top1.source}): {top1.per_mj(energy):.4g} % for a millijoule "
            f"(95 %: {low:.4g} to {high:.4g})"
        )
    return [*said, *energy.notes]


def print_energy(reading: "Reading", energy: "Energy", name: str, top1: Top1 | None) -> None:
    """Print everything that people read."""
    table(energy, name, top1).print()
    for line in lines(reading, energy, top1):
        say(line)
