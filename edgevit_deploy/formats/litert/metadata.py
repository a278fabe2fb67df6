"""The metadata in a `.tflite`: a FlatBuffer of a schema of its own, in a buffer of the file, and the labels in a ZIP behind it.

Tables and fields are those of `metadata_schema.fbs` (identifier M001) and of `schema.fbs` 3; a field is named here by its number
in its table. Nothing but the `flatbuffers` package is needed, so that a file is read where LiteRT is not installed.
"""

import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.archive import Content, has_directory, read_only_file
from edgevit_deploy.formats.litert.identifier import check_identifier
from edgevit_deploy.outside.files import open_regular
from edgevit_deploy.spec.description import Description, Normalisation

METADATA_NAME = b"TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"
LABELS_NAME = "labels.txt"

MODEL_BUFFERS, MODEL_METADATA = 4, 6
"""Fields of a model that the metadata add an entry to."""

RGB, IMAGE_PROPERTIES, FEATURE_PROPERTIES = 1, 2, 1
AXIS_LABELS, NORMALISE = 2, 1
"""Values of the schema's enumerations and unions."""

MAX_FILE_BYTES, MAX_ENTRIES, MAX_CONTENT_BYTES = 2**31, 64, 2**24
"""Of a file, since offsets in a FlatBuffer reach no further; of tables in a vector, and of bytes in one, as no metadata have."""

CHANNELS = 3

DAMAGED = (struct.error, TypeError, IndexError, ValueError, AttributeError, OverflowError, OSError)
"""What the library raises of tables that point outside of the file, and what is raised here."""


class Table:
    """One table of a FlatBuffer, read by the numbers of its fields; what is not there is None or empty."""

    def __init__(self, content: Content, position: int) -> None:
        from flatbuffers.table import Table as Raw

        self._raw: Any = Raw(content, position)

    @classmethod
    def root(cls, content: Content) -> "Table":
        """Return the outermost table."""
        return cls(content, struct.unpack_from("<I", content)[0])

    @property
    def position(self) -> int:
        """Where it begins."""
        return int(self._raw.Pos)

    def place(self, field: int) -> int:
        """Return where a field is; 0 where it is not there."""
        offset = self._raw.Offset(4 + 2 * field)
        return int(offset + self._raw.Pos) if offset else 0

    def number(self, field: int, layout: str) -> int:
        """Return a scalar, laid out as `struct` says; 0 where it is not there."""
        place = self.place(field)
        return int(struct.unpack_from(layout, self._raw.Bytes, place)[0]) if place else 0

    def inner(self, field: int) -> "Table | None":
        """Return a table, or what a union holds."""
        place = self.place(field)
        return Table(self._raw.Bytes, self._raw.Indirect(place)) if place else None

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """Return where the entries of a vector begin, and how many there are, each `width` bytes wide.

        Raises:
            ValueError: they reach beyond the file.
        """
        if not self.place(field):
            return 0, 0
        start, count = self._raw.Vector(self._raw.Offset(4 + 2 * field)), self._raw.VectorLen(self._raw.Offset(4 + 2 * field))
        if start + width * count > len(self._raw.Bytes):
            raise ValueError(count)
        return start, count

    def tables(self, field: int) -> "list[Table]":
        """Return a vector of tables.

        Raises:
            ValueError: there are more than any metadata have.
        """
        start, count = self.vector(field, 4)
        if count > MAX_ENTRIES:
            raise ValueError(f"{count} entries")
        return [Table(self._raw.Bytes, self._raw.Indirect(start + 4 * place)) for place in range(count)]

    def content(self, field: int) -> bytes:
        """Return a vector of bytes, or a text.

        Raises:
            ValueError: it is longer than any in metadata.
        """
        start, count = self.vector(field, 1)
        if count > MAX_CONTENT_BYTES:
            raise ValueError(f"{count} bytes")
        return bytes(self._raw.Bytes[start : start + count])

    def triple(self, field: int) -> tuple[float, float, float]:
        """Return a vector of float32, one for each channel.

        Raises:
            ValueError: there are more or fewer.
        """
        start, count = self.vector(field, 4)
        if count != CHANNELS:
            raise ValueError(f"{count} numbers for {CHANNELS} channels")
        red, green, blue = struct.unpack_from(f"<{CHANNELS}f", self._raw.Bytes, start)
        return red, green, blue


def read_metadata(content: Content) -> bytes | None:
    """Return the metadata of a `.tflite`; None where it has none.

    Raises:
        ValueError: it has more than one, of which a tool may read any, or they are damaged; the rest of `DAMAGED` likewise.
    """
    model = Table.root(content)
    entries = [entry for entry in model.tables(MODEL_METADATA) if entry.content(0) == METADATA_NAME]
    if not entries:
        return None
    entry = _only(entries, "entries of metadata")
    start, count = model.vector(MODEL_BUFFERS, 4)
    place = entry.number(1, "<I")
    if place >= count:
        raise IndexError(place)
    return Table(content, start + 4 * place + struct.unpack_from("<I", content, start + 4 * place)[0]).content(0)


def _only(tables: list[Table], what: str) -> Table:
    if len(tables) != 1:
        raise ValueError(f"{len(tables)} {what}, expected one")
    return tables[0]


def read_description(path: Path) -> Description:
    """Return what the metadata of a file say of its pixels and labels; nothing where it has none, as files of earlier versions.

    Raises:
        RunError: it is no `.tflite`; or they are damaged, say something twice or where it is never written, or name a file of
            labels that is not alone behind the model.
    """
    check_identifier(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RunError(f"{path.name}: larger than any .tflite, which has at most {MAX_FILE_BYTES} bytes; convert again")
    try:
        with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _description(content)
    except DAMAGED as error:
        raise RunError(f"{path.name}: its metadata are damaged ({type(error).__name__}: {error}); convert again") from error


def _description(content: Content) -> Description:
    metadata = read_metadata(content)
    if metadata is None:
        return Description(labels=_labels(content, []))
    if metadata[4:8] != METADATA_IDENTIFIER:
        raise ValueError(metadata[4:8])
    root = Table.root(metadata)
    graph = _only(root.tables(3), "graphs")
    source, results = _only(graph.tables(2), "inputs"), graph.tables(3)
    if not results:
        raise ValueError("0 outputs, expected one or more")
    for table, fields in ((root, (6,)), (graph, (4, 5, 6)), (source, (6,)), *((result, (4,)) for result in results)):
        if any(table.tables(field) for field in fields):
            raise ValueError("they name files or steps where none are written")
    files = [file for result in results for file in result.tables(6)]
    if files and len(results) > 1:
        raise ValueError(f"{len(results)} outputs, and labels of one")
    return Description(labels=_labels(content, files), normalisation=_normalisation(source.tables(4)))


def _normalisation(units: list[Table]) -> Normalisation | None:
    """Return what the only step says that is done to pixels."""
    if not units:
        return None
    unit = _only(units, "steps before the network")
    options = unit.inner(1)
    if unit.number(0, "<B") != NORMALISE or options is None:
        raise ValueError("a step that is no normalisation")
    return Normalisation(mean=options.triple(0), std=options.triple(1))


def _labels(content: Content, files: list[Table]) -> tuple[str, ...]:
    """Return the lines of the only file that is named."""
    if not files:
        if has_directory(content):
            raise ValueError("a ZIP is behind the model, and no file in it is named")
        return ()
    file = _only(files, "files of labels")
    if file.number(2, "<b") != AXIS_LABELS or file.content(0) != LABELS_NAME.encode():
        raise ValueError(f"a file that is not {LABELS_NAME}")
    return tuple(read_only_file(content, LABELS_NAME).decode().removesuffix("\n").split("\n"))
