"""Pictures of every kind that apps meet, made of scikit-learn's two photographs, and labelled ones of the trained network's kind.

Nothing is fetched: the photographs are those that scikit-learn installs, the labelled pictures those of `tests/fixtures/trained`.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Group = Literal["plain", "special", "enlarged", "grain", "turned"]

TRAINED = Path(__file__).parents[4] / "tests" / "fixtures" / "trained"
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
"""In the order of the data set's own targets."""

ORIENTATION = 0x0112
PORTRAIT = (160, 0, 480, 427)
BORDER = 2
SIDES = 560, 720
GRAIN = 12
"""Standard deviation of what a sensor adds to each pixel, of 255."""

DISPLAY_P3 = {
    b"rXYZ": (0.515102, 0.241182, -0.001053),
    b"gXYZ": (0.291965, 0.692236, 0.041885),
    b"bXYZ": (0.157153, 0.066582, 0.784378),
}
"""Its primaries, as a profile has them (adapted to D50); its curve is sRGB's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture's file.

    Attributes:
        kind: what is told apart in the table of kinds.
        orientation: as EXIF in the file says.
        label: class by name, of a labelled one.
    """

    path: Path
    kind: str
    group: Group
    orientation: int = 1
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    group: Group
    end: str
    save: Callable[[Image.Image, Path], object]
    orientation: int = 1


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


def stored(picture: Image.Image, orientation: int) -> Image.Image:
    """Return how a camera that was held so stores a picture: turned back by what EXIF says."""
    turn = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    return picture.transpose(turn)


def display_p3() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, values in DISPLAY_P3.items():
        (place,) = struct.unpack(">I", profile[profile.find(tag) + 4 : profile.find(tag) + 8])
        profile[place + 8 : place + 20] = struct.pack(">3i", *(round(value * 65536) for value in values))
    return bytes(profile)


def see_through(picture: Image.Image) -> Image.Image:
    """Cut a round part out, with a soft edge, as a program for pictures does; the colours behind it stay in the file."""
    rows, columns = np.indices((picture.height, picture.width))
    distance = np.hypot(rows / picture.height - 0.5, columns / picture.width - 0.5)
    opacity = np.clip((0.45 - distance) * 2550, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([np.asarray(picture), opacity]))


def twelve_megapixels(picture: Image.Image) -> Image.Image:
    """Enlarge a picture, and add the grain that a sensor of that size has."""
    size = (4000, 3000) if picture.width > picture.height else (3000, 4000)
    return with_grain(picture.resize(size, Image.Resampling.BICUBIC), GRAIN / 2, np.random.default_rng(12))


def with_grain(picture: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture).astype(np.float32)
    grain = rng.normal(0, deviation, (*pixels.shape[:2], 1)).astype(np.float32)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).round().astype(np.uint8))


def write_16_bits(pixels: NDArray[np.uint16], path: Path) -> None:
    """Write a PNG of 16 bits, grey or RGB; Pillow writes grey ones alone."""
    height, width = pixels.shape[:2]
    color = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def in_16_bits(picture: Image.Image) -> NDArray[np.uint16]:
    """Return values whose lower eight bits are not those that every reader would drop alike, nor round alike."""
    return np.minimum(np.asarray(picture).astype(np.uint32) * 257 + 77, 65535).astype(np.uint16)


KINDS: dict[str, Kind] = {
    "JPEG 4:2:0": Kind(group="plain", end="jpg", save=lambda picture, path: picture.save(path, quality=90)),
    "JPEG 4:4:4": Kind(group="plain", end="jpg", save=lambda picture, path: picture.save(path, quality=95, subsampling=0)),
    "JPEG grey": Kind(group="plain", end="jpg", save=lambda picture, path: picture.convert("L").save(path, quality=90)),
    "PNG": Kind(group="plain", end="png", save=lambda picture, path: picture.save(path)),
    "WebP": Kind(group="plain", end="webp", save=lambda picture, path: picture.save(path, quality=80)),
    "12 MP, 4:2:0": Kind(group="plain", end="jpg", save=lambda picture, path: twelve_megapixels(picture).save(path, quality=90)),
    "12 MP, 4:4:4": Kind(
        group="plain", end="jpg", save=lambda picture, path: twelve_megapixels(picture).save(path, quality=95, subsampling=0)
    ),
    **{
        f"{name}, EXIF turn": Kind(
            group="special",
            end=end,
            orientation=turn,
            save=lambda picture, path, turn=turn: stored(picture, turn).save(path, quality=90, exif=turned(turn)),
        )
        for name, end, turn in (("JPEG", "jpg", 6), ("PNG", "png", 8), ("WebP", "webp", 6))
    },
    "JPEG, CMYK": Kind(group="special", end="jpg", save=lambda picture, path: picture.convert("CMYK").save(path, quality=90)),
    "JPEG, Display P3": Kind(
        group="special", end="jpg", save=lambda picture, path: picture.save(path, quality=90, icc_profile=display_p3())
    ),
    "PNG, Display P3": Kind(group="special", end="png", save=lambda picture, path: picture.save(path, icc_profile=display_p3())),
    "PNG, alpha": Kind(group="special", end="png", save=lambda picture, path: see_through(picture).save(path)),
    "PNG, 16-bit grey": Kind(
        group="special", end="png", save=lambda picture, path: write_16_bits(in_16_bits(picture.convert("L")), path)
    ),
    "PNG, 16-bit RGB": Kind(group="special", end="png", save=lambda picture, path: write_16_bits(in_16_bits(picture), path)),
}


def photographs() -> Iterator[tuple[str, Image.Image]]:
    """Yield two photographs, each whole and a part of it in portrait."""
    from sklearn.datasets import load_sample_image

    for name in ("china", "flower"):
        whole = Image.fromarray(load_sample_image(f"{name}.jpg"))
        yield name, whole
        yield f"{name}-portrait", whole.crop(PORTRAIT)


def write_photographs(folder: Path) -> Iterator[Picture]:
    """Write the photographs in every kind; those of 12 megapixels of whole ones alone."""
    for name, picture in photographs():
        for number, (kind, how) in enumerate(KINDS.items()):
            if kind.startswith("12 MP") and name.endswith("portrait"):
                continue
            path = folder / f"{name}-{number:02}.{how.end}"
            how.save(picture, path)
            yield Picture(path=path, kind=kind, group=how.group, orientation=how.orientation)


def write_labelled(folder: Path, count: int) -> Iterator[Picture]:
    """Write the first pictures of each class of the trained network's test set, `count` in all, as a camera would.

    Each is enlarged from 28 x 28 (and its black border) to a square of 560 to 720 pixels, a JPEG 4:2:0 of quality 90: as it is,
    with grain, and stored on its side, as phones do.
    """
    with np.load(TRAINED / "pictures.npz") as kept:
        pictures, targets = kept["val"], kept["val_targets"]
    by_class = [np.flatnonzero(targets == target) for target in range(len(LABELS))]
    chosen = np.stack(by_class, axis=1).ravel()[:count]  # one of each class after the other
    rng = np.random.default_rng(28)
    for place in chosen:
        side = int(rng.integers(*SIDES, endpoint=True))
        small = Image.fromarray(np.pad(pictures[place], BORDER)).convert("RGB")
        large = small.resize((side, side), Image.Resampling.BICUBIC)
        ways: dict[Group, tuple[Image.Image, int]] = {
            "enlarged": (large, 1),
            "grain": (with_grain(large, GRAIN, rng), 1),
            "turned": (stored(large, 6), 6),
        }
        for group, (picture, orientation) in ways.items():
            path = folder / f"{group}-{place:04}.jpg"
            picture.save(path, quality=90, exif=turned(orientation))
            yield Picture(path=path, kind=group, group=group, orientation=orientation, label=LABELS[targets[place]])
