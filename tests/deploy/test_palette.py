"""Tables of 256 values: near the best that there is, the same in every run, and what is stored is what is computed."""

import numpy as np
import pytest
import torch

from edgevit_deploy.deploy.palette import TABLE, PaletteRounding, best_table, nearest

BEST_OF_GAUSSIAN_DB = 10 * np.log10(TABLE**2 / (np.sqrt(3) * np.pi / 2))
"""Panter and Dite 1951: the signal to noise ratio of the best scalar quantiser of many levels, for a normal distribution."""


def gaussian(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def decibels(values: np.ndarray, rounded: np.ndarray) -> float:
    return float(10 * np.log10(np.square(values).sum() / np.square(values - rounded).sum()))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_is_near_the_best_for_what_it_is_made_of(seed: int) -> None:
    values = gaussian(100_000, seed)
    table = best_table(values)
    reached = decibels(values, table[nearest(values, table)])
    even = np.linspace(values.min(), values.max(), TABLE)
    assert reached > BEST_OF_GAUSSIAN_DB - 0.5
    assert reached > decibels(values, even[nearest(values, even)]) + 2


@pytest.mark.parametrize("count", [1, 2, 255, 256])
def test_few_different_values_are_kept_as_they_are(count: int) -> None:
    values = np.tile(gaussian(count), 3)
    table = best_table(values)
    assert len(table) == TABLE
    np.testing.assert_array_equal(table[nearest(values, table)], values)


def test_a_place_is_that_of_the_nearest_value() -> None:
    values, table = gaussian(3000), np.sort(gaussian(TABLE, seed=2))
    by_hand = np.abs(values[:, None] - table).argmin(axis=1)
    np.testing.assert_array_equal(table[nearest(values, table)], table[by_hand])


def test_of_equal_values_the_first_place_is_taken() -> None:
    table = np.repeat(np.arange(TABLE // 2, dtype=np.float32), 2)
    assert nearest(np.array([3.0, 3.4], np.float32), table).tolist() == [6, 6]


def test_the_order_of_the_values_is_of_no_account() -> None:
    values = gaussian(5000)
    np.testing.assert_array_equal(best_table(values), best_table(values[::-1].reshape(50, 100)))


@pytest.mark.parametrize("half", [True, False])
def test_what_is_stored_is_what_is_computed(half: bool) -> None:
    weight = torch.from_numpy(gaussian(20 * 6 * 9).reshape(20, 6, 3, 3)) / 8
    rounding = PaletteRounding(weight, half=half)
    table, places = rounding.scales.numpy(), rounding.integers(weight).numpy().astype(int) + TABLE // 2
    assert table.dtype == np.float32
    assert (table == table.astype(np.float16).astype(np.float32)).all() == half
    assert (np.diff(table) >= 0).all()
    np.testing.assert_array_equal(table[places].reshape(weight.shape), rounding(weight).numpy())
    assert decibels(weight.numpy(), rounding(weight).numpy()) > BEST_OF_GAUSSIAN_DB - 1
