"""Tables of FlatBuffers from outside, read field by field, by number in the published schema.

The library has no verifier in Python and believes what a buffer says of itself. Here a list is held against the buffer and
against the largest that is expected, since items may share their bytes: the size of a file is then no bound. Tables may be shared
too, so what all lists of a buffer hold together is counted as they are read.
"""

import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from flatbuffers.number_types import Float32Flags, SOffsetTFlags, Uint32Flags, Uint64Flags, VOffsetTFlags
from flatbuffers.table import Table
from numpy.typing import NDArray

MAX_ITEMS = 1 << 16
MAX_FIELDS = 64
MAX_TEXT_BYTES = 1 << 10
"""Of one list and of one text: far more than an EdgeViT has."""

MAX_ITEMS_IN_ALL = 1 << 20
"""Of all lists that are read of one buffer, counted as often as they are read; a file of ours has some thousands."""

MAX_READINGS = 8
"""How often the bytes of a buffer may be read as texts and lists of numbers, on the average; none shared, once or twice."""

DAMAGED = (struct.error, TypeError, IndexError, UnicodeDecodeError)
"""What comes out of a buffer whose tables point outside of it; the library raises the first two itself."""


class TooManyError(Exception):
    """A list or a text is longer than any that is expected, as a sentence about the file without its end."""


@dataclass(slots=True)
class Budget:
    """What may still be read of one buffer.

    Attributes:
        items: of lists, each of which becomes an object.
        list_bytes: of texts, and of lists of numbers that stay one object.
    """

    items: int
    list_bytes: int

    def take(self, items: int, list_bytes: int) -> None:
        """Count what is read.

        Raises:
            TooManyError: it is more than any file of ours has.
        """
        self.items -= items
        self.list_bytes -= list_bytes
        if min(self.items, self.list_bytes) < 0:
            raise TooManyError(
                f"its lists together are longer than {MAX_ITEMS_IN_ALL} items, or than the file is many times over"
            )


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table of a FlatBuffer. What points outside raises one of `DAMAGED`, what is too long `TooManyError`."""

    raw: Table
    budget: Budget

    @classmethod
    def root(cls, buffer: bytes) -> Self:
        """Return the table that a buffer starts from."""
        return cls(
            Table(buffer, Table(buffer, 0).Indirect(0)), Budget(MAX_ITEMS_IN_ALL, MAX_ITEMS_IN_ALL + MAX_READINGS * len(buffer))
        )

    @property
    def place(self) -> int:
        """Where it lies in the buffer: tables of one place are one table."""
        return int(self.raw.Pos)

    def fields(self) -> tuple[int, ...]:
        """Return the numbers of the fields that are there."""
        layout = self.raw.Pos - self.raw.Get(SOffsetTFlags, self.raw.Pos)
        count = (self.raw.Get(VOffsetTFlags, layout) - 4) // 2
        if count > MAX_FIELDS:
            raise TooManyError(f"a table has {count} fields, expected at most {MAX_FIELDS}")
        return tuple(field for field in range(count) if self.has(field))

    def number(self, field: int, kind: Any = Uint64Flags) -> int:
        """Return a whole number of one of the library's types, 0 where the field is absent."""
        return int(self.raw.GetSlot(4 + 2 * field, 0, kind))

    def real(self, field: int) -> float:
        """Return a float32 number, 0 where the field is absent."""
        return float(self.raw.GetSlot(4 + 2 * field, 0.0, Float32Flags))

    def text(self, field: int) -> str:
        """Return a text, empty where the field is absent."""
        return str(self.content(field, MAX_TEXT_BYTES), "utf-8")

    def content(self, field: int, most: int) -> bytes:
        """Return a list of bytes, at most so many, empty where the field is absent."""
        start, length = self._vector(field, item_bytes=1, most=most)
        return bytes(self.raw.Bytes[start : start + length])

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return a list of whole numbers of 32 bits without a sign, empty where the field is absent."""
        start, count = self._vector(field, item_bytes=4, most=MAX_ITEMS)
        return struct.unpack_from(f"<{count}I", self.raw.Bytes, start)

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """Return a list of numbers where it lies in the buffer, however long, empty where the field is absent."""
        kind = np.dtype(dtype)
        start, count = self._vector(field, item_bytes=kind.itemsize, most=None)
        return np.frombuffer(self.raw.Bytes, kind, count, start)

    def has(self, field: int) -> bool:
        """Say whether a field is there."""
        return bool(self.raw.Offset(4 + 2 * field))

    def child(self, field: int) -> Self:
        """Return a table that must be there."""
        if not (offset := self.raw.Offset(4 + 2 * field)):
            raise IndexError(field)
        return self._at(self.raw.Pos + offset)

    def children(self, field: int) -> list[Self]:
        """Return a list of tables, empty where the field is absent."""
        start, count = self._vector(field, item_bytes=4, most=MAX_ITEMS)
        return [self._at(start + 4 * item) for item in range(count)]

    def texts(self, field: int) -> tuple[str, ...]:
        """Return a list of texts, empty where the field is absent."""
        start, count = self._vector(field, item_bytes=4, most=MAX_ITEMS)
        return tuple(str(self._content(start + 4 * item, 1, MAX_TEXT_BYTES), "utf-8") for item in range(count))

    def _at(self, place: int) -> Self:
        return type(self)(Table(self.raw.Bytes, self.raw.Indirect(place)), self.budget)

    def _content(self, place: int, item_bytes: int, most: int) -> bytes:
        start, length = self._items(self.raw.Indirect(place), item_bytes, most)
        return bytes(self.raw.Bytes[start : start + length])

    def _vector(self, field: int, item_bytes: int, most: int | None) -> tuple[int, int]:
        """Return where its items are and how many."""
        if not (offset := self.raw.Offset(4 + 2 * field)):
            return 0, 0
        return self._items(self.raw.Indirect(self.raw.Pos + offset), item_bytes, most)

    def _items(self, place: int, item_bytes: int, most: int | None) -> tuple[int, int]:
        """Return where the items of a list are and how many; the library would believe any number, and cut off a text."""
        start, count = place + 4, int(self.raw.Get(Uint32Flags, place))
        if start + count * item_bytes > len(self.raw.Bytes):
            raise IndexError(count)
        if most is not None and count > most:
            raise TooManyError(f"it has a list or text of {count} items, expected at most {most}")
        numbers_or_text = most is None or item_bytes == 1
        self.budget.take(0 if numbers_or_text else count, count * item_bytes if numbers_or_text else 0)
        return start, count
