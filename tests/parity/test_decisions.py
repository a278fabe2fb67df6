"""Decisions: counts against their definition, the interval's end and not the share, and outputs that are not finite."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edgevit_deploy.parity.decisions import (
    MIN_AGREEMENT,
    NO_CLASS,
    SHOWN_FLIPS,
    Decisions,
    Flipped,
    Sample,
    first_classes,
    widest,
)


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


@pytest.mark.parametrize(
    ("agreeing", "pictures", "ok", "failed", "says"),
    [
        (200, 200, True, False, "at least 98.00% asked for"),
        (299, 300, True, False, "at least 98.00% asked for"),
        (199, 200, False, False, "neither shows nor rules out the 98.00%"),
        (20, 20, False, False, "neither shows nor rules out the 98.00%"),
        (11, 12, False, False, "neither shows nor rules out the 98.00%"),
        (190, 200, False, True, "which rules out the 98.00%"),
        (0, 20, False, True, "which rules out the 98.00%"),
    ],
)
def test_a_sample_fails_only_where_it_rules_the_bound_out(
    agreeing: int, pictures: int, ok: bool, failed: bool, says: str
) -> None:
    """The upper end of 190 of 200 is 97.26 %; where the file's own runtime ran all pictures, what is not shown has failed."""
    whole = decisions(agreeing, pictures)
    sample = replace(whole, sample=Sample(of=10_000, seed=0, runtime="a walk"))
    assert (sample.ok, sample.failed) == (ok, failed)
    assert (whole.ok, whole.failed) == (ok, not ok)
    assert says in sample.sentence()
    assert "drawn from 10,000 by seed 0, by a walk" in sample.sentence()
    assert "would pass" not in sample.sentence()


@pytest.mark.parametrize(("agreeing", "pictures", "advice"), [(11, 12, ""), (40, 40, "with 189 pictures"), (200, 200, "")])
@pytest.mark.parametrize("broken", [0, 3])
def test_a_small_folder_is_no_sample(agreeing: int, pictures: int, advice: str, broken: int) -> None:
    """Its owner can give more; pictures that cannot be decoded do not make it one."""
    whole = replace(decisions(agreeing, pictures), broken=broken)
    evaluated = replace(whole, sample=Sample(of=pictures + broken, seed=0, runtime="a walk"))
    assert evaluated.failed is whole.failed is not whole.ok
    assert "drawn" not in evaluated.sentence()
    assert "by a walk" in evaluated.sentence()
    assert advice in evaluated.sentence()
    assert "rules out" not in evaluated.sentence()
    one_more = replace(evaluated, sample=Sample(of=pictures + broken + 1, seed=0, runtime="a walk"))
    assert one_more.drawn
    assert not one_more.failed


def test_first_classes_and_leads() -> None:
    first, leads = first_classes(np.array([[1.0, 3.0, 2.5], [4.0, 0.0, 1.0], [np.nan, 9.0, 1.0], [np.inf, 0.0, 0.0]]))
    assert first.tolist() == [1, 0, NO_CLASS, NO_CLASS]
    assert leads[:2].tolist() == [0.5, 3.0]


def test_the_widest_flips_are_shown() -> None:
    flips = [Flipped(picture=f"{n:02}", network=0, file=1, margin=float(n)) for n in range(30)]
    assert [flip.picture for flip in widest(iter(flips))] == [f"{n:02}" for n in range(29, 29 - SHOWN_FLIPS, -1)]


def test_what_an_earlier_version_has_kept_is_still_read() -> None:
    flip = {"picture": "a.png", "network": 0, "file": 1, "margin": 0.5}
    kept = {"pictures": 200, "agreeing": 199, "min_agreement": 0.98, "digest": "", "broken": 0, "flips": [flip]}
    found = msgspec.convert(kept, type=Decisions)
    assert (found.sample, found.failed) == (None, True)
    assert (found.flips[0].sha256, found.flips[0].file_margin, found.flips[0].label) == ("", None, None)
