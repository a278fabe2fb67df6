"""Intervals and tests against published examples and other people's implementations."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve

from edgevit_deploy.parity.statistics import (
    expected_calibration_error,
    mcnemar_exact,
    paired_difference,
    pictures_for_difference,
    pictures_for_share,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_newcombes_example(successes: int, count: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3."""
    assert wilson(successes, count) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (1, 1), (3, 7), (8899, 10_000), (10_000, 10_000), (49_999, 50_000)])
def test_wilson_is_scipys(successes: int, count: int) -> None:
    theirs = stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert wilson(successes, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_nothing_is_known_of_no_picture() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert paired_difference(0, 0, 0) == (-1.0, 1.0)
    assert expected_calibration_error(np.empty(0), np.empty(0, dtype=bool)) == 0


def test_the_paired_interval_is_fagerlands_example() -> None:
    """Complete response before and after consolidation therapy (Cavo et al., 2012), as the R package contingencytables 3.1 says.

    Its test suite has -0.1195 to -0.0032 for this method, from 6 and 16 discordant pairs of 161.
    """
    assert paired_difference(6, 16, 161) == pytest.approx((-0.1195, -0.0032), abs=5e-5)
    low, high = paired_difference(16, 6, 161)
    assert (-high, -low) == pytest.approx(paired_difference(6, 16, 161))


@pytest.mark.parametrize(
    ("lost", "gained", "count"), [(0.01, 0.01, 300), (0.02, 0.005, 300), (0.1, 0.05, 100), (0.003, 0.0, 500)]
)
def test_the_paired_interval_covers_the_truth(lost: float, gained: float, count: int) -> None:
    """Over every outcome, weighted by its probability: at least 94 % of them, and the plain Wald interval does not."""
    covered = plainly = 0.0
    for losses in range(math.ceil(count * (lost + 6 * math.sqrt(lost / count))) + 1):
        for gains in range(math.ceil(count * (gained + 6 * math.sqrt(gained / count))) + 1):
            probability = stats.multinomial.pmf([losses, gains, count - losses - gains], count, [lost, gained, 1 - lost - gained])
            low, high = paired_difference(losses, gains, count)
            covered += probability * (low <= lost - gained <= high)
            b, c = losses / count, gains / count
            half = 1.96 * math.sqrt((b + c - (b - c) ** 2) / count)
            plainly += probability * (b - c - half <= lost - gained <= b - c + half)
    assert covered >= 0.94
    assert plainly < covered


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 5), (6, 16), (10, 10), (150, 86), (1, 9_999), (30_000, 29_000)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    theirs = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(theirs, rel=1e-8, abs=1e-300)


def test_mcnemar_is_the_published_example() -> None:
    """Cavo et al. again: the exact conditional test gives 0.052479."""
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.3 and 0.4 with one right of two, 0.9 twice with both right."""
    confidences, right = np.array([0.3, 0.4, 0.9, 0.9]), np.array([True, False, True, True])
    expected = 0.5 * abs(0.35 - 0.5) + 0.5 * abs(0.9 - 1.0)
    assert expected_calibration_error(confidences, right, bins=2) == pytest.approx(expected)


def test_calibration_error_is_scikit_learns_curve() -> None:
    random = np.random.default_rng(3)
    confidences = random.uniform(0.1, 1, 4000)
    right = random.uniform(size=4000) < confidences**2  # too confident
    accuracy, confidence = calibration_curve(right, confidences, n_bins=15, strategy="uniform")
    counts, _ = np.histogram(confidences, bins=15, range=(0, 1))
    theirs = np.abs(accuracy - confidence) @ counts[counts > 0] / 4000
    assert expected_calibration_error(confidences, right) == pytest.approx(theirs, abs=1e-9)
    calibrated = random.uniform(size=4000) < confidences
    assert expected_calibration_error(confidences, calibrated) < expected_calibration_error(confidences, right) / 3


@pytest.mark.parametrize("bins", [1, 15])
def test_a_confidence_at_an_end_is_in_a_bin(bins: int) -> None:
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True]), bins=bins) == pytest.approx(0)


@pytest.mark.parametrize(("share", "bound"), [(1.0, 0.99), (0.999, 0.99), (0.95, 0.9)])
def test_as_many_pictures_as_are_needed(share: float, bound: float) -> None:
    needed = pictures_for_share(share, bound)
    assert needed is not None
    if share == 1:
        assert wilson(needed, needed)[0] >= bound > wilson(needed - 1, needed - 1)[0]
    larger, smaller = 10_000 * needed, needed // 2
    assert wilson(round(share * larger), larger)[0] > bound > wilson(round(share * smaller), smaller)[0]


def test_more_pictures_do_not_make_a_bad_share_good() -> None:
    assert pictures_for_share(0.98, 0.99) is None
    assert pictures_for_share(0.99, 0.99) is None
    assert pictures_for_difference(0.02, 0.005, 0.01) is None


@pytest.mark.parametrize(("lost", "gained", "bound"), [(0.0, 0.0, 0.01), (0.004, 0.002, 0.01), (0.001, 0.01, 0.001)])
def test_as_many_pictures_as_a_difference_needs(lost: float, gained: float, bound: float) -> None:
    needed = pictures_for_difference(lost, gained, bound)
    assert needed is not None
    for count, enough in ((2 * needed, True), (needed // 2, False)):
        assert (paired_difference(round(lost * count), round(gained * count), count)[1] <= bound) is enough
