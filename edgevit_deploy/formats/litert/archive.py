"""The ZIP behind a `.tflite`, in which its labels are: of one file, laid out as it is written.

Readers of ZIPs differ in what they make of two entries of one name, of entries that no directory lists, and of what lies between
or behind. So a ZIP is taken only where every byte of its headers is as it was written. Nothing is read but what they promise.
"""

import struct
import zlib
from mmap import mmap

from edgevit_deploy.spec import MAX_LABELS_BYTES

Content = bytes | bytearray | mmap
"""A file in memory, or one of which no more is read than is looked at."""

LOCAL, CENTRAL, END = (struct.Struct(layout) for layout in ("<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"))
LOCAL_MARK, CENTRAL_MARK, END_MARK, LARGE_MARK = (b"PK" + kind for kind in (b"\3\4", b"\1\2", b"\5\6", b"\6\7"))
"""Of an entry, of its line in the directory, of the directory's end, and of what stands before that where a ZIP is large."""

LARGE_BYTES, MAX_COMMENT_BYTES = 20, 2**16 - 1
NEEDED_VERSION, NO_FLAGS, STORED, NO_TIME, NO_DATE = 20, 0, 0, 0, 1 << 5 | 1
"""What `zipfile` writes of an entry that is not packed and was written in 1980."""

PLAIN_FILE = 0o600 << 16


def read_only_file(content: Content, name: str) -> bytes:
    """Return the file of that name in the ZIP at the end.

    Raises:
        ValueError: it is not the only one, or the ZIP is not laid out as it is written, or damaged; struct.error likewise.
    """
    named = name.encode()
    directory = len(content) - END.size - CENTRAL.size - len(named)
    _, made_by, *_, checksum, size, _, _, _, _, _, _, _, start = CENTRAL.unpack_from(content, directory)
    entry = (NEEDED_VERSION, NO_FLAGS, STORED, NO_TIME, NO_DATE, checksum, size, size, len(named), 0)
    before = LOCAL.pack(LOCAL_MARK, *entry) + named
    behind = CENTRAL.pack(CENTRAL_MARK, made_by, *entry, 0, 0, 0, PLAIN_FILE, start) + named
    behind += END.pack(END_MARK, 0, 0, 1, 1, len(behind), directory, 0)
    if size > MAX_LABELS_BYTES or start + len(before) + size != directory:
        raise ValueError(f"behind the model is no ZIP of {name} alone")
    if content[start : start + len(before)] != before or content[directory:] != behind:
        raise ValueError(f"behind the model is no ZIP of {name} alone")
    data = bytes(content[start + len(before) : directory])
    if zlib.crc32(data) != checksum:
        raise ValueError(f"{name} has another checksum")
    return data


def has_directory(content: Content) -> bool:
    """Say whether a reader of ZIPs finds one at the end."""
    place = len(content)
    while (place := content.rfind(END_MARK, max(0, len(content) - END.size - MAX_COMMENT_BYTES), place)) >= 0:
        if place + END.size <= len(content):
            *_, size, start, _ = END.unpack_from(content, place)
            marks = [content[at : at + 4] for at in (place - size, start) if at >= 0]
            if CENTRAL_MARK in marks or content[max(0, place - LARGE_BYTES) : place][:4] == LARGE_MARK:
                return True
    return False
