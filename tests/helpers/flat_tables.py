"""FlatBuffers made by hand, field by field, as no converter would write them."""

from collections.abc import Callable, Mapping, Sequence

import flatbuffers

Place = Callable[[flatbuffers.Builder, int], None]
"""Puts one field, by its number, into the table that a builder has open."""


def table(builder: flatbuffers.Builder, fields: Mapping[int, Place]) -> int:
    """Write one table of a FlatBuffer; fields are by their number in the schema."""
    builder.StartObject(max(fields, default=0) + 1)
    for field, place in fields.items():
        place(builder, field)
    return int(builder.EndObject())


def refer(offset: int) -> Place:
    """A field that points to a table, a text or a list."""
    return lambda builder, field: builder.PrependUOffsetTRelativeSlot(field, offset, 0)


def tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> Place:
    """A field that is a list of tables."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return refer(builder.EndVector())


def text(builder: flatbuffers.Builder, content: str) -> Place:
    """A field that is a text."""
    return refer(builder.CreateString(content))
