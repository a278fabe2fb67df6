"""Tables of numbers from anyone's hand: a header or none, commas, semicolons or tabs, units in the names."""

import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.measure.energy.trace import Values
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.outside.text import one_line, shortened

MAX_TRACE_BYTES = 2**28
"""Half an hour of 5000 rows a second."""

MAX_ROWS = 20_000_000
MAX_LINE_BYTES = 2**16
"""Each cell of a line takes dozens of bytes when it is taken apart."""

SCALES: dict[str, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "power": {"W": 1.0, "mW": 1e-3, "uW": 1e-6},
    "current": {"A": 1.0, "mA": 1e-3, "uA": 1e-6},
    "voltage": {"V": 1.0, "mV": 1e-3, "uV": 1e-6},
    "counter": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "uWs": 1e-6, "Wh": 3600.0, "mWh": 3.6},
}
"""Units by what a column holds; a micro sign is read as u."""

UNIT_IN_NAME = re.compile(r"[(\[]\s*([a-zA-Zµμ]+)\s*[)\]]\s*$")
TIME_UNIT_AT_END = re.compile(r"[_. ](s|ms|us|µs|μs|ns)$")
"""Of a time alone: an A or a W at the end of another name is as often a phase or a wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's text, not yet numbers.

    Attributes:
        path: of the file.
        names: of its columns; empty where there is no header.
        columns: how many there are.
        delimiter: between them.
        text: without the header.
    """

    path: Path
    names: tuple[str, ...]
    columns: int
    delimiter: str
    text: str

    def place(self, column: str, flag: str) -> int:
        """Return which column is meant, by its name or its number from 1.

        Raises:
            UsageError: there is none.
        """
        if column in self.names:
            return self.names.index(column)
        if column.isascii() and column.isdecimal() and 1 <= int(column[:6]) <= self.columns:
            return int(column) - 1
        if not self.names:
            raise UsageError(
                f"{flag} {shortened(column)}: {self.path} has no header; give the number of a column, 1 to {self.columns}"
            )
        raise UsageError(f"{flag}: {self.path} has no column {shortened(column)!r}; {did_you_mean(column, self.names)}")

    def numbers(self, places: Sequence[int]) -> list[Values]:
        """Return some columns as numbers; what is empty is NaN.

        Raises:
            UsageError: something else stands there.
        """
        if not self.text.strip():
            raise UsageError(f"{self.path} has a header and no rows of numbers; record again")
        text = self.text.replace(",", ".") if self.delimiter == ";" else self.text
        try:
            read = np.loadtxt(
                io.StringIO(text), delimiter=self.delimiter, usecols=list(places), ndmin=2, comments=None, quotechar='"'
            )
        except ValueError:
            read = np.array([self._row(line, places, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()])
        return [read[:, place] for place in range(len(places))]

    def _row(self, line: str, places: Sequence[int], number: int) -> list[float]:
        cells = [cell.strip().strip('"') for cell in line.split(self.delimiter)]
        try:
            return [float(cells[place]) if cells[place] else np.nan for place in places]
        except (ValueError, IndexError) as error:
            row = number + (1 if self.names else 0)
            raise UsageError(f"{self.path}, line {row}: expected numbers, found {shortened(one_line(line))!r}") from error

    def words(self, place: int) -> list[str]:
        """Return a column as it stands there.

        Raises:
            UsageError: a row is too short.
        """
        rows = (line.split(self.delimiter, place + 1) for line in self.text.splitlines() if line.strip())
        try:
            return [sys.intern(row[place].strip().strip('"')) for row in rows]
        except IndexError as error:
            raise UsageError(f"{self.path} has rows with fewer columns than its header") from error


def read_bytes(path: Path) -> bytes:
    """Read a trace.

    Raises:
        UsageError: it cannot be read, or is too large.
    """
    try:
        return read_bounded(path, MAX_TRACE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give the file of a trace") from error


def read_table(path: Path, data: bytes) -> Table:
    """Take a file apart into header and rows; lines in front of the header that have no second column are passed over.

    Raises:
        UsageError: it is no text, or has no columns, too many rows or too long ones.
    """
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if len(ends) > MAX_ROWS or int(np.diff(ends, prepend=-1, append=len(data)).max()) > MAX_LINE_BYTES:
        raise UsageError(
            f"{path} has more than {MAX_ROWS} rows, or one of more than {MAX_LINE_BYTES} bytes; give a CSV file of the "
            "inferences alone, with few columns"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text; give a CSV file, or a Perfetto trace (.pftrace)") from error
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end].strip()
        delimiter = next((mark for mark in ("\t", ";", ",") if mark in line), "")
        if delimiter or _is_number(line):
            delimiter = delimiter or ","
            cells = [cell.strip().strip('"').strip() for cell in line.split(delimiter)]
            cells = cells[:-1] if cells[-1] == "" else cells  # some end each line with a comma
            if all(map(_is_number, cells)):
                return Table(path=path, names=(), columns=len(cells), delimiter=delimiter, text=text[start:])
            return Table(path=path, names=tuple(cells), columns=len(cells), delimiter=delimiter, text=text[end + 1 :])
        start = end + 1
    raise UsageError(f"{path} has no columns; give a CSV file, or a Perfetto trace (.pftrace)")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def unit_of(name: str, kind: str) -> str:
    """Return the unit that a column's name says, in brackets or, of a time, at its end; empty where it says none of that kind."""
    found = UNIT_IN_NAME.search(name) or (TIME_UNIT_AT_END.search(name) if kind == "time" else None)
    unit = found.group(1).replace("µ", "u").replace("μ", "u") if found else ""
    return unit if unit in SCALES[kind] else ""
