"""What the sample in C++ decodes of a picture is what Pillow decodes, to the last bit."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from edgevit_deploy.data.pictures import read_picture
from tests.helpers import cpp
from tests.helpers.pictures import gradient, png
from tests.helpers.vectors import made

pytestmark = pytest.mark.slow

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'

ODD = Image.fromarray(gradient(61, 97))
"""Of no size that blocks of eight or sixteen pixels fill."""


def photograph(width: int = 1203, height: int = 801) -> Image.Image:
    """Detail of every size, as in a photograph."""
    return Image.fromarray(made(9, "noise", width // 4, height // 4)).resize((width, height), Image.Resampling.BICUBIC)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "a camera's name, which lies elsewhere"
    exif[0x0112] = orientation
    return exif


def rows(width: int, height: int, bits: int) -> bytes:
    """Random rows of a PNG, of so many bits a pixel."""
    length = (width * bits + 7) // 8
    values = np.random.default_rng(bits).integers(0, 256, (height, length), dtype=np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in values)


def text(key: str, value: str, **options: bool) -> PngInfo:
    info = PngInfo()
    (info.add_itxt if "xmp" in key else info.add_text)(key, value, **options)
    return info


def raw_profile(exif: Image.Exif) -> str:
    """EXIF as ImageMagick wrote it into PNG files."""
    digits = exif.tobytes().hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return f"\nexif\n{len(digits) // 2:8}\n{lines}\n"


JPEGS: dict[str, Callable[[Path], object]] = {
    "4:2:0": lambda path: photograph().save(path, quality=90),
    "4:2:2": lambda path: photograph().save(path, quality=50, subsampling=1),
    "4:4:4": lambda path: photograph().save(path, quality=95, subsampling=0),
    "progressive": lambda path: photograph().save(path, progressive=True),
    "quality 3": lambda path: photograph().save(path, quality=3),
    "12 megapixels": lambda path: photograph(4000, 3000).save(path),
    "odd": lambda path: ODD.save(path),
    "one pixel": lambda path: ODD.crop((5, 5, 6, 6)).save(path),
    "grey": lambda path: photograph().convert("L").save(path),
    "CMYK": lambda path: ODD.convert("CMYK").save(path),
    "CMYK without Adobe's marker": lambda path: path.write_bytes(four_inks(lambda marker: b"")),
    "YCCK": lambda path: path.write_bytes(four_inks(lambda marker: marker[:-1] + b"\2")),
    "a wide gamut": lambda path: ODD.save(path, icc_profile=b"not a profile that anyone should heed" * 9),
    "XMP": lambda path: ODD.save(path, xmp=XMP),
    **{f"EXIF {turn}": lambda path, turn=turn: ODD.save(path, exif=turned(turn)) for turn in range(10)},
    "little-endian EXIF": lambda path: ODD.save(
        path, exif=b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 8, 0, 0)
    ),
    "broken EXIF": lambda path: ODD.save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03"),
}

PNGS: dict[str, Callable[[Path], object]] = {
    "RGB": lambda path: ODD.save(path),
    "alpha": lambda path: Image.fromarray(np.dstack([np.asarray(ODD), np.asarray(ODD)[..., 0]])).save(path),
    "grey with alpha": lambda path: ODD.convert("LA").save(path),
    "palette": lambda path: ODD.quantize(200).save(path),
    "palette with a transparent colour": lambda path: ODD.quantize(37).save(path, transparency=3),
    "palette of 4 bits": lambda path: ODD.quantize(14).save(path, bits=4),
    "palette of 1 bit": lambda path: ODD.quantize(2).save(path, bits=1),
    "a palette that is too short": lambda path: path.write_bytes(short_palette()),
    **{
        f"grey of {bits} bits": lambda path, bits=bits: path.write_bytes(png(17, 9, rows(17, 9, bits), bits=bits, color=0))
        for bits in (1, 2, 4, 8, 16)
    },
    "16 bits": lambda path: path.write_bytes(png(17, 9, rows(17, 9, 48), bits=16, color=2)),
    "16 bits with alpha": lambda path: path.write_bytes(png(17, 9, rows(17, 9, 64), bits=16, color=6)),
    "16 bits grey with alpha": lambda path: path.write_bytes(png(17, 9, rows(17, 9, 32), bits=16, color=4)),
    **{
        f"interlaced, {bits} bits a pixel": lambda path, bits=bits, depth=depth, color=color: path.write_bytes(
            interlaced(17, 9, bits, depth, color)
        )
        for bits, depth, color in ((1, 1, 0), (8, 8, 0), (24, 8, 2), (32, 8, 6), (48, 16, 2))
    },
    "without its end": lambda path: path.write_bytes(png(17, 9, rows(17, 9, 24))[:-12]),
    "cut in its end": lambda path: path.write_bytes(png(17, 9, rows(17, 9, 24))[:-7]),
    "EXIF behind the pixels": lambda path: path.write_bytes(exif_behind(turned(6))),
    "EXIF behind the pixels, without its end": lambda path: path.write_bytes(exif_behind(turned(6))[:-12]),
    "XMP": lambda path: ODD.save(path, pnginfo=text("XML:com.adobe.xmp", XMP.decode())),
    "compressed XMP": lambda path: ODD.save(path, pnginfo=text("XML:com.adobe.xmp", XMP.decode(), zip=True)),
    "a raw profile": lambda path: ODD.save(path, pnginfo=text("Raw profile type exif", raw_profile(turned(8)), zip=True)),
    **{f"EXIF {turn}": lambda path, turn=turn: ODD.save(path, exif=turned(turn)) for turn in range(10)},
}


def short_palette() -> bytes:
    """A PNG whose pixels have more values than its palette has colours."""
    buffer = io.BytesIO()
    ODD.quantize(14).save(buffer, "PNG", bits=4)
    data = buffer.getvalue()
    start = data.index(b"PLTE") - 4
    (length,) = struct.unpack(">I", data[start : start + 4])
    return data[:start] + chunk(b"PLTE", data[start + 8 : start + 8 + 3 * 5]) + data[start + 12 + length :]


def four_inks(change: Callable[[bytes], bytes]) -> bytes:
    """A JPEG of four channels whose Adobe marker, which says what these are, was changed."""
    buffer = io.BytesIO()
    ODD.convert("CMYK").save(buffer, "JPEG")
    data = buffer.getvalue()
    start = data.index(b"\xff\xee\0\x0eAdobe")
    return data[:start] + change(data[start : start + 16]) + data[start + 16 :]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def exif_behind(exif: Image.Exif) -> bytes:
    data = png(17, 9, rows(17, 9, 24))
    return data[:-12] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[-12:]


def interlaced(width: int, height: int, bits: int, depth: int, color: int) -> bytes:
    """A PNG in the seven passes of Adam7, of random pixels."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    sizes = [(len(range(x, width, across)), len(range(y, height, down))) for x, y, across, down in passes]
    content = b"".join(rows(*size, bits) for size in sizes if all(size))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 1)
    ends = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def difference(path: Path) -> int:
    """The largest difference of a byte between what the program decodes and what Pillow does."""
    done = cpp.decoded(path)
    assert done.returncode == 0, done.stderr
    expected, actual = np.asarray(read_picture(path)), np.asarray(Image.open(io.BytesIO(done.stdout)))
    assert actual.shape == expected.shape
    return int(np.abs(actual.astype(int) - expected).max())


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg(tmp_path: Path, name: str) -> None:
    JPEGS[name](tmp_path / "picture.jpg")
    found = difference(tmp_path / "picture.jpg")
    print(f"{name}: at most {found} of 255")
    if features.check_feature("libjpeg_turbo"):
        assert found == 0
    assert found <= 3, "another decoder rounds otherwise, and no more than that"


@pytest.mark.parametrize("name", PNGS)
def test_a_png(tmp_path: Path, name: str) -> None:
    PNGS[name](tmp_path / "picture.png")
    assert difference(tmp_path / "picture.png") == 0


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("text", b"no picture at all", "no picture that is read here"),
        ("empty", b"", "no picture that is read here"),
        ("gif", b"GIF89a" + bytes(40), "no picture that is read here"),
        ("huge", png(100_000, 100_000, b""), "no pixels, more than 2^28"),
        ("long", png(200_000, 1, b""), "damaged"),
        ("png", png(17, 9, rows(17, 9, 24))[:-40], "damaged"),
        ("chunk", png(17, 9, rows(17, 9, 24)).replace(b"IHDR", b"IHDX"), "damaged"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, data: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(data)
    done = cpp.edgevit(cpp.project() / "bundle", tmp_path / name)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_jpeg_that_ends_too_early(tmp_path: Path, share: float) -> None:
    buffer = io.BytesIO()
    photograph().save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    done = cpp.edgevit(cpp.project() / "bundle", tmp_path / "cut.jpg")
    assert done.returncode == 2
    assert "damaged" in done.stderr


def test_a_strip_is_refused(tmp_path: Path) -> None:
    """Resized to cover the box it would have more pixels than any photograph."""
    Image.new("RGB", (1, 30_000)).save(tmp_path / "strip.png")
    done = cpp.edgevit(cpp.project() / "bundle", tmp_path / "strip.png")
    assert done.returncode == 2
    assert "cut it to the part that matters" in done.stderr


def decoded_within(megabytes: int, picture: Path) -> subprocess.CompletedProcess[bytes]:
    """What is decoded by a process that gets so much memory and no more."""
    words = ["sh", "-c", f'ulimit -v {megabytes * 1024}; exec "$@"', "sh", cpp.project() / "build/edgevit-pixels", picture]
    return subprocess.run(words, capture_output=True, timeout=120)


def peak_kb(picture: Path) -> int:
    """The most memory that decoding took; of a small process's child, since this one's own size would count."""
    program = [sys.executable, "-c", PEAK, cpp.project() / "build/edgevit-pixels", picture]
    return int(subprocess.run(program, capture_output=True, check=True, text=True, timeout=120).stdout)


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_texts_are_no_bomb(tmp_path: Path) -> None:
    """30 texts of 8 MB in a file of 231 kB; Pillow refuses one."""
    picture = png(17, 9, rows(17, 9, 24))
    bomb = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * 7_900_000, 9))
    (tmp_path / "plain.png").write_bytes(picture)
    (tmp_path / "bomb.png").write_bytes(picture[:33] + 30 * bomb + picture[33:])
    assert peak_kb(tmp_path / "bomb.png") < peak_kb(tmp_path / "plain.png") + 20_000
    assert cpp.decoded(tmp_path / "bomb.png").stdout == cpp.decoded(tmp_path / "plain.png").stdout


def test_a_picture_for_which_memory_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "wide.png").write_bytes(png(10_000, 10_000, bytes(1251 * 10_000), bits=1, color=0))
    done = decoded_within(100, tmp_path / "wide.png")
    assert done.returncode == 2
    assert done.stderr.endswith(b"wide.png: not enough memory for its pixels; make it smaller\n")
    assert done.stderr.count(b"\n") == 1
    assert decoded_within(1000, tmp_path / "wide.png").returncode == 0
