"""Masks as tools leave them: fewer bits, pictures that EXIF turns, classes that a network has not."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.data.masks import open_mask_folder, open_pair, read_mask
from edgevit_deploy.data.pictures import ORIENTATION, read_indices
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess

SMALL = Preprocess(resize=(8, 8), crop=(8, 8), fit="stretch")
WHOLE = Preprocess(resize=(32, 32), crop=(32, 32), fit="stretch")


def write_png(path: Path, values: np.ndarray, bits: int, *, palette: bool) -> None:
    """A PNG of some bits a pixel, by its specification: rows of packed samples, the first one in the highest bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    unpacked = ((values[..., None] >> np.arange(bits)[::-1]) & 1).reshape(len(values), -1).astype(np.uint8)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 3 if palette else 0, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(3 * 2**bits)) if palette else b""
    chunks = chunk(b"IHDR", header) + colours + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_of_any_width_are_read_as_they_are(bits: int, tmp_path: Path) -> None:
    values = np.arange(35).reshape(5, 7) % 2**bits
    write_png(tmp_path / "a.png", values, bits, palette=True)
    np.testing.assert_array_equal(np.asarray(read_indices(tmp_path / "a.png")), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_fewer_than_8_bits_is_refused(bits: int, tmp_path: Path) -> None:
    values = np.arange(35).reshape(5, 7) % 2**bits
    write_png(tmp_path / "a.png", values, bits, palette=False)
    with pytest.raises(UsageError, match=r"a\.png: a (mask is a PNG, indexed or grey with 8 bits|grey mask of \d bits)"):
        read_indices(tmp_path / "a.png")
    write_png(tmp_path / "b.png", values, 8, palette=False)
    np.testing.assert_array_equal(np.asarray(read_indices(tmp_path / "b.png")), values, "negative control")


def turned(path: Path, size: tuple[int, int], orientation: int) -> Path:
    """A picture of a size (height, width) as it is stored."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turned_picture_has_a_mask_only_where_the_size_tells(orientation: int, suffix: str, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(mask)
    square = turned(tmp_path / f"square{suffix}", (24, 24), orientation)
    with pytest.raises(UsageError, match="EXIF turns its picture, and nothing tells whether the mask was drawn before or after"):
        read_mask(mask, square, SMALL, classes=2)
    long = turned(tmp_path / f"long{suffix}", (24, 40), orientation)
    upright, stored = ((40, 24), (24, 40)) if orientation >= 5 else ((24, 40), (40, 24))
    Image.fromarray(np.zeros(stored, np.uint8)).save(mask)
    with pytest.raises(UsageError, match=r"its picture has .* as it is seen, turned by EXIF; make them of one size"):
        read_mask(mask, long, SMALL, classes=2)
    Image.fromarray(np.zeros(upright, np.uint8)).save(mask)
    if orientation >= 5:
        assert read_mask(mask, long, SMALL, classes=2).shape == (8, 8)
    else:
        with pytest.raises(UsageError, match="EXIF turns its picture"):
            read_mask(mask, long, SMALL, classes=2)


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_a_picture_that_is_not_turned_is_taken(orientation: int, tmp_path: Path) -> None:
    Image.fromarray(np.ones((24, 24), np.uint8)).save(tmp_path / "mask.png")
    picture = turned(tmp_path / "a.jpg", (24, 24), orientation)
    assert (read_mask(tmp_path / "mask.png", picture, SMALL, classes=2) == 1).all()


def test_a_mask_that_its_own_exif_turns_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.ones((24, 24), np.uint8)).save(tmp_path / "mask.png", exif=exif)
    with pytest.raises(UsageError, match="a mask that its own EXIF turns"):
        read_indices(tmp_path / "mask.png")


def test_training_refuses_the_same(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    turned(tmp_path / "images/a.jpg", (24, 24), 6)
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(tmp_path / "masks/a.png")
    with pytest.raises(UsageError, match="EXIF turns its picture"):
        open_pair(open_mask_folder(tmp_path), 0, classes=2)
    turned(tmp_path / "images/a.jpg", (24, 24), 1)
    assert open_pair(open_mask_folder(tmp_path), 0, classes=2)[1].size == (24, 24)


def test_a_class_that_resizing_skips_is_refused_too(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png", tmp_path / "a.png", SMALL, classes=2) == 0).all()
    mask[0, 0] = 7
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for preprocess in (SMALL, WHOLE):
        with pytest.raises(UsageError, match="it has the class 7, and there are 2"):
            read_mask(tmp_path / "mask.png", tmp_path / "a.png", preprocess, classes=2)
