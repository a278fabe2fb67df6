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

from flatbuffers.number_types import Uint8Flags, Uint32Flags

from edgevit_deploy.errors import RunError
from edgevit_deploy.outside.flat_table import DAMAGED, FlatTable, TooManyError

MAGIC = b"ET12"
HEADER_MAGIC = b"eh00"
HEADER = struct.Struct("<I4s4sIQQQ")
"""Position of the root table, both magics, length of the extended header, and the three sizes that it holds."""

METHOD = "forward"
"""The method that the exporter writes and an app loads."""

BACKEND = "XnnpackBackend"

MAX_PROGRAM_BYTES = 16 << 20
"""About fifty times what an EdgeViT has; the weights are not in it."""

TENSOR = 5
"""Of the union KernelTypes, which values of a program are of."""

KERNEL_CALL, DELEGATE_CALL = 1, 2
"""Of the union InstructionArguments; the others move values and jump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PteFile:
    """What one file holds.

    Attributes:
        method: its only entry point.
        outputs: the shape of each of its outputs, in order; they have no names.
        backends: the backend of each delegate.
        delegate_calls: how often the program enters a delegate.
        operators_outside: operator with its overload -> how often the program calls it, outside every delegate.
        program_bytes: of the FlatBuffer; the rest of the file is data.
    """

    method: str
    outputs: tuple[tuple[int, ...], ...]
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
        RunError: not a program, cut off, with tables that point outside of it, or with more than any of ours has.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror})") from error
    program, data = split(path.name, content)
    try:
        return _read_program(program, len(data))
    except DAMAGED as error:
        raise RunError(f"{path.name} is damaged: a table of its program points outside of it; convert it again") from error
    except TooManyError as error:
        raise RunError(str(error)) from error


def split(name: str, content: bytes) -> tuple[bytes, bytes]:
    """Return the FlatBuffer of a program, and the data that follow where the extended header says that they do.

    Raises:
        RunError: it is no program, or cut off.
    """
    if len(content) < HEADER.size or content[4:8] != MAGIC or content[8:12] != HEADER_MAGIC:
        raise RunError(f"{name} is no ExecuTorch program: {MAGIC.decode()} and {HEADER_MAGIC.decode()} are not at its start")
    *_, program_bytes, data_start, data_bytes = HEADER.unpack_from(content)
    if not HEADER.size <= program_bytes <= MAX_PROGRAM_BYTES or 0 < data_start < program_bytes:
        raise RunError(f"{name} is damaged: its header says {program_bytes} bytes of program and data at {data_start}")
    expected = max(program_bytes, data_start + data_bytes)
    if len(content) < expected:
        raise RunError(f"{name} is cut off: {len(content)} bytes, its header says {expected}; copy or convert it again")
    return content[:program_bytes], content[data_start : data_start + data_bytes]


def _read_program(program: bytes, data_bytes: int) -> PteFile:
    root = FlatTable.root(program)
    for segment in root.children(4):
        if segment.number(0) + segment.number(1) > data_bytes:
            raise IndexError("a segment")
    (plan,) = _only(root.children(1), "methods")
    (chain,) = _only(plan.children(5), "chains of instructions")
    names = [".".join(filter(None, (operator.text(0), operator.text(1)))) for operator in plan.children(6)]
    backends = tuple(delegate.text(0) for delegate in plan.children(7))
    values = plan.children(2)
    calls: Counter[str] = Counter()
    delegate_calls = 0
    for instruction in chain.children(2):
        kind = instruction.number(0, Uint8Flags)
        # The schema's indices are signed. Read without a sign, a negative one lies beyond every list.
        if kind == KERNEL_CALL:
            calls[names[instruction.child(1).number(0, Uint32Flags)]] += 1
        elif kind == DELEGATE_CALL:
            backends[instruction.child(1).number(0, Uint32Flags)]
            delegate_calls += 1
    return PteFile(
        method=plan.text(0),
        outputs=tuple(_shape(values[place]) for place in plan.numbers(4)),
        backends=backends,
        delegate_calls=delegate_calls,
        operators_outside=dict(calls.most_common()),
        program_bytes=len(program),
    )


def _shape(value: FlatTable) -> tuple[int, ...]:
    if value.number(0, Uint8Flags) != TENSOR:
        raise RunError("it has an output that is no tensor; convert it again")
    return value.child(1).numbers(2)


def _only(tables: list[FlatTable], what: str) -> list[FlatTable]:
    if len(tables) != 1:
        raise RunError(f"it has {len(tables)} {what}, expected one")
    return tables
