"""What the user demands of each bundle, and how it stands to that."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgevit_deploy.measure.statistics import pictures_for_difference, pictures_for_share

if TYPE_CHECKING:
    from edgevit_deploy.measure.accuracy.result import Pairing

Demand = Literal["--min-agreement", "--max-drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A bound that the user set, against the end of the interval that could break it.

    Attributes:
        flag: that set it.
        bound: what it was set to.
        value: the share or the drop itself.
        end: of its 95 % interval: the lower one of the agreement, the upper one of the drop.
        needed: pictures at which such shares would pass; None where no number would.
    """

    flag: Demand
    bound: float
    value: float
    end: float
    needed: int | None

    @property
    def ok(self) -> bool:
        """Whether the whole interval is on the right side."""
        return self.end >= self.bound if self.flag == "--min-agreement" else self.end <= self.bound

    @property
    def undecided(self) -> bool:
        """Whether the value itself is on the right side, so that more pictures may decide."""
        return not self.ok and self.needed is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the user demands of each bundle; None is no demand."""

    min_agreement: float | None = None
    max_drop: float | None = None

    def flags(self) -> tuple[Demand, ...]:
        """Return the flags of what is demanded."""
        demands: dict[Demand, float | None] = {"--min-agreement": self.min_agreement, "--max-drop": self.max_drop}
        return tuple(flag for flag, demand in demands.items() if demand is not None)

    def gates(self, pairing: "Pairing") -> Iterator[Gate]:
        """Yield how a bundle stands to each demand."""
        count = max(1, pairing.pictures)
        if self.min_agreement is not None:
            share = pairing.agreement
            needed = pictures_for_share(share.value, self.min_agreement)
            yield Gate(flag="--min-agreement", bound=self.min_agreement, value=share.value, end=share.interval[0], needed=needed)
        if self.max_drop is not None:
            lost, gained = pairing.right_to_wrong / count, pairing.wrong_to_right / count
            needed = pictures_for_difference(lost, gained, self.max_drop)
            yield Gate(flag="--max-drop", bound=self.max_drop, value=pairing.drop, end=pairing.drop_interval[1], needed=needed)
