"""The ZIP behind a `.tflite`: of one file, as it is written, or refused; and what is read of a file is bounded."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.metadata import read_description
from export.litert.metadata import add_metadata, metadata_of, with_buffer, with_labels
from tests.helpers.litert import LABELS, plan, write_handwritten, zipped

NAME, RIGHT, EVIL = "labels.txt", "".join(f"{label}\n" for label in LABELS), "EVIL\n" * len(LABELS)
LOCAL_BYTES, CENTRAL_BYTES, END_BYTES = 30, 46, 22
"""Of the parts of a ZIP, without names."""


@pytest.fixture
def tables(tmp_path: Path) -> bytes:
    """A file whose metadata name a file of labels, without the ZIP that has it."""
    return with_buffer(write_handwritten(tmp_path / "plain.tflite").read_bytes(), metadata_of(plan()))


def refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        read_description(path)
    except RunError as error:
        assert str(error).startswith("model.tflite: its metadata are damaged (")  # noqa: PT017 - both ways are looked at
        return True
    return False


def test_one_file_of_that_name_is_read(tmp_path: Path, tables: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(zipped(tables, (NAME, RIGHT)))
    assert path.read_bytes() == with_labels(tables, LABELS)
    assert read_description(path).labels == LABELS


@pytest.mark.parametrize(
    "files",
    [
        [(NAME, EVIL), (NAME, RIGHT)],
        [(NAME, RIGHT), (NAME, EVIL)],
        [(NAME, RIGHT), ("labels_de.txt", EVIL)],
        [("LABELS.TXT", EVIL), (NAME, RIGHT)],
        [("others.txt", RIGHT)],
        [(f"./{NAME}", RIGHT)],
        [],
    ],
    ids=["twice", "twice, turned round", "another beside", "another case", "another", "another spelling", "empty"],
)
def test_other_files_than_the_one_are_refused(tmp_path: Path, tables: bytes, files: list[tuple[str, str]]) -> None:
    """Readers of ZIPs take the first of two, or the last."""
    assert refused(tmp_path / "model.tflite", zipped(tables, *files))


def _edited(content: bytes, part: bytes, place: int, value: bytes) -> bytes:
    """Change a field of the last header of a kind."""
    changed, start = bytearray(content), content.rindex(part) + place
    changed[start : start + len(value)] = value
    return bytes(changed)


def _between(content: bytes, part: bytes, extra: bytes) -> bytes:
    """Put bytes before the last header of a kind; the place of the directory is set right."""
    place = content.rindex(part)
    moved = content[:place] + extra + content[place:]
    return _edited(moved, b"PK\5\6", 16, struct.pack("<L", moved.rindex(b"PK\1\2")))


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "encrypted": lambda content: _edited(content, b"PK\1\2", 8, b"\1"),
    "patched": lambda content: _edited(content, b"PK\1\2", 8, b"\x20"),
    "of a later version": lambda content: _edited(content, b"PK\1\2", 6, b"\xff"),
    "packed in another way": lambda content: _edited(content, b"PK\1\2", 10, b"\x63"),
    "a link": lambda content: _edited(content, b"PK\1\2", 38, struct.pack("<L", 0o120777 << 16)),
    "another name before the content": lambda content: _edited(content, b"PK\3\4", LOCAL_BYTES, b"LABELS"),
    "packed, says its own header": lambda content: _edited(content, b"PK\3\4", 8, b"\x08"),
    "another content": lambda content: content.replace(b"zebra\n", b"Zebra\n"),
    "bytes behind": lambda content: content + b"\0",
    "bytes before the directory": lambda content: _between(content, b"PK\1\2", b"hidden"),
    "bytes before the end": lambda content: _between(content, b"PK\5\6", b"hidden"),
    "nothing behind the tables": lambda content: content[: content.rindex(b"PK\3\4")],
    "cut short": lambda content: content[:-1],
    "a larger directory": lambda content: _edited(content, b"PK\1\2", 36, b"PK\6\7"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_zip_of_another_layout_is_refused(tmp_path: Path, tables: bytes, change: str) -> None:
    path, content = tmp_path / "model.tflite", with_labels(tables, LABELS)
    assert not refused(path, content)
    changed = CHANGES[change](content)
    assert changed != content
    assert refused(path, changed)


@pytest.mark.parametrize("how", [{"method": zipfile.ZIP_DEFLATED}, {"comment": b"EVIL"}], ids=["packed", "commented"])
def test_what_is_packed_or_commented_is_refused(tmp_path: Path, tables: bytes, how: dict) -> None:
    assert refused(tmp_path / "model.tflite", zipped(tables, (NAME, RIGHT), **how))


@pytest.mark.parametrize("named", ["no metadata", "no labels in the metadata"])
@pytest.mark.parametrize("how", [{}, {"comment": b"more"}], ids=["plain", "commented"])
def test_a_zip_that_nothing_names_is_refused(tmp_path: Path, named: str, how: dict) -> None:
    """A person who takes it out finds labels in it that were compared with nothing."""
    path = write_handwritten(tmp_path / "model.tflite")
    if named != "no metadata":
        add_metadata(path, plan(labels=()))
    content = path.read_bytes()
    assert not refused(path, content)
    assert not refused(path, content + b"PK\5\6" + bytes(18)), "these four bytes may be of weights"
    assert refused(path, zipped(content, (NAME, EVIL), **how))


def test_every_bit_of_the_zip_counts(tmp_path: Path, tables: bytes) -> None:
    """But for those that say which program wrote it."""
    path, content = tmp_path / "model.tflite", with_labels(tables, LABELS)
    first, made_by = content.rindex(b"PK\3\4"), content.rindex(b"PK\1\2") + 4
    for place in range(first, len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert refused(path, bytes(changed)) != (place in (made_by, made_by + 1)), (place - first, bit)
    assert len(content) - first == LOCAL_BYTES + CENTRAL_BYTES + END_BYTES + 2 * len(NAME) + len(RIGHT.encode())


def test_no_bit_before_the_zip_is_anything_but_one_error(tmp_path: Path, tables: bytes) -> None:
    """Read, or refused; never another exception."""
    path, content = tmp_path / "model.tflite", with_labels(tables, LABELS)
    found = []
    for place in range(8, len(tables)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        found.append(refused(path, bytes(changed)))
    assert 100 < sum(found) < len(found) - 100


def _peak_bytes(path: Path) -> tuple[bool, int]:
    """Return whether a file was read, and how much memory that took."""
    tracemalloc.start()
    try:
        read_description(path)
        return True, tracemalloc.get_traced_memory()[1]
    except RunError:
        return False, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_more_is_read_than_is_needed(tmp_path: Path) -> None:
    """Neither a large model, nor a directory of 300 000 entries, is brought into memory."""
    path = write_handwritten(tmp_path / "model.tflite")
    path.write_bytes(path.read_bytes() + bytes(32 * 2**20))
    add_metadata(path, plan())
    read_description(path)  # what is imported on first use does not count
    was_read, peak_bytes = _peak_bytes(path)
    assert was_read
    assert peak_bytes < 2**18
    tables = path.read_bytes()
    line = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 300_000 * len(line), len(tables), 0)
    path.write_bytes(tables + 300_000 * line + end)
    was_read, peak_bytes = _peak_bytes(path)
    assert not was_read
    assert peak_bytes < 2**18
