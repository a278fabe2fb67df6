"""Pictures in Chromium and in Pillow: the same pixels, upright and after the crop, for every kind that both read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from edgevit_deploy.apps.samples import SAMPLES
from edgevit_deploy.data.pictures import ORIENTATION, read_picture
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import Preprocess
from tests.helpers.vectors import VECTORS, made
from tests.helpers.web import served, visit

PLAIN = Preprocess(resize=(256, 256), crop=(224, 224))


def _photograph() -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg"))


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


def _wide_gamut() -> bytes:
    """sRGB's profile with red and green exchanged: whoever heeds it shows other colours."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (int.from_bytes(profile[place : place + 4]) for place in (profile.find(tag) + 4 for tag in (b"rXYZ", b"gXYZ")))
    profile[red : red + 20], profile[green : green + 20] = profile[green : green + 20], profile[red : red + 20]
    return bytes(profile)


def _see_through() -> Image.Image:
    colours = np.asarray(_photograph())
    opacity = np.random.default_rng(0).integers(0, 256, (*colours.shape[:2], 1), dtype=np.uint8)
    opacity[100:200, 100:500] = 0
    return Image.fromarray(np.concatenate([colours, opacity], axis=2))


def _grey_of_16_bits() -> Image.Image:
    return Image.fromarray(np.asarray(_photograph().convert("L")).astype(np.uint16) * 257 + 77)


KINDS: dict[str, Callable[[Path], None]] = {
    "plain.jpg": lambda path: _photograph().save(path, quality=90),
    "444.jpg": lambda path: _photograph().save(path, quality=95, subsampling=0),
    "progressive.jpg": lambda path: _photograph().save(path, progressive=True),
    "grey.jpg": lambda path: _photograph().convert("L").save(path),
    "cmyk.jpg": lambda path: _photograph().convert("CMYK").save(path),
    "wide gamut.jpg": lambda path: _photograph().save(path, icc_profile=_wide_gamut()),
    "wide gamut.png": lambda path: _photograph().save(path, icc_profile=_wide_gamut()),
    "12 megapixels.jpg": lambda path: _photograph().resize((4000, 3000)).save(path, quality=90),
    "tall.png": lambda path: _photograph().resize((100, 400)).save(path),
    "turned.png": lambda path: _photograph().save(path, exif=_turned(8)),
    "see-through.png": lambda path: _see_through().save(path),
    "see-through.webp": lambda path: _see_through().save(path, lossless=True, exact=True),
    "16 bits.png": lambda path: _grey_of_16_bits().save(path),
    "palette.png": lambda path: _photograph().convert("P", palette=Image.Palette.ADAPTIVE).save(path),
    "palette.gif": lambda path: _photograph().convert("P", palette=Image.Palette.ADAPTIVE).save(path),
    "one bit.png": lambda path: _photograph().convert("1").save(path),
    "plain.bmp": lambda path: _photograph().save(path),
    "plain.webp": lambda path: _photograph().save(path, quality=80),
    **{
        f"exif {number}.jpg": (lambda path, number=number: _photograph().save(path, exif=_turned(number)))
        for number in range(2, 9)
    },
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The sample without a bundle: its modules are asked, not its page."""
    with served(SAMPLES / "web") as address:
        yield address


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


@pytest.mark.slow
def test_chromium_gives_pillows_pixels(url: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in KINDS]
    for path, make in zip(files, KINDS.values(), strict=True):
        make(path)
    seen = visit("pixels", url, {"files": [str(path) for path in files], "preprocess": json.loads(json_bytes(PLAIN))})
    different = []
    for path in files:
        picture, found = np.asarray(read_picture(path)), seen["found"][str(path)]
        assert found["size"] == list(picture.shape[:2]), path.name
        if (found["pixels"], found["cropped"]) != (_sha256(picture), _sha256(read_pixels(path, PLAIN))):
            different.append(path.name)
    assert different == []


@pytest.mark.slow
def test_pictures_stand_upright(url: str, tmp_path: Path) -> None:
    """Each orientation of the vectors, and the numbers that are none."""
    entries = json.loads(VECTORS.read_bytes())["upright"]
    files = [tmp_path / f"{entry['orientation']}.png" for entry in entries]
    for path, entry in zip(files, entries, strict=True):
        height, width = entry["size"]
        Image.fromarray(made(entry["seed"], entry["kind"], width, height)).save(path, exif=_turned(entry["orientation"]))
    seen = visit("pixels", url, {"files": [str(path) for path in files], "preprocess": json.loads(json_bytes(PLAIN))})
    for path, entry in zip(files, entries, strict=True):
        found = seen["found"][str(path)]
        assert (found["size"], found["pixels"]) == (entry["upright"], entry["sha256"]), entry["orientation"]
