"""From a picture file to a network input: the one implementation of the manifest's `preprocess` record.

Pillow decodes and resizes (its resampling is antialiased, as in the published evaluation), NumPy normalises. An app that
follows the manifest with another library differs by that library's resampling; the golden inputs of a bundle differ by
nothing, which is why they are stored as tensors.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import read_picture
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import INPUTS, MAX_SIDE, PADDED, InputKind, Preprocess, Size

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

WHOLE_PIXELS = 2**25
"""A picture is resized whole up to this many pixels on the way: every photograph is. Beyond (a strip of 1 pixel by hundreds, a
manifest with an absurd `resize`) only the region that the crop keeps is sampled. There Pillow may take its two passes in another
order and rounds positions to float32, so that some bytes are other ones."""


def read_pixels(path: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Decode, turn upright (EXIF), convert to RGB, resize and centre crop, or pad, one picture.

    Returns:
        uint8 (height, width, 3), RGB, 0 to 255, of the crop's size.

    Raises:
        UsageError: the file is not a picture that can be read, or the preprocessing asks for sizes that no input has.
    """
    _check_sizes(preprocess)
    return np.asarray(_resize_and_crop(read_picture(path), preprocess))


Images = NDArray[np.float32 | np.uint8]
"""Network inputs (batch, 3, height, width), in the type that a file takes."""


def normalise(pixels: NDArray[np.uint8], preprocess: Preprocess, takes: InputKind) -> Images:
    """Turn pictures into network inputs.

    Args:
        pixels: uint8 (batch, height, width, 3), RGB, 0 to 255.
        preprocess: whose mean, std and value range apply.
        takes: what is not of pixels is normalised; what is stays from 0 to 255, for a model that normalises inside.

    Returns:
        float32 or uint8 (batch, 3, height, width), as `takes` says.
    """
    planes: NDArray[Any] = pixels.transpose(0, 3, 1, 2)
    if not INPUTS[takes].pixels:
        low, high = preprocess.value_range
        mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
        planes = (planes.astype(np.float64) / 255 * (high - low) + low - mean) / std
    return np.ascontiguousarray(planes, dtype=INPUTS[takes].dtype)


def _check_sizes(preprocess: Preprocess) -> None:
    sides = (*preprocess.crop, *preprocess.resize)
    if min(sides) < 1 or max(preprocess.crop) > MAX_SIDE:
        raise UsageError(
            f"preprocessing that resizes to {preprocess.resize} and crops to {preprocess.crop} pixels; "
            f"expected a crop of at most {MAX_SIDE} a side; convert again"
        )


def resized_size(size: Size, preprocess: Preprocess) -> Size:
    """Return the (height, width) to which a whole picture of such a size is resized."""
    (height, width), (picture_height, picture_width) = preprocess.resize, size
    if preprocess.fit == "stretch":
        return height, width
    is_wider = height * picture_width >= width * picture_height
    if preprocess.fit in PADDED:
        if is_wider:
            return max(1, width * picture_height // picture_width), width
        return height, max(1, height * picture_width // picture_height)
    if is_wider:
        return height, int(height * picture_width / picture_height)
    return int(width * picture_height / picture_width), width


def _resize_and_crop(picture: "Image", preprocess: Preprocess) -> "Image":
    from PIL.Image import Resampling

    resample = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}[preprocess.interpolation]
    height, width = resized_size((picture.height, picture.width), preprocess)
    if preprocess.fit in PADDED:
        return _padded(picture.resize((width, height), resample), preprocess)
    crop_height, crop_width = preprocess.crop
    top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
    if max(height, picture.height) * width > WHOLE_PIXELS or height * max(width, picture.width) > WHOLE_PIXELS:
        kept = max(0, top), min(height, top + crop_height), max(0, left), min(width, left + crop_width)
        return _region(picture, (height, width), kept, resample).crop(
            (left - kept[2], top - kept[0], left - kept[2] + crop_width, top - kept[0] + crop_height)
        )
    return picture.resize((width, height), resample).crop((left, top, left + crop_width, top + crop_height))


def _padded(picture: "Image", preprocess: Preprocess) -> "Image":
    return place_in_image(picture, preprocess, preprocess.padding())


def place_in_image(resized: "Image", preprocess: Preprocess, fill: int | tuple[int, ...]) -> "Image":
    """Return the image, of the crop's size, with a resized picture (or mask) where the preprocessing puts it, else filled."""
    from PIL import Image

    height, width = preprocess.crop
    image = Image.new(resized.mode, (width, height), fill)
    if preprocess.fit in PADDED:
        left_over = (width - resized.width, height - resized.height)
        image.paste(resized, (left_over[0] // 2, left_over[1] // 2) if preprocess.fit == "letterbox" else (0, 0))
    else:
        image.paste(resized, (-round((resized.width - width) / 2), -round((resized.height - height) / 2)))
    return image


def _region(picture: "Image", resized: Size, kept: tuple[int, int, int, int], resample: "Resampling") -> "Image":
    """Return the part (top, bottom, left, right) of a resized picture, without making the rest of it."""
    top, bottom, left, right = kept
    rows, columns = _sampled(picture.height, resized[0], top, bottom), _sampled(picture.width, resized[1], left, right)
    source = picture.crop((columns[0], rows[0], columns[1], rows[1]))
    return source.resize((right - left, bottom - top), resample, box=(columns[2], rows[2], columns[3], rows[3]))


def _sampled(side: int, resized: int, start: int, stop: int) -> tuple[int, int, float, float]:
    """Return from where to where a side of the source is needed for a part of the resized one, and where in it that part lies."""
    scale = side / resized
    reach = 2 * max(scale, 1) + 1  # the bicubic filter is the wider one: two pixels of the coarser of the two pictures
    low, high = max(0, math.floor(start * scale - reach)), min(side, math.ceil(stop * scale + reach))
    return low, high, start * scale - low, min(stop * scale, high) - low
