"""ExecuTorch programs (`.pte`): what one holds, read without running or importing anything of ExecuTorch.

The exporter asks what the converter has left outside its delegates, the runtime whether a file from anywhere may be loaded. A
`.pte` is a FlatBuffer (the program: operators, delegates, instructions), an extended header that says where it ends, and behind
it segments of raw data (weights, and each delegate's own graph).

Formats: ExecuTorch, schema/program.fbs and schema/extended_header.h, both of release 1.5; FlatBuffers, "Internals".
"""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgevit_deploy.errors import RunError

MAGIC = b"ET12"
HEADER_MAGIC = b"eh00"
HEADER = struct.Struct("<I4s4sIQQQ")
"""Position of the root table, both magics, length of the extended header, and the three sizes that it holds."""

METHOD = "forward"
"""The method that the exporter writes and an app loads."""

BACKEND = "XnnpackBackend"

MAX_PROGRAM_BYTES = 16 << 20
"""About fifty times what an EdgeViT has; the weights are not in it."""

KERNEL_CALL, DELEGATE_CALL = 1, 2
"""Of the union InstructionArguments; the others move values and jump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PteFile:
    """What one file holds.

    Attributes:
        method: its only entry point.
        backends: the backend of each delegate.
        delegate_calls: how often the program enters a delegate.
        operators_outside: operator with its overload -> how often the program calls it, outside every delegate.
        program_bytes: of the FlatBuffer; the rest of the file is data.
    """

    method: str
    backends: tuple[str, ...]
    delegate_calls: int
    operators_outside: dict[str, int]
    program_bytes: int

    def objections(self) -> list[str]:
        """Say why the file is not one of ours: another entry point, or a delegate that would load another library."""
        found = [f"its method is {self.method!r}, expected {METHOD!r}"] if self.method != METHOD else []
        foreign = sorted(set(self.backends) - {BACKEND})
        return [*found, *(f"it has a delegate for {backend!r}, expected {BACKEND!r}" for backend in foreign)]


def read_pte_file(path: Path) -> PteFile:
    """Read a program.

    Raises:
        RunError: not a program, cut off, or with tables that point outside of it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror})") from error
    program, data_bytes = _split(path.name, content)
    try:
        return _read_program(program, data_bytes)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise RunError(f"{path.name} is damaged: a table of its program points outside of it; convert it again") from error


def _split(name: str, content: bytes) -> tuple[bytes, int]:
    """Return the FlatBuffer, and how many bytes of data follow where the extended header says that they do."""
    if len(content) < HEADER.size or content[4:8] != MAGIC or content[8:12] != HEADER_MAGIC:
        raise RunError(f"{name} is no ExecuTorch program: {MAGIC.decode()} and {HEADER_MAGIC.decode()} are not at its start")
    *_, program_bytes, data_start, data_bytes = HEADER.unpack_from(content)
    if not HEADER.size <= program_bytes <= MAX_PROGRAM_BYTES or 0 < data_start < program_bytes:
        raise RunError(f"{name} is damaged: its header says {program_bytes} bytes of program and data at {data_start}")
    expected = max(program_bytes, data_start + data_bytes)
    if len(content) < expected:
        raise RunError(f"{name} is cut off: {len(content)} bytes, its header says {expected}; copy or convert it again")
    return content[:program_bytes], data_bytes


def _read_program(program: bytes, data_bytes: int) -> PteFile:
    root = Table.root(program)
    for segment in root.tables(4):
        if segment.number(0, "<Q") + segment.number(1, "<Q") > data_bytes:
            raise IndexError("a segment")
    (plan,) = _only(root.tables(1), "methods")
    (chain,) = _only(plan.tables(5), "chains of instructions")
    names = [".".join(filter(None, (operator.text(0), operator.text(1)))) for operator in plan.tables(6)]
    backends = tuple(delegate.text(0) for delegate in plan.tables(7))
    calls: Counter[str] = Counter()
    delegate_calls = 0
    for instruction in chain.tables(2):
        kind = instruction.number(0, "<B")
        if kind == KERNEL_CALL:
            calls[names[instruction.table(1).index(0)]] += 1
        elif kind == DELEGATE_CALL:
            backends[instruction.table(1).index(0)]
            delegate_calls += 1
    return PteFile(
        method=plan.text(0),
        backends=backends,
        delegate_calls=delegate_calls,
        operators_outside=dict(calls.most_common()),
        program_bytes=len(program),
    )


def _only(tables: list["Table"], what: str) -> list["Table"]:
    if len(tables) != 1:
        raise RunError(f"it has {len(tables)} {what}, expected one")
    return tables


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a FlatBuffer. Fields are asked for by their number in the schema; what lies outside raises struct.error."""

    buffer: bytes
    position: int

    @classmethod
    def root(cls, buffer: bytes) -> Self:
        """Return the table that a buffer starts from."""
        return cls(buffer, _read(buffer, 0, "<I"))

    def number(self, field: int, layout: str) -> int:
        """Return a whole number of that `struct` layout, 0 where the field is absent."""
        place = self._place(field)
        return _read(self.buffer, place, layout) if place else 0

    def index(self, field: int) -> int:
        """Return a number that counts from the start of a list.

        Raises:
            IndexError: it is negative.
        """
        value = self.number(field, "<i")
        if value < 0:
            raise IndexError(value)
        return value

    def text(self, field: int) -> str:
        """Return a string, empty where the field is absent."""
        place = self._place(field)
        if not place:
            return ""
        start = self._follow(place)
        (text,) = struct.unpack_from(f"{_read(self.buffer, start, '<I')}s", self.buffer, start + 4)
        return str(text, "utf-8")

    def table(self, field: int) -> Self:
        """Return a table that must be there."""
        place = self._place(field)
        if not place:
            raise IndexError(field)
        return type(self)(self.buffer, self._follow(place))

    def tables(self, field: int) -> list[Self]:
        """Return a list of tables, empty where the field is absent."""
        place = self._place(field)
        if not place:
            return []
        start = self._follow(place)
        count = _read(self.buffer, start, "<I")
        if count > len(self.buffer) // 4:
            raise IndexError(count)
        return [type(self)(self.buffer, self._follow(start + 4 + 4 * item)) for item in range(count)]

    def _place(self, field: int) -> int:
        """Return where a field is, 0 where it is absent."""
        layout = self.position - _read(self.buffer, self.position, "<i")
        entry = 4 + 2 * field
        if entry >= _read(self.buffer, layout, "<H"):
            return 0
        offset = _read(self.buffer, layout + entry, "<H")
        return self.position + offset if offset else 0

    def _follow(self, place: int) -> int:
        return place + _read(self.buffer, place, "<I")


def _read(buffer: bytes, place: int, layout: str) -> int:
    if place < 0:  # `struct` would count from the end
        raise IndexError(place)
    (value,) = struct.unpack_from(layout, buffer, place)
    return int(value)
