"""The vectors that every language of the samples is held to are Pillow's."""

import json

import numpy as np

from tests.helpers.vectors import SIZES, VECTORS, made, vectors


def test_they_are_what_pillow_makes() -> None:
    assert VECTORS.read_bytes() == vectors()


def test_a_picture_is_made_as_the_file_says() -> None:
    """One step after another, as a reader in another language would write it."""
    state, values = 7, []
    for _ in range(3 * 5 * 4):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state)
    for kind, byte in (("noise", lambda s: s >> 24), ("extremes", lambda s: 255 * (s >> 31))):
        expected = np.array([byte(state) for state in values], dtype=np.uint8).reshape(4, 5, 3)
        assert np.array_equal(made(7, kind, 5, 4), expected)


def test_they_hold_what_resizing_gets_wrong() -> None:
    sizes = [(entry["size"], entry["resized"]) for entry in json.loads(VECTORS.read_bytes())["resize"]]
    assert len(sizes) == SIZES
    assert any(size == resized for size, resized in sizes)
    assert any(1 in size for size, _ in sizes)
    assert any(1 in resized for _, resized in sizes)
    assert any(size[1] == 4 * size[0] and size[0] > 1 for size, _ in sizes)
    smaller = sum(resized[0] < size[0] and resized[1] < size[1] for size, resized in sizes)
    larger = sum(resized[0] > size[0] and resized[1] > size[1] for size, resized in sizes)
    assert smaller > 50
    assert larger > 50
