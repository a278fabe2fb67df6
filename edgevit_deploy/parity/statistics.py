"""What may be concluded from counts of pictures: intervals, a paired test, calibration, and how many pictures would decide."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""

CALIBRATION_BINS = 15
"""As in Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 5."""

FEW_PICTURES = 30
"""With fewer, a bootstrap over pictures is known to be too narrow."""

MOST_PICTURES = 10**9
"""Beyond this many, a question is not decided by more pictures."""


def few(pictures: int) -> str:
    """Say that so many pictures, fewer than `FEW_PICTURES`, tell little."""
    return f"{pictures} pictures are few: intervals that are drawn from fewer than {FEW_PICTURES} are too narrow"


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion; (0, 1) of nothing.

    Source: E. B. Wilson, Probable Inference (JASA 22, 1927), without continuity correction.
    """
    return _wilson(successes / count, count) if count else (0.0, 1.0)


def _wilson(share: float, count: float) -> tuple[float, float]:
    spread = Z_95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return (0.0 if share == 0 else max(0.0, middle - half)), (1.0 if share == 1 else min(1.0, middle + half))


def paired_difference(losses: int, gains: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of (losses - gains) / count: how much smaller a second proportion of the same cases is.

    Even without any loss it is not empty: three losses in a thousand may well not show in a thousand pictures.

    Source: D. G. Bonett and R. M. Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
    Paired Data (Journal of Educational and Behavioral Statistics 37, 2012), recommended by Fagerland, Lydersen and Laake
    (Statistics in Medicine 33, 2014).

    Args:
        losses: cases that are right the first time only.
        gains: cases that are right the second time only.
        count: all cases.
    """
    return _paired_difference(losses, gains, count) if count else (-1.0, 1.0)


def _paired_difference(losses: float, gains: float, count: float) -> tuple[float, float]:
    lost, gained = (losses + 1) / (count + 2), (gains + 1) / (count + 2)
    half = Z_95 * math.sqrt((lost + gained - (lost - gained) ** 2) / (count + 2))
    return max(-1.0, lost - gained - half), min(1.0, lost - gained + half)


def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided p of McNemar's exact test: how likely so uneven a split is if both directions are equally likely."""
    discordant, places = b + c, np.arange(min(b, c) + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, discordant + 1)))])
    logs = log_factorials[-1] - log_factorials[places] - log_factorials[discordant - places] - discordant * math.log(2)
    return min(1.0, 2 * float(np.exp(logs).sum()))


def expected_calibration_error(
    confidences: NDArray[np.floating], right: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Return how far confidence is from accuracy: the mean over bins of equal width, weighted by how many pictures each has.

    Args:
        confidences: of the first class, 0 to 1, (n,).
        right: whether it is the right class, (n,).
        bins: how many; a confidence at a border belongs to the lower one.
    """
    if not len(confidences):
        return 0.0
    places = np.clip(np.ceil(np.asarray(confidences, dtype=np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    confidence = np.bincount(places, weights=confidences, minlength=bins)
    accuracy = np.bincount(places, weights=right, minlength=bins)
    return float(np.abs(confidence - accuracy).sum() / len(confidences))


def pictures_for_share(share: float, bound: float) -> int | None:
    """Return how many pictures put the lower end of the interval of a share at a bound; None where no number does."""
    return _fewest(lambda count: _wilson(share, count)[0] >= bound) if share > bound else None


def pictures_for_difference(lost: float, gained: float, bound: float) -> int | None:
    """Return how many pictures put the upper end of a paired difference at a bound, of such shares; None where no number does."""
    if lost - gained >= bound:
        return None
    return _fewest(lambda count: _paired_difference(lost * count, gained * count, count)[1] <= bound)


def _fewest(decides: Callable[[int], bool]) -> int | None:
    """Return the smallest count that decides, where all larger ones do too."""
    high = 1
    while not decides(high):
        high *= 2
        if high > MOST_PICTURES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
