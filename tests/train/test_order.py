"""Which picture comes when does not depend on how many processes share a batch."""

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.order import Order, Turn
from edgevit_deploy.train.recipe import changed
from tests.helpers.training import QUICK

RECIPE = changed(QUICK, {"batch_size": 24, "epochs": 3.0})
PICTURES = 100


def order(parts: int = 1, **choices: object) -> Order:
    return Order(pictures=PICTURES, recipe=changed(RECIPE, choices), parts=parts)


def batches(parts: int, **choices: object) -> list[list[list[Turn]]]:
    """For each update, the parts of its batch."""
    made = order(parts, **choices)
    each = [[list(made.turns(segment, 0, [part])) for part in range(parts)] for segment in made.segments()]
    return [list(update) for segment in each for update in zip(*segment, strict=True)]


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 12])
def test_parts_make_up_the_same_batch(parts: int) -> None:
    whole, cut = batches(1), batches(parts)
    assert len(whole) == len(cut) == 12
    for (all_turns,), some in zip(whole, cut, strict=True):
        assert len({len(part) for part in some}) == 1
        assert sorted(turn for part in some for turn in part) == sorted(all_turns)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_picture_is_mixed_with_the_same_one_whatever_the_parts(parts: int) -> None:
    """Mixup pairs the first of what it is given with the last, and so on."""
    for (all_turns,), some in zip(batches(1), batches(parts), strict=True):
        partner = dict(zip(all_turns, reversed(all_turns), strict=True))
        for part in some:
            assert [partner[turn] for turn in part] == part[::-1]


def test_an_epoch_shows_a_picture_once_and_another_epoch_another_order() -> None:
    epochs: dict[int, list[int]] = {}
    for (turns,) in batches(1):
        for turn in turns:
            epochs.setdefault(turn.epoch, []).append(turn.picture)
    assert len(epochs) == 3
    assert all(len(set(pictures)) == len(pictures) == 96 for pictures in epochs.values())
    assert len({tuple(pictures) for pictures in epochs.values()}) == 3


def test_another_seed_is_another_order() -> None:
    assert batches(1) == batches(1, seed=0)
    assert batches(1) != batches(1, seed=1)


def test_repeats_stand_in_one_batch_and_are_told_apart() -> None:
    for (turns,) in batches(1, repeats=3):
        assert len({turn.picture for turn in turns}) == 8
        assert {turn.repeat for turn in turns} == {0, 1, 2}
        assert len({(turn.picture, turn.repeat) for turn in turns}) == len(turns)


def test_the_size_changes_between_two_updates_of_an_epoch() -> None:
    made = order(small_epochs=1.5, image_size=64)
    segments = [(item.epoch, item.first, item.stop, item.image_size) for item in made.segments()]
    assert segments == [(0, 0, 4, 32), (1, 4, 6, 32), (1, 6, 8, 64), (2, 8, 12, 64)]
    once = [
        turn.picture
        for segment in made.segments()
        for (turns) in made.turns(segment, 0, [0])
        for turn in turns
        if turn.epoch == 1
    ]
    assert len(set(once)) == len(once) == 96


def test_a_training_goes_on_in_the_middle_of_an_epoch() -> None:
    made = order()
    segment = made.segments()[1]
    assert list(made.turns(segment, 6, [0])) == list(made.turns(segment, 0, [0]))[2:]


@pytest.mark.parametrize(
    ("parts", "batch_size", "message"),
    [
        (1, 128, "--batch-size 128: there are 100 training pictures; give at most that many"),
        (3, 32, "3 equal parts (processes x --accumulate) of an even number each cannot be made of it; the nearest"),
        (3, 32, "the nearest that works: 30 or 36"),
        (1, 25, "the nearest that works: 24 or 26"),
        (8, 6, "the nearest that works: 16"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(parts: int, batch_size: int, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        order(parts, batch_size=batch_size).check()
    assert message in str(refused.value)


@pytest.mark.parametrize(("epochs", "small_epochs"), [(3.0, 3.0), (3.0, 2.9), (0.3, 0.2)], ids=["equal", "rounded up", "of one"])
def test_a_training_that_never_reaches_the_final_size_is_refused(epochs: float, small_epochs: float) -> None:
    with pytest.raises(UsageError, match=rf"^--small-epochs {small_epochs:g}: .* none is left at --image-size 64; lower it"):
        order(epochs=epochs, small_epochs=small_epochs, image_size=64).check()


@pytest.mark.parametrize(("epochs", "small_epochs"), [(3.0, 0.0), (3.0, 0.1), (3.0, 2.7), (0.01, 0.01)])
def test_one_update_at_the_final_size_is_enough(epochs: float, small_epochs: float) -> None:
    made = order(epochs=epochs, small_epochs=small_epochs, image_size=64)
    made.check()
    assert made.segments()[-1].image_size == 64
