"""How a picture becomes an input: the record that a manifest keeps, and what a user says of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from edgevit_deploy.errors import UsageError, did_you_mean

Size = tuple[int, int]  # (height, width) in pixels
Triple = tuple[float, float, float]  # of the channels R, G, B
Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["cover", "stretch", "letterbox", "pad"]

PADDED: tuple[ResizeMode, ...] = ("letterbox", "pad")
"""They show all of a picture in its shape and fill what is left of the image, so nothing is cropped."""

MAX_SIDE = 4096
"""Pixels of height or width; at this size the attention of the first stage alone takes tens of GB."""

MAX_RESIZED = 2 * MAX_SIDE
"""Pixels of a side to which a picture may be resized before the crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a photograph becomes an input: resize, centre crop, scale to `value_range`, subtract mean, divide by std.

    `resize` is a box (height, width) in pixels: `fit` cover scales the picture, keeping its shape, until it just covers the
    box (for a square box: the shorter side gets that length); stretch makes it exactly the box. letterbox and pad scale it,
    keeping its shape, until it just fits into the box, which then is the crop's; letterbox puts it into the middle, pad to
    the top left, as detectors are trained; the rest is of the whole colour nearest to the mean, about 0 once normalised.
    `mean` and `std` are per channel, in `color_order`, in units of `value_range`.
    """

    resize: Size
    crop: Size
    fit: ResizeMode = "cover"
    interpolation: Interpolation = "bicubic"
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    color_order: Literal["RGB"] = "RGB"
    value_range: tuple[float, float] = (0.0, 1.0)

    def padding(self) -> tuple[int, ...]:
        """Return the colour (R, G, B, each 0 to 255) around a padded picture: the nearest to the mean, a half up."""
        low, high = self.value_range
        return tuple(min(255, max(0, math.floor((mean - low) / (high - low) * 255 + 0.5))) for mean in self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessChoice:
    """What a user says of the preprocessing; None means not said.

    Attributes:
        mean: of each channel, in units of 0 to 1.
        std: of each channel, likewise.
        crop_ratio: the share of each side of the resized picture that the crop keeps; 1 crops nothing of a square picture.
        interpolation: of the resize.
        resize_mode: cover keeps the picture's shape, stretch does not; letterbox and pad keep it and crop nothing.

    Raises:
        UsageError: a value that cannot be; the message names the flag.
    """

    mean: Triple | None = None
    std: Triple | None = None
    crop_ratio: float | None = None
    interpolation: Interpolation | None = None
    resize_mode: ResizeMode | None = None

    def __post_init__(self) -> None:
        for flag, values in (("--mean", self.mean), ("--std", self.std)):
            if values is not None and (len(values) != 3 or not all(map(math.isfinite, values))):
                raise UsageError(f"{flag} {_listed(values)}: expected three finite numbers, one each for R, G and B")
            if values is not None and max(values) > 1:
                raise UsageError(f"{flag} {_listed(values)}: expected values in units of 0 to 1; divide --mean and --std by 255")
        if self.std is not None and min(self.std) <= 0:
            raise UsageError(f"--std {_listed(self.std)}: expected numbers above 0")
        if self.crop_ratio is not None and not 0 < self.crop_ratio <= 1:
            raise UsageError(f"--crop-ratio {self.crop_ratio:g}: expected a number above 0 and at most 1; 1 is for no crop")
        for flag, word, kind in (
            ("--interpolation", self.interpolation, Interpolation),
            ("--resize-mode", self.resize_mode, ResizeMode),
        ):
            if word is not None and word not in get_args(kind):
                raise UsageError(f"{flag} {word}: {did_you_mean(str(word), get_args(kind))}")
        if self.resize_mode is not None:
            self._check_crop(self.resize_mode)

    def applied_to(self, preprocess: Preprocess) -> Preprocess:
        """Return the preprocessing with what was said; the crop stays what it is, the image size.

        Raises:
            UsageError: pictures would be resized to more pixels than a manifest may record, or padded and cropped.
        """
        fit = self.resize_mode or preprocess.fit
        self._check_crop(fit)
        resize = preprocess.resize if self.crop_ratio is None else resized(preprocess.crop, self.crop_ratio)
        if fit in PADDED:
            resize = preprocess.crop
        if max(resize) > MAX_RESIZED:
            raise UsageError(
                f"pictures would be resized to {resize[0]} x {resize[1]} pixels, expected at most {MAX_RESIZED} a side; "
                "use a larger --crop-ratio or a smaller --image-size"
            )
        return replace(
            preprocess,
            resize=resize,
            mean=preprocess.mean if self.mean is None else self.mean,
            std=preprocess.std if self.std is None else self.std,
            interpolation=self.interpolation or preprocess.interpolation,
            fit=fit,
        )

    def _check_crop(self, fit: ResizeMode) -> None:
        if fit in PADDED and self.crop_ratio not in (None, 1):
            raise UsageError(
                f"--crop-ratio {self.crop_ratio:g}: --resize-mode {fit} shows all of a picture; drop --crop-ratio, or use "
                "--resize-mode cover"
            )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def resized(crop: Size, crop_ratio: float) -> Size:
    """Return to what (height, width) a picture is resized of which `crop` keeps that share of each side, as timm rounds it."""
    return math.floor(crop[0] / crop_ratio), math.floor(crop[1] / crop_ratio)


PUBLISHED_CROP_RATIO = 224 / 256


def imagenet_preprocess(size: Size) -> Preprocess:
    """Return the evaluation preprocessing of the published code: resize by 256/224, centre crop, ImageNet statistics.

    Source: saic-fi/edgevit src/datasets.py, build_transform (itself DeiT's).
    """
    return Preprocess(resize=resized(size, PUBLISHED_CROP_RATIO), crop=size)


IMAGENET_224 = imagenet_preprocess((224, 224))
