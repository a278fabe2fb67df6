"""Picture files made byte by byte, where Pillow cannot write what a camera, a scanner or an attacker does."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

GREYS = np.arange(256, dtype=np.uint16).reshape(16, 16)
"""Every grey of 8 bits once."""


def gradient(height: int = 300, width: int = 400) -> np.ndarray:
    """A picture whose three channels and whose edges all differ, uint8 (height, width, 3)."""
    rows, columns = np.indices((height, width))
    planes = [rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1), (rows + columns) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def png(width: int, height: int, data: bytes, *, bits: int = 8, color: int = 2) -> bytes:
    """A PNG file of some rows, each after its filter byte; `color` 0 is grey, 2 RGB, 4 grey with alpha."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff(
    data: bytes, *, bits: Sequence[int] = (16,), photometric: int = 1, signed_or_float: int = 1, order: str = "<", side: int = 16
) -> bytes:
    """An uncompressed TIFF file of side x side pixels; a sample format of 1 is unsigned, 2 signed, 3 float."""
    shorts = {
        256: [side],
        257: [side],
        258: list(bits),
        259: [1],
        262: [photometric],
        273: [0],
        277: [len(bits)],
        278: [side],
        279: [len(data)],
        339: [signed_or_float] * len(bits),
    }
    end = 8 + 2 + 12 * len(shorts) + 4
    shorts[273] = [end + 64]
    fields, beyond = b"", b""
    for tag, values in shorts.items():
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            packed, beyond = struct.pack(f"{order}I", end + len(beyond)), beyond + packed
        fields += struct.pack(f"{order}HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(shorts))
    return start + fields + struct.pack(f"{order}I", 0) + beyond.ljust(64, b"\0") + data


def with_exif(jpeg: bytes, payload: bytes) -> bytes:
    """A JPEG file with a block of EXIF, whatever is in it."""
    block = b"Exif\0\0" + payload
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def exif(*fields: bytes) -> bytes:
    """A directory of EXIF fields of 12 bytes each."""
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + b"".join(fields) + struct.pack("<I", 0)


def orientation(value: int) -> bytes:
    return struct.pack("<HHIHH", 0x112, 3, 1, value, 0)
