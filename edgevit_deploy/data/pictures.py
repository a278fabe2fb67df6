"""Picture files from outside: which files of a folder are pictures, and their pixels. Nothing else in the package opens one.

What is a picture is decided by its content, whatever its name says, and the size that it claims is checked before it is decoded.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from edgevit_deploy.errors import UsageError, first_line
from edgevit_deploy.outside.files import is_folder, is_of_the_machine, open_regular
from edgevit_deploy.spec import Size

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "AVIF", "PPM")
"""Formats that are read; what phones write as MPO is opened as JPEG. Pillow knows others that it does not read itself: PostScript
it hands to the first `gs` on the PATH, so that a stranger's picture would be run as a program."""

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""First bytes that text does not begin with by chance."""

EXPECTED = "JPEG, PNG, BMP, WebP, GIF, TIFF, AVIF or PPM"

MAX_PIXELS = 2**28
"""268 million; phones write 200 million today."""

MAX_SIDE = 2**17
"""Of a picture, in pixels; with it, one pass of a resize stays in bounds too."""

CONVERTED = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pillow's modes of 8 bits a channel that become RGB by its own rules; transparency is dropped."""

ORIENTATION = 0x0112
"""The EXIF field that says how the camera was held."""

TURNED = range(2, 9)  # its values that turn or mirror a picture; those from 5 exchange the sides

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Fields of a TIFF file."""

NAMED = 5
"""How many files a line names before it counts the others."""

_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A file of a folder of pictures that is not run: its name, and in a few words why."""

    file: str
    why: str


class NoPictureError(Exception):
    """A file that is no picture, or cannot be opened; the text says why in a few words."""


def is_picture(path: Path) -> bool:
    """Say whether a file's header is that of a picture that is read here; its contents may still be damaged."""
    return not why_not(path)


def named(passed_over: Sequence[PassedOver]) -> str:
    """Return the first few files with the reason of each, and how many more there are."""
    first = ", ".join(f"{item.file} ({item.why})" for item in passed_over[:NAMED])
    return first if len(passed_over) <= NAMED else f"{first} and {len(passed_over) - NAMED} more"


def read_picture(path: Path) -> "Image":
    """Decode one picture, in 8 bits a channel, RGB, turned upright.

    Grey pictures of more bits keep their upper eight, as colour pictures do when Pillow reads them.

    Raises:
        UsageError: no picture, a damaged one, one that is too large, or one of a mode that is not converted.
        OSError: the machine cannot read it, or any other: see `is_of_the_machine`.
        MemoryError: likewise.
    """
    try:
        with _opened(path) as image:
            image.load()
            return _upright(_rgb(image), _orientation(image))
    except UsageError:
        raise
    except NoPictureError as error:
        raise UsageError(f"{path}: cannot be read as a picture ({error}); give {EXPECTED}") from error
    except Exception as error:  # of a decoder on arbitrary bytes; no list of them is complete
        if is_of_the_machine(error):
            raise
        raise UsageError(f"{path}: damaged, cannot be read as a picture ({first_line(error)}); copy it again") from error


def read_indices(path: Path) -> "Image":
    """Decode the numbers of an indexed or grey picture of 8 bits, as they are stored: a mask, whose numbers are classes.

    Raises:
        UsageError: no PNG of that kind, one that EXIF turns, or a damaged one.
        OSError: as `read_picture`, and so for `MemoryError`.
    """
    from PIL import Image

    try:
        with _opened(path) as image:
            if image.format != "PNG" or image.mode not in ("P", "L"):
                raise UsageError(f"{path}: a mask is a PNG, indexed or grey with 8 bits, and this is {image.format} {image.mode}")
            if image.mode == "L" and (bits := _png_bits(path)) != 8:  # Pillow scales them to 0 ... 255
                raise UsageError(f"{path}: a grey mask of {bits} bits, which have scales; save it indexed, or grey with 8 bits")
            if _orientation(image) in TURNED:
                raise UsageError(f"{path}: a mask that its own EXIF turns; save it as it is to be seen, without EXIF")
            return Image.fromarray(np.asarray(image).astype(np.uint8))
    except UsageError:
        raise
    except NoPictureError as error:
        raise UsageError(f"{path}: cannot be read as a mask ({error}); give a PNG, indexed or grey with 8 bits") from error
    except Exception as error:  # of a decoder on arbitrary bytes; no list of them is complete
        if is_of_the_machine(error):
            raise
        raise UsageError(f"{path}: damaged, cannot be read as a mask ({first_line(error)}); copy it again") from error


def why_not(path: Path) -> str:
    """Say in a few words why a file is not run, as far as its header tells; nothing for a picture."""
    if path.name.startswith("."):
        return "hidden"
    if is_folder(path):
        return "folder"
    try:
        with _opened(path):
            return ""
    except NoPictureError as error:
        return str(error)
    except UsageError as error:
        return in_short(error, path)


def in_short(error: UsageError, path: Path) -> str:
    """Return what is wrong with a picture, without its path and without what to do about it."""
    return str(error).removeprefix(f"{path}: ").partition(";")[0]


def picture_size(path: Path) -> Size | None:
    """Return the size alone that `size_and_turn` does."""
    return (size_and_turn(path) or (None,))[0]


def size_and_turn(path: Path) -> tuple[Size, int] | None:
    """Return (height, width) by a picture's header, upright, and its orientation, 1 if not turned; None if it has none."""
    try:
        with _opened(path) as image:
            orientation = _orientation(image)
            turn = orientation if isinstance(orientation, int) and orientation in TURNED else 1
            return ((image.width, image.height) if turn >= 5 else (image.height, image.width)), turn
    except (NoPictureError, UsageError):
        return None


def _png_bits(path: Path) -> int:
    """Return the bits of a sample by the first chunk of a PNG; 0 where another one is first."""
    with open_regular(path) as file:
        start = file.read(25)
    return start[24] if start[12:16] == b"IHDR" else 0


@contextmanager
def _opened(path: Path) -> "Iterator[ImageFile]":
    """Open a picture and read its header; nothing is decoded yet.

    Raises:
        NoPictureError: the file cannot be opened, or is nothing that is read here.
        UsageError: a picture that is too large, or of a mode that is not converted.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise NoPictureError(error.strerror or "cannot be opened") from error
    with file, _our_limits():
        from PIL import Image

        Image.init()
        known = [name for name in FORMATS if name in Image.OPEN]  # older ones of Pillow do not know all
        too_large = UsageError(
            f"{path}: more than {MAX_PIXELS} pixels, or a side of more than {MAX_SIDE}, by its header; make it smaller"
        )
        try:
            image = Image.open(file, formats=known)
        except Image.DecompressionBombError as error:
            raise too_large from error
        except Exception as error:  # of a parser on arbitrary bytes; no list of them is complete
            if is_of_the_machine(error):
                raise
            raise _not_opened(path, file, known) from error
        if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
            raise too_large
        if (image.mode not in CONVERTED and _grey_bits(image) is None) or _signed(image):
            signed = "signed " if _signed(image) else ""
            raise UsageError(
                f"{path}: nothing says how {signed}pixels of mode {image.mode} become 8-bit RGB; "
                "save it as 8-bit RGB, or as 8-bit or 16-bit grey"
            )
        yield image


def _not_opened(path: Path, file: BinaryIO, known: Sequence[str]) -> Exception:
    """Return what is wrong with a file that Pillow did not open."""
    file.seek(0)
    start = file.read(12)
    avif = start[4:] in (b"ftypavif", b"ftypavis")
    if avif and "AVIF" not in known:
        return NoPictureError("AVIF, which needs a newer Pillow")
    if avif or (start[:4], start[8:]) == (b"RIFF", b"WEBP"):  # these two are opened only when they are complete
        return UsageError(f"{path}: damaged, cannot be read as a picture; copy it again")
    return NoPictureError("damaged header" if start.startswith(SIGNATURES) else "no picture")


@contextmanager
def _our_limits() -> Iterator[None]:
    """Let Pillow refuse what we refuse, and keep its warnings from stderr; afterwards it is as it was.

    Both are settings of the whole process, so only one thread is in here.
    """
    from PIL import Image

    with _ONE_AT_A_TIME, warnings.catch_warnings(action="ignore"):
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _grey_bits(image: "ImageFile") -> int | None:
    """Return how many bits a grey picture of more than eight has; None where the range of its values is not known."""
    if image.mode.startswith("I;16"):
        return 12 if _tiff_field(image, BITS_PER_SAMPLE) == (12,) else 16
    return 16 if image.mode == "I" and image.format == "PPM" else None  # Pillow scales any maximum of a PGM to 16 bits


def _signed(image: "ImageFile") -> bool:
    """Say whether samples are signed, which Pillow reads as if they were not."""
    formats = _tiff_field(image, SAMPLE_FORMAT)
    return isinstance(formats, tuple) and 2 in formats


def _tiff_field(image: "ImageFile", tag: int) -> object:
    """Return a field of a TIFF picture; None where there is none, or in another format."""
    from PIL.TiffImagePlugin import TiffImageFile

    return image.tag_v2.get(tag) if isinstance(image, TiffImageFile) else None


def _rgb(image: "ImageFile") -> "Image":
    from PIL import Image

    bits = _grey_bits(image)
    if bits is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    if _tiff_field(image, PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds in 8 bits only
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


def _orientation(image: "ImageFile") -> object:
    """Return the orientation that EXIF gives; 1, upright, where EXIF is broken. No other field of it is looked at."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception as error:  # of a parser on arbitrary bytes; viewers show such a picture as it is
        if is_of_the_machine(error):
            raise
        return 1


def _upright(picture: "Image", orientation: object) -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)
