"""From what a picture file holds to upright RGB of 8 bits: each mode by its rule, each orientation, or a refusal by name."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import read_picture
from edgevit_deploy.errors import UsageError
from tests.helpers.pictures import GREYS, exif, gradient, orientation, png, save, tiff, with_exif

DEEP = GREYS * 257
"""The same greys in 16 bits."""

TWELVE = GREYS * 16 + (GREYS >> 4)
"""The same in 12 bits."""


def deep_rows(channels: int) -> bytes:
    """The rows of a 16-bit PNG, the same value in every channel."""
    values = np.repeat(DEEP[..., np.newaxis], channels, axis=-1).astype(">u2").reshape(16, -1)
    return b"".join(b"\0" + row.tobytes() for row in values)


def packed_12_bits() -> bytes:
    first, second = TWELVE.ravel()[::2], TWELVE.ravel()[1::2]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()


DEEP_FILES = {
    "png grey": png(16, 16, deep_rows(1), bits=16, color=0),
    "png grey with alpha": png(16, 16, deep_rows(2), bits=16, color=4),
    "png rgb": png(16, 16, deep_rows(3), bits=16, color=2),
    "png rgba": png(16, 16, deep_rows(4), bits=16, color=6),
    "pgm": b"P5 16 16 65535\n" + DEEP.astype(">u2").tobytes(),
    "pgm in words": b"P2 16 16 65535\n" + b" ".join(b"%d" % value for value in DEEP.ravel()),
    "pgm of 12 bits": b"P5 16 16 4095\n" + TWELVE.astype(">u2").tobytes(),
    "ppm": b"P6 16 16 65535\n" + np.repeat(DEEP[..., np.newaxis], 3, axis=-1).astype(">u2").tobytes(),
    "tiff": tiff(DEEP.astype("<u2").tobytes()),
    "tiff, big-endian": tiff(DEEP.astype(">u2").tobytes(), order=">"),
    "tiff, white is zero": tiff((65535 - DEEP).astype("<u2").tobytes(), photometric=0),
    "tiff of 12 bits": tiff(packed_12_bits(), bits=(12,)),
    "tiff rgb": tiff(np.repeat(DEEP[..., np.newaxis], 3, axis=-1).astype("<u2").tobytes(), bits=(16,) * 3, photometric=2),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_deep_pictures_keep_their_upper_eight_bits(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DEEP_FILES[name])
    assert find_pictures(tmp_path).paths == (path,)
    np.testing.assert_array_equal(np.asarray(read_picture(path)), np.repeat(GREYS[..., np.newaxis], 3, axis=-1))


@pytest.mark.parametrize("name", ["png grey", "pgm", "tiff", "tiff of 12 bits"])
def test_pillow_alone_makes_something_else_of_deep_grey(tmp_path: Path, name: str) -> None:
    """The negative control of the test above."""
    (tmp_path / "a.png").write_bytes(DEEP_FILES[name])
    with Image.open(tmp_path / "a.png") as image:
        assert not np.array_equal(np.asarray(image.convert("RGB"))[..., 0], GREYS)


UNKNOWN = {
    "signed 16 bits": (tiff(DEEP.astype("<i2", casting="unsafe").tobytes(), signed_or_float=2), "signed pixels of mode I "),
    "signed 8 bits": (tiff(GREYS.astype(np.uint8).tobytes(), bits=(8,), signed_or_float=2), "signed pixels of mode L "),
    "32 bits": (tiff(DEEP.astype("<u4").tobytes(), bits=(32,)), "pixels of mode I "),
    "float": (tiff(DEEP.astype("<f4").tobytes(), bits=(32,), signed_or_float=3), "pixels of mode F "),
    "float in pfm": (b"Pf 16 16 -1.0\n" + DEEP.astype("<f4").tobytes(), "pixels of mode F "),
    "Lab": (tiff(bytes(3 * 256), bits=(8, 8, 8), photometric=8), "pixels of mode LAB "),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_pixels_without_a_rule_are_refused_by_their_mode(tmp_path: Path, name: str) -> None:
    content, said = UNKNOWN[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"a.png: nothing says how {said}become 8-bit RGB; save it as 8-bit RGB, or as"):
        read_picture(path)
    with pytest.raises(UsageError, match=rf"no picture in it, only a.png \(nothing says how {said}become 8-bit RGB\)"):
        find_pictures(tmp_path)


def palette() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return image


MODES: dict[str, tuple[Callable[[], Image.Image], str, dict[str, object], tuple[int, int, int]]] = {
    "1": (lambda: Image.new("1", (8, 8), 1), "PNG", {}, (255, 255, 255)),
    "L": (lambda: Image.new("L", (8, 8), 100), "PNG", {}, (100, 100, 100)),
    "LA": (lambda: Image.new("LA", (8, 8), (100, 7)), "PNG", {}, (100, 100, 100)),
    "P": (palette, "PNG", {}, (10, 200, 30)),
    "P, transparent": (palette, "PNG", {"transparency": 1}, (10, 200, 30)),
    "P, half transparent": (palette, "PNG", {"transparency": b"\x80\x80"}, (10, 200, 30)),
    "PA": (lambda: palette().convert("PA"), "TIFF", {}, (10, 200, 30)),
    "P in a GIF": (palette, "GIF", {}, (10, 200, 30)),
    "RGB": (lambda: Image.new("RGB", (8, 8), (10, 200, 30)), "BMP", {}, (10, 200, 30)),
    "RGBA": (lambda: Image.new("RGBA", (8, 8), (10, 200, 30, 0)), "PNG", {}, (10, 200, 30)),
    "RGBX": (lambda: Image.new("RGBX", (8, 8), (10, 200, 30, 0)), "TIFF", {}, (10, 200, 30)),
    "CMYK": (lambda: Image.new("CMYK", (8, 8), (245, 55, 225, 0)), "TIFF", {}, (10, 200, 30)),
    "CMYK, half black": (lambda: Image.new("CMYK", (8, 8), (0, 0, 0, 155)), "JPEG", {"quality": 100}, (100, 100, 100)),
    "YCbCr": (lambda: Image.new("YCbCr", (8, 8), (100, 128, 128)), "TIFF", {}, (100, 100, 100)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_of_8_bits_becomes_rgb(tmp_path: Path, name: str) -> None:
    """Ink is subtracted from white, transparency is dropped."""
    make, kind, options, colour = MODES[name]
    make().save(tmp_path / "a", kind, **options)
    assert find_pictures(tmp_path).paths == (tmp_path / "a",)
    pixels = np.asarray(read_picture(tmp_path / "a"))
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array(colour, dtype=np.uint8), pixels.shape))


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
    9: lambda pixels: pixels,
}
"""What makes a picture upright that was stored by each orientation (CIPA DC-008, Orientation); 9 is reserved."""


@pytest.mark.parametrize("value", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "16-bit TIFF"])
def test_a_picture_is_turned_upright(tmp_path: Path, kind: str, value: int) -> None:
    header = Image.Exif()
    header[0x0112] = value
    pixels = gradient(16, 24)
    if kind == "16-bit TIFF":
        grey = np.repeat(pixels[..., :1], 3, axis=-1)
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "a", "TIFF", exif=header)
    else:
        grey = pixels
        save(tmp_path / "a", pixels, format=kind, exif=header)
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a")), UPRIGHT[value](grey))


def field(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


ODD = {
    "a negative width": field(0x100, 9, 1, struct.pack("<i", -5)),
    "a float that is none": field(0x9999, 11, 1, struct.pack("<f", float("nan"))),
    "text that is not ASCII": field(0x10F, 2, 4, b"\xff\xfe\xfd\0"),
    "data beyond the end": field(0x10E, 2, 70_000, struct.pack("<I", 65_000)),
    "an unknown type": field(0x10E, 99, 1, b"\1"),
    "a directory that is its own": field(0x8769, 4, 1, struct.pack("<I", 8)),
}


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(gradient(64, 96)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ODD)
def test_the_orientation_is_read_beside_an_odd_field(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(with_exif(jpeg(), exif(orientation(6), ODD[name])))
    (tmp_path / "plain").write_bytes(jpeg())
    np.testing.assert_array_equal(
        np.asarray(read_picture(tmp_path / "a")), np.rot90(np.asarray(read_picture(tmp_path / "plain")), -1)
    )


def test_pillows_own_turning_fails_on_an_odd_field() -> None:
    """The negative control of the test above."""
    image = Image.open(io.BytesIO(with_exif(jpeg(), exif(orientation(6), ODD["a negative width"]))))
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(image)


@pytest.mark.parametrize(
    "block",
    [b"", b"II", b"JJ*\0" + b"\0" * 40, b"II*\0\xff\xff\xff\xff", exif(orientation(6))[:14], exif(field(0x112, 2, 2, b"6"))],
    ids=["empty", "cut off", "no header", "no directory", "no field", "text"],
)
def test_a_picture_with_broken_exif_is_shown_as_it_is(tmp_path: Path, block: bytes) -> None:
    (tmp_path / "a").write_bytes(with_exif(jpeg(), block))
    (tmp_path / "plain").write_bytes(jpeg())
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a")), np.asarray(read_picture(tmp_path / "plain")))
