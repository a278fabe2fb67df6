"""What a way from a picture's file to the pixels of the crop is, and those that are in Python."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgevit_deploy.data.pictures import read_picture
from edgevit_deploy.data.preprocess import read_pixels, resized_size
from edgevit_deploy.errors import UsageError, first_line
from edgevit_deploy.spec import Preprocess, Size
from preprocessing.pictures import Picture

Pixels = NDArray[np.uint8]
Found = dict[str, Pixels | str]
"""By the name of a way: the pixels of the crop, uint8 (height, width, 3), or in a line why the picture is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A picture, and how it is to be preprocessed."""

    picture: Picture
    preprocess: Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What goes one way or several.

    Attributes:
        ways: by name; those that begin with "ours" are held to a difference of 0.
        missing: says in a few words what is not installed here; nothing where all is there.
        run: takes jobs and a folder of its own, and yields what was found of each, in order.
        version: of what it was run with.
    """

    ways: tuple[str, ...]
    missing: Callable[[], str]
    run: Callable[[Sequence[Job], Path], Iterator[Found]]
    version: Callable[[], str]


def of_each(ways: dict[str, Callable[[Job], Pixels]]) -> Callable[[Sequence[Job], Path], Iterator[Found]]:
    """Return what runs functions of this process on each picture."""

    def one(way: Callable[[Job], Pixels], job: Job) -> Pixels | str:
        try:
            return way(job)
        except (UsageError, OSError, ValueError) as error:
            return first_line(error)

    return lambda jobs, _: ({name: one(way, job) for name, way in ways.items()} for job in jobs)


def cut(resized: NDArray[Any], crop: Size) -> Pixels:
    """Return the middle of a picture (height, width, 3)."""
    top, left = (round((side - kept) / 2) for side, kept in zip(resized.shape[:2], crop, strict=True))
    return np.ascontiguousarray(resized[top : top + crop[0], left : left + crop[1]])


# Python: the yardstick, and Pillow as it is often written.

OURS = "ours: Python"
WITHOUT_EXIF = "Pillow without EXIF"


def _without_exif(job: Job) -> Pixels:
    with Image.open(job.picture.path) as opened:
        picture = opened.convert("RGB")
    height, width = resized_size((picture.height, picture.width), job.preprocess)
    return cut(np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)), job.preprocess.crop)


PILLOW = Tool(
    ways=(OURS, WITHOUT_EXIF),
    missing=lambda: "",
    run=of_each({OURS: lambda job: read_pixels(job.picture.path, job.preprocess), WITHOUT_EXIF: _without_exif}),
    version=lambda: f"Pillow {Image.__version__}",
)

# PyTorch: a tensor of bytes is resized, as torchvision's transforms do with tensors.

ANTIALIASED = {f"torch bicubic, antialias={antialias}": antialias for antialias in (False, True)}


def _by_torch(job: Job, antialias: bool) -> Pixels:
    import torch
    from torch.nn import functional

    picture = np.asarray(read_picture(job.picture.path))  # of the decoders there is a difference, but not of this resize
    planes = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    size = resized_size(picture.shape[:2], job.preprocess)
    resized = functional.interpolate(planes, size=size, mode="bicubic", antialias=antialias)
    return cut(resized[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy(), job.preprocess.crop)


def _torch_version() -> str:
    import torch

    return f"PyTorch {torch.__version__}"


TORCH = Tool(
    ways=tuple(ANTIALIASED),
    missing=lambda: "",
    run=of_each({name: lambda job, with_it=with_it: _by_torch(job, with_it) for name, with_it in ANTIALIASED.items()}),
    version=_torch_version,
)

# OpenCV, whose imread turns pictures by EXIF.

FILTERS = ("INTER_LINEAR", "INTER_AREA", "INTER_CUBIC")


def _by_opencv(job: Job, interpolation: str) -> Pixels:
    import cv2

    picture = cv2.imread(str(job.picture.path))
    if picture is None:
        raise ValueError("imread gives nothing")
    height, width = resized_size(picture.shape[:2], job.preprocess)
    resized = cv2.resize(picture, (width, height), interpolation=getattr(cv2, interpolation))
    return cut(resized[..., ::-1], job.preprocess.crop)


def _opencv_missing() -> str:
    try:
        import cv2  # noqa: F401
    except ImportError:
        return "OpenCV (pip install -e '.[preprocessing]')"
    return ""


def _opencv_version() -> str:
    import cv2

    return f"OpenCV {cv2.__version__}"


OPENCV = Tool(
    ways=tuple(f"OpenCV {name}" for name in FILTERS),
    missing=_opencv_missing,
    run=of_each({f"OpenCV {name}": lambda job, name=name: _by_opencv(job, name) for name in FILTERS}),
    version=_opencv_version,
)
