"""Tables of FlatBuffers made by hand: what is read of them, and that nothing they claim is believed."""

import struct

import flatbuffers
import numpy as np
import pytest

from edgevit_deploy.outside.flat_table import (
    DAMAGED,
    MAX_FIELDS,
    MAX_ITEMS,
    MAX_ITEMS_IN_ALL,
    MAX_TEXT_BYTES,
    FlatTable,
    TooManyError,
)
from tests.helpers.flat_tables import refer, table, tables, text

FLOATS = (0.5, -2.0, 3.25)


def buffer(*, names: int = 2, letters: int = 3) -> bytes:
    """A table with a list of names (0), numbers (1), a table (2), a list of it twice (3) and nothing (4)."""
    builder = flatbuffers.Builder(64)
    written = [builder.CreateString("n" * letters) for _ in range(min(names, 2))]
    texts = tables(builder, [written[0]] * (names - 1) + [written[-1]])
    builder.StartVector(4, len(FLOATS), 4)
    for value in reversed(FLOATS):
        builder.PrependFloat32(value)
    numbers = refer(builder.EndVector())
    inner = table(builder, {0: text(builder, "inner")})
    both = tables(builder, [inner, inner])
    builder.Finish(table(builder, {0: texts, 1: numbers, 2: refer(inner), 3: both, 5: lambda b, f: b.PrependInt32Slot(f, 7, 0)}))
    return bytes(builder.Output())


def test_fields_are_read_by_their_number() -> None:
    root = FlatTable.root(buffer())
    assert root.texts(0) == ("nnn", "nnn")
    np.testing.assert_array_equal(root.array(1, "<f4"), np.array(FLOATS, np.float32))
    assert root.child(2).text(0) == "inner"
    assert [child.text(0) for child in root.children(3)] == ["inner", "inner"]
    assert [root.has(field) for field in range(7)] == [True, True, True, True, False, True, False]


def test_an_absent_field_is_empty() -> None:
    root = FlatTable.root(buffer())
    assert (root.texts(4), root.array(4, "<f4").tolist(), root.children(4), root.text(4)) == ((), [], [], "")
    with pytest.raises(DAMAGED):
        root.child(4)


@pytest.mark.parametrize(("names", "letters"), [(MAX_ITEMS + 1, 1), (2, MAX_TEXT_BYTES + 1)])
def test_a_list_that_is_longer_than_expected_is_not_read(names: int, letters: int) -> None:
    with pytest.raises(TooManyError, match="expected at most"):
        FlatTable.root(buffer(names=names, letters=letters)).texts(0)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 16])
def test_a_claimed_length_is_held_against_the_buffer(claimed: int) -> None:
    content = bytearray(buffer())
    place = content.index(struct.pack("<If", len(FLOATS), FLOATS[0]))
    struct.pack_into("<I", content, place, claimed)
    with pytest.raises(DAMAGED):
        FlatTable.root(bytes(content)).array(1, "<f4")


def test_no_cut_gives_another_error() -> None:
    content = buffer()
    refused = 0
    for end in range(len(content)):
        try:
            root = FlatTable.root(content[:end])
            (root.texts(0), root.array(1, "<f4"), root.child(2).text(0), root.children(3))
        except DAMAGED:
            refused += 1
    assert refused > len(content) // 2


def test_lists_that_are_shared_are_counted_as_often_as_they_are_read() -> None:
    """Each is short enough by itself; that of one table counts for another of the same buffer."""
    root = FlatTable.root(buffer(names=MAX_ITEMS))
    for _ in range(MAX_ITEMS_IN_ALL // MAX_ITEMS):
        root.numbers(0)
    assert root.child(2).budget is root.budget
    with pytest.raises(TooManyError, match="its lists together are longer"):
        root.numbers(0)
    again = FlatTable.root(buffer())
    assert again.numbers(0), "another buffer has a budget of its own"


def test_texts_and_lists_of_numbers_are_counted_by_their_bytes() -> None:
    root = FlatTable.root(buffer(letters=MAX_TEXT_BYTES))
    root.budget.list_bytes = 2 * MAX_TEXT_BYTES + 12
    root.texts(0)
    root.array(1, "<f4")
    with pytest.raises(TooManyError, match="its lists together are longer"):
        root.array(1, "<f4")


def test_which_fields_are_there() -> None:
    assert FlatTable.root(buffer()).fields() == (0, 1, 2, 3, 5)


def test_fields_beyond_any_schema_are_not_looked_for() -> None:
    """One table of absent fields may be shared by thousands, and each costs time."""
    builder = flatbuffers.Builder(64)
    builder.Finish(table(builder, {MAX_FIELDS: lambda b, f: b.PrependInt32Slot(f, 7, 0)}))
    with pytest.raises(TooManyError, match=f"a table has {MAX_FIELDS + 1} fields, expected at most {MAX_FIELDS}"):
        FlatTable.root(bytes(builder.Output())).fields()
