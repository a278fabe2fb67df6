"""Decisions: counts against their definition, the interval's end and not the share, and outputs that are not finite."""

import numpy as np
import pytest

from edgevit_deploy.parity.decisions import MIN_AGREEMENT, NO_CLASS, SHOWN_FLIPS, Decisions, Flipped, first_classes, widest


def decisions(agreeing: int, pictures: int, min_agreement: float = MIN_AGREEMENT) -> Decisions:
    return Decisions(pictures=pictures, agreeing=agreeing, min_agreement=min_agreement, digest="", broken=0, flips=())


@pytest.mark.parametrize(
    ("agreeing", "pictures", "ok"),
    [(10_000, 10_000, True), (9_920, 10_000, True), (9_800, 10_000, False), (189, 189, True), (188, 188, False), (40, 40, False)],
)
def test_the_lower_end_decides(agreeing: int, pictures: int, ok: bool) -> None:
    """n of n has the lower end n / (n + 1.96^2), by Wilson: 98 % takes 188.2 pictures."""
    assert decisions(agreeing, pictures).ok is ok


def test_a_file_that_could_pass_with_more_says_how_many() -> None:
    assert "with 189 pictures" in decisions(40, 40).sentence()
    assert "would pass" not in decisions(30, 40).sentence()


def test_first_classes_and_leads() -> None:
    first, leads = first_classes(np.array([[1.0, 3.0, 2.5], [4.0, 0.0, 1.0], [np.nan, 9.0, 1.0], [np.inf, 0.0, 0.0]]))
    assert first.tolist() == [1, 0, NO_CLASS, NO_CLASS]
    assert leads[:2].tolist() == [0.5, 3.0]


def test_the_widest_flips_are_shown() -> None:
    flips = [Flipped(picture=f"{n:02}", network=0, file=1, margin=float(n)) for n in range(30)]
    assert [flip.picture for flip in widest(iter(flips))] == [f"{n:02}" for n in range(29, 29 - SHOWN_FLIPS, -1)]
