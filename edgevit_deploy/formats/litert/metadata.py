"""The metadata in a `.tflite`: a FlatBuffer of a schema of its own, in a buffer of the file, and the labels in a ZIP behind it.

Tables and fields are those of `metadata_schema.fbs` (identifier M001) and of `schema.fbs` 3; a field is named here by its number
in its table. Nothing but the `flatbuffers` package is needed, so that a file is read where LiteRT is not installed.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.identifier import check_identifier
from edgevit_deploy.spec import MAX_LABELS_BYTES
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

DAMAGED = (struct.error, TypeError, IndexError, ValueError, AttributeError, OverflowError, zipfile.BadZipFile, KeyError, OSError)
"""What the libraries raise of tables that point outside of the file, and of a ZIP that is none."""


class Table:
    """One table of a FlatBuffer, read by the numbers of its fields; what is not there is None or empty."""

    def __init__(self, content: bytes, position: int) -> None:
        from flatbuffers.table import Table as Raw

        self._raw: Any = Raw(content, position)

    @classmethod
    def root(cls, content: bytes) -> "Table":
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

    def floats(self, field: int) -> tuple[float, ...]:
        """Return a vector of float32."""
        start, count = self.vector(field, 4)
        return struct.unpack_from(f"<{count}f", self._raw.Bytes, start)


def read_metadata(content: bytes) -> bytes | None:
    """Return the metadata of a `.tflite`; None where it has none."""
    model = Table.root(content)
    for entry in model.tables(MODEL_METADATA):
        if entry.content(0) == METADATA_NAME:
            start, count = model.vector(MODEL_BUFFERS, 4)
            place = entry.number(1, "<I")
            if place >= count:
                raise IndexError(place)
            return Table(content, start + 4 * place + struct.unpack_from("<I", content, start + 4 * place)[0]).content(0)
    return None


def read_description(path: Path) -> Description | None:
    """Return what the metadata of a file say of its pixels and labels; None where it has none, as files of earlier versions.

    Raises:
        RunError: it is no `.tflite`, or they are damaged, or name a file of labels that is not behind the model.
    """
    check_identifier(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RunError(f"{path.name}: larger than any .tflite, which has at most {MAX_FILE_BYTES} bytes; convert again")
    try:
        metadata = read_metadata(path.read_bytes())
        if metadata is None:
            return None
        if metadata[4:8] != METADATA_IDENTIFIER:
            raise ValueError(metadata[4:8])
        (graph,) = Table.root(metadata).tables(3)
        (source,), (result,) = graph.tables(2), graph.tables(3)
        named = [entry.content(0).decode() for entry in result.tables(6) if entry.number(2, "<b") == AXIS_LABELS]
        return Description(labels=_packed_labels(path, named[0]) if named else (), normalisation=_normalisation(source))
    except DAMAGED as error:
        raise RunError(f"{path.name}: its metadata are damaged ({type(error).__name__}: {error}); convert again") from error


def _normalisation(tensor: Table) -> Normalisation | None:
    for unit in tensor.tables(4):
        options = unit.inner(1)
        if unit.number(0, "<B") == NORMALISE and options is not None:
            (red, green, blue), (red_std, green_std, blue_std) = options.floats(0), options.floats(1)
            return Normalisation(mean=(red, green, blue), std=(red_std, green_std, blue_std))
    return None


def _packed_labels(path: Path, name: str) -> tuple[str, ...]:
    with zipfile.ZipFile(path) as packed:
        entry = packed.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_LABELS_BYTES:
            raise ValueError(f"{name} is packed, or larger than any labels")
        return tuple(packed.read(entry).decode().removesuffix("\n").split("\n"))
