"""Whether a map of classes names the same class as the truth, pixel by pixel; ties inside the bound are counted, not judged.

A file whose outputs are within a bound of the truth may name another class only where the truth's first class leads by at most
twice the bound: the first may lose that much and the second win it. Such a pixel is a tie, and either class is right for it. All
others are decided: there the file must name the truth's class, and not one may differ. So what is demanded of the agreement has
no number of its own: it is all pixels but those that are ties.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelAgreement:
    """The pixels of some probes.

    Attributes:
        pixels: how many there are.
        agreeing: of them, with the truth's first class.
        ties: of them, where the truth's first class leads by at most twice the bound.
        wrong: of those that are no ties, with another first class, or with an output that is not finite.
    """

    pixels: int
    agreeing: int
    ties: int
    wrong: int

    @property
    def share(self) -> float:
        """The share of all pixels that agree."""
        return self.agreeing / self.pixels if self.pixels else 0.0

    @property
    def ok(self) -> bool:
        """Whether every pixel that is no tie agrees."""
        return self.wrong == 0

    @property
    def sane(self) -> bool:
        """Whether such counts can be: a report may have been read from anyone's manifest."""
        decided = self.pixels - self.ties
        return 0 <= self.ties <= self.pixels and 0 <= self.wrong <= decided and 0 <= self.agreeing <= self.pixels - self.wrong

    def sentence(self) -> str:
        """Say what agrees and what cannot be asked."""
        return (
            f"{self.agreeing:,} of {self.pixels:,} pixels have the truth's class. In {self.ties:,} of them it leads by at most "
            f"twice the bound, so that either class is right; of all others {self.wrong:,} differ."
        )


def pixel_agreement(exact: NDArray[np.float64], actual: NDArray[np.float64], atol: float) -> PixelAgreement:
    """Compare the first classes of two maps (probes, classes, height, width).

    Args:
        exact: the truth.
        actual: of the file.
        atol: the bound of the outputs.
    """
    pixels = agreeing = ties = wrong = 0
    for true, own in zip(exact, actual, strict=True):  # one picture at a time: a map may be large
        first, lead = _first_and_lead(true)
        same = (own.argmax(axis=0) == first) & np.isfinite(own).all(axis=0)
        tie = lead <= 2 * atol
        pixels += same.size
        agreeing += int(same.sum())
        ties += int(tie.sum())
        wrong += int((~same & ~tie).sum())
    return PixelAgreement(pixels=pixels, agreeing=agreeing, ties=ties, wrong=wrong)


def _first_and_lead(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first class of each pixel of (classes, height, width), and by how much it leads; one class leads without end."""
    first = scores.argmax(axis=0)
    if len(scores) == 1:
        return first, np.full(first.shape, np.inf)
    top_two = np.partition(scores, -2, axis=0)[-2:]
    return first, np.asarray(top_two[1] - top_two[0])
