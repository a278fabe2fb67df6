"""The grammar of fuzzed pictures: formats, modes, names, metadata, damage, and what only looks like a picture."""

import io
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.helpers.pictures import exif, gradient, orientation, with_exif

SIZE = (21, 34)
"""Height and width in pixels; no side, and no turn, can be taken for another."""

MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "L", "1", "P", "RGBA", "LA", "I;16"),
    "BMP": ("RGB", "L", "1", "P"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "TIFF": ("RGB", "L", "1", "CMYK", "RGBA", "I;16"),
    "AVIF": ("RGB", "RGBA"),
    "PPM": ("RGB", "L", "1", "I;16"),
}
"""The formats that are read, and Pillow's modes that each can hold."""

SUFFIXES = (".jpg", ".JPG", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".avif", ".ppm", ".txt", ".eps", ".exe", "")
STEMS = (
    "a",
    "a\nerror: none",
    "a\x1b[2Jpassed",
    "\x9b2J",
    "\u202egpj",
    os.fsdecode(b"\xff\xfe"),
    "x" * 240,
    "[red]a",
    "-a",
    "%s",
)
HIDDEN = (".a", "._a", ".DS_Store")

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n(x) show\n"
OTHERS = (
    POSTSCRIPT,
    b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(POSTSCRIPT)) + bytes(20) + POSTSCRIPT,
    b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(2800),
    b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 50, 50, 8, 3) + bytes(64),
    b"icns" + struct.pack(">I", 64) + b"ic07" + bytes(56),
    b"\xd7\xcd\xc6\x9a" + bytes(60),
    b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60),
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\n",
    b"#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {0x00};\n",
    b"/* XPM */\nstatic char *a[] = {};\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"\x59\xa6\x6a\x95" + bytes(40),
    b"DDS " + bytes(124),
    b"\0\0\1\0" + bytes(60),
    b"\xff\x4f\xff\x51" + bytes(60),
    b"PK\x03\x04" + bytes(60),
    b"\0" * 1000,
    b"passed\n" * 100,
    b"",
)
"""Files of other formats, some of which Pillow hands to programs."""

ODD_FIELDS = (
    struct.pack("<HHII", 0x8769, 4, 1, 2**31),
    struct.pack("<HHII", 0x010F, 2, 2**32 - 1, 8),
    struct.pack("<HHII", 0x011A, 5, 1, 0),
    struct.pack("<HHII", 0x9286, 7, 2**20, 2**20),
    struct.pack("<HHII", 0xFFFF, 99, 1, 1),
)
PLAIN_FIELDS = (struct.pack("<HHI4s", 0x010F, 2, 4, b"abc\0"), struct.pack("<HHIHH", 0x0128, 3, 1, 2, 0))

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}
"""What each orientation of EXIF means, as rows and columns (Exif 2.32, 4.6.4, tag 0x0112)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a folder: its name, its bytes or how it is made, and what is known of it.

    Attributes:
        pixels: what may be read of it, where only metadata were changed; any of them.
        passed_over: it is nothing that may be run.
    """

    name: str
    content: bytes | Callable[[Path], object]
    pixels: tuple[np.ndarray, ...] = ()
    passed_over: bool = False


@cache
def encoded(form: str, mode: str) -> bytes:
    """A picture that Pillow wrote."""
    picture = Image.fromarray(gradient(*SIZE))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    stream = io.BytesIO()
    picture.convert(mode).save(stream, form) if mode != "I;16" else picture.save(stream, form)
    return stream.getvalue()


def decoded(content: bytes) -> np.ndarray:
    """Pillow's own RGB pixels of a picture; of 16 bits the upper eight."""
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith("I"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2)
        return np.asarray(image.convert("RGB"))


def writable_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(form for form in MODES if form in Image.SAVE)


WAYS = (*("name", "exif", "damage", "claim", "other") * 3, "kind", "hidden")


def entry_of(random: Random) -> Entry:
    form = random.choice(writable_formats())
    content = encoded(form, random.choice(MODES[form]))
    name = random.choice(STEMS)[:240] + random.choice(SUFFIXES)
    match random.choice(WAYS):
        case "name":
            return Entry(name=name, content=content, pixels=(decoded(content),))
        case "exif":
            return with_metadata(random, name)
        case "damage":
            return Entry(name=name, content=damaged(random, content))
        case "claim":
            return Entry(name=name, content=claiming(random, form, content))
        case "other":
            other = random.choice(OTHERS)
            return Entry(name=name, content=other + content * random.randrange(2) * bool(other), passed_over=True)
        case "kind":
            return Entry(name=name, content=random.choice(KINDS), passed_over=True)
    return Entry(name=random.choice(HIDDEN) + random.choice(SUFFIXES), content=content, passed_over=True)


def with_metadata(random: Random, name: str) -> Entry:
    """A JPEG picture with EXIF; where a field is odd, a reader may give up the rest of it, but not the picture."""
    content, turn = encoded("JPEG", random.choice(("RGB", "L"))), random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535))
    odd = random.random() < 0.5
    fields = [random.choice(ODD_FIELDS if odd else PLAIN_FIELDS), orientation(turn)]
    payload = random.choice((exif(*fields), exif(*reversed(fields)), exif(orientation(turn))))
    if odd and random.random() < 0.2:
        payload = random.randbytes(40)
    upright = decoded(content)
    turned = TURNS.get(turn, np.asarray)(upright)
    return Entry(name=name, content=with_exif(content, payload), pixels=(turned, upright) if odd else (turned,))


def damaged(random: Random, content: bytes) -> bytes:
    """Flipped bytes, a part, a splice of two, or more behind the end."""
    data = bytearray(content)
    match random.randrange(4):
        case 0:
            for _ in range(random.choice((1, 4, 32))):
                data[random.randrange(len(data))] = random.choice((0, 0x7F, 0x80, 0xFF, random.randrange(256)))
        case 1:
            del data[random.randrange(len(data)) :]
        case 2:
            form = random.choice(writable_formats())
            data[random.randrange(len(data)) :] = encoded(form, MODES[form][0])[random.randrange(64) :]
        case _:
            data += random.choice((random.randbytes(64), POSTSCRIPT, content, bytes(10_000)))
    return bytes(data)


def claiming(random: Random, form: str, content: bytes) -> bytes:
    """A picture that says it is larger than it is."""
    side = random.choice((2**16 - 1, 2**15, 2**17 + 1, 100_000, 2**31 - 1, 2**32 - 1))
    data = bytearray(content)
    match form:
        case "PNG":
            from tests.helpers.pictures import png

            return png(min(side, 2**31 - 1), min(side, 2**31 - 1), bytes(100))
        case "BMP":
            data[18:26] = struct.pack("<II", side, side)
        case "GIF":
            data[6:10] = struct.pack("<HH", side % 2**16, side % 2**16)
        case "PPM":
            return b"P6\n%d %d\n255\n" % (side, side) + bytes(100)
        case "JPEG":
            start = content.index(b"\xff\xc0") + 5
            data[start : start + 4] = struct.pack(">HH", min(side, 65535), min(side, 65535))
        case _:
            place = random.randrange(4, min(64, len(data) - 4))
            data[place : place + 4] = struct.pack("<I", side)
    return bytes(data)


def endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


KINDS: tuple[Callable[[Path], object], ...] = (
    os.mkfifo,
    Path.mkdir,
    endless,
    lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("nothing"),
)
