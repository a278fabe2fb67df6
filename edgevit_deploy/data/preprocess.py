"""From a picture file to a network input: the one implementation of the manifest's `preprocess` record.

Pillow decodes and resizes (its resampling is antialiased, as in the published evaluation), NumPy normalises. An app that
follows the manifest with another library differs by that library's resampling; the golden inputs of a bundle differ by
nothing, which is why they are stored as tensors.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import InputKind, Preprocess, Size

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def find_images(folder: Path) -> list[Path]:
    """Return the picture files of a folder (not of its subfolders), sorted by name.

    Raises:
        UsageError: it is no folder, or there is no picture in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--images {folder}: not a folder; give a folder of pictures")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UsageError(f"--images {folder}: no picture in it; expected {', '.join(IMAGE_SUFFIXES)}")
    return paths


def read_pixels(path: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Decode, turn upright (EXIF), convert to RGB, resize and centre crop one picture.

    Returns:
        uint8 (height, width, 3), RGB, 0 to 255, of the crop's size.

    Raises:
        UsageError: the file is not a picture that Pillow can decode.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot be read as a picture ({str(error).splitlines()[0]})") from error
    return np.asarray(_crop(_resize(picture, preprocess), preprocess.crop))


def normalise(pixels: NDArray[np.uint8], preprocess: Preprocess, takes: InputKind) -> NDArray[np.float32]:
    """Turn pictures into network inputs.

    Args:
        pixels: uint8 (batch, height, width, 3), RGB, 0 to 255.
        preprocess: whose mean, std and value range apply.
        takes: `tensor` normalises; `image` keeps 0 to 255, for a model that normalises inside.

    Returns:
        float32 (batch, 3, height, width).
    """
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float64)
    if takes == "tensor":
        low, high = preprocess.value_range
        mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
        planes = (planes / 255 * (high - low) + low - mean) / std
    return np.ascontiguousarray(planes, dtype=np.float32)


def read_inputs(paths: list[Path], preprocess: Preprocess, takes: InputKind) -> NDArray[np.float32]:
    """Read picture files into one input, float32 (pictures, 3, height, width)."""
    return normalise(np.stack([read_pixels(path, preprocess) for path in paths]), preprocess, takes)


def _resize(picture: "Image", preprocess: Preprocess) -> "Image":
    from PIL.Image import Resampling

    height, width = preprocess.resize
    if preprocess.fit == "cover":
        if height * picture.width >= width * picture.height:
            width = int(height * picture.width / picture.height)
        else:
            height = int(width * picture.height / picture.width)
    filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
    return picture.resize((width, height), filters[preprocess.interpolation])


def _crop(picture: "Image", crop: Size) -> "Image":
    height, width = crop
    top, left = round((picture.height - height) / 2), round((picture.width - width) / 2)
    return picture.crop((left, top, left + width, top + height))
