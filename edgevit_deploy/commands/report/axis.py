"""The logarithmic axis on which the page draws errors, noise and bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgevit_deploy.parity.gate import NOT_FINITE, OutputDiff

WIDEST_AXIS = (-15, 6)
"""The powers of ten that the error axis can show; an error beyond them is drawn at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A power of ten on the error axis; positions are from 0 to 100."""

    position: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis from 10**low to 10**high, drawn from 0 to 100."""

    low: int
    high: int

    def position(self, value: float) -> float:
        """Return where a value lies, from 0 to 100; what is outside is put at the end."""
        if value <= 0:
            return 0.0
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return every power of ten on it, the ends too."""
        powers = range(self.low, self.high + 1)
        return tuple(Tick(position=self.position(10.0**power), text=f"1e{power}") for power in powers)


def axis_for(diffs: Sequence[OutputDiff]) -> Axis:
    """Return whole decades that hold every error, noise and bound of the page, so that its bars can be compared."""
    shown = [value for diff in diffs for value in (diff.error, diff.tolerance.atol, diff.tolerance.noise)]
    lowest, highest = WIDEST_AXIS
    powers = [min(max(math.log10(value), lowest), highest) for value in shown if 0 < value < NOT_FINITE]
    low = math.floor(min(powers, default=lowest))
    return Axis(low=low, high=max(math.ceil(max(powers, default=highest)), low + 1))
