"""What a model is and what goes in and out of it: the types that every layer shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.spec.inputs import INPUTS as INPUTS
from edgevit_deploy.spec.inputs import MAX_TENSOR_BYTES as MAX_TENSOR_BYTES
from edgevit_deploy.spec.inputs import InputKind as InputKind
from edgevit_deploy.spec.inputs import InputType as InputType
from edgevit_deploy.spec.inputs import tensor_bytes as tensor_bytes
from edgevit_deploy.spec.inputs import too_large as too_large
from edgevit_deploy.spec.precision import BYTES_PER_WEIGHT as BYTES_PER_WEIGHT
from edgevit_deploy.spec.precision import QUANTISED as QUANTISED
from edgevit_deploy.spec.precision import FloatPrecision as FloatPrecision
from edgevit_deploy.spec.precision import Precision as Precision
from edgevit_deploy.spec.precision import floating as floating

VERSION = "0.1.0"
"""Of this package; pyproject.toml states the same."""

IN_A_CHECKOUT = all((Path(__file__).parent.parent.parent / name).is_file() for name in ("convert.py", "pyproject.toml"))
PROGRAM = "convert.py" if IN_A_CHECKOUT else "edgevit-deploy"
"""What people type: `python convert.py` in the project's folder, the console script where a wheel was installed."""

Graph = Literal["original", "deploy"]
OutputKind = Literal["logits", "probabilities", "features"]
Task = Literal["classify", "features"]
Size = tuple[int, int]  # (height, width) in pixels
Triple = tuple[float, float, float]  # of the channels R, G, B
Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["cover", "stretch"]

SIZE_STEP = 32
"""The patch embeddings divide height and width by 4, 2, 2 and 2, so both must be multiples of 32 (paper, section 3)."""

MAX_SIDE = 4096
"""Pixels of height or width; at this size the attention of the first stage alone takes tens of GB."""

MAX_RESIZED = 2 * MAX_SIDE
"""Pixels of a side to which a picture may be resized before the crop."""

MAX_BATCH = 1024
MAX_CLASSES = 2**20
MAX_BLOCKS = 64
"""In one stage; the deepest published one has 10."""

MAX_SEED = 2**63 - 1
"""What JSON readers in every language hold."""

MAX_LABELS_BYTES = 64 * 2**20

MAX_FILE_BYTES = 2**34
"""Of a checkpoint, or of one file of a bundle; no EdgeViT takes as much. A sparse file is made at once and hashed for hours."""

DYNAMIC_BATCHES = (1, 3)
"""The batch sizes at which a dynamic batch is proven; probes do not divide by 3, so a filled last batch runs too."""

INPUT_NAME = "input"

FEATURE_STRIDES = (4, 8, 16, 32)
"""Pixels of the image to a position of each stage's feature map (paper, section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, shape and dtype of one input or output; a `str` axis is symbolic (`batch`, `height`, `width`)."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether a concrete shape fits: same rank, same size on every fixed axis, at least 1 elsewhere."""
        return len(shape) == len(self.shape) and all(
            size == axis if isinstance(axis, int) else size >= 1 for size, axis in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a partitioner or a compiler makes of a whole written file.

    Attributes:
        partitions: how many pieces of the graph it takes.
        outside: operators that it leaves to other kernels: type -> count.
        layers: how many layers it runs in place of the file's operators, where it tells.
        note: what it did not look at, as a sentence.
    """

    partitions: int
    outside: dict[str, int]
    layers: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a photograph becomes an input: resize, centre crop, scale to `value_range`, subtract mean, divide by std.

    `resize` is a box (height, width) in pixels: `fit` cover scales the picture, keeping its shape, until it just covers the
    box (for a square box: the shorter side gets that length); stretch makes it exactly the box. `mean` and `std` are per
    channel, in `color_order`, in units of `value_range`.
    """

    resize: Size
    crop: Size
    fit: ResizeMode = "cover"
    interpolation: Interpolation = "bicubic"
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    color_order: Literal["RGB"] = "RGB"
    value_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessChoice:
    """What a user says of the preprocessing; None means not said.

    Attributes:
        mean: of each channel, in units of 0 to 1.
        std: of each channel, likewise.
        crop_ratio: the share of each side of the resized picture that the crop keeps; 1 crops nothing of a square picture.
        interpolation: of the resize.
        resize_mode: cover keeps the picture's shape, stretch does not.

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

    def applied_to(self, preprocess: Preprocess) -> Preprocess:
        """Return the preprocessing with what was said; the crop stays what it is, the image size.

        Raises:
            UsageError: pictures would be resized to more pixels than a manifest may record.
        """
        resize = preprocess.resize if self.crop_ratio is None else resized(preprocess.crop, self.crop_ratio)
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
            fit=self.resize_mode or preprocess.fit,
        )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def resized(crop: Size, crop_ratio: float) -> Size:
    """Return to what (height, width) a picture is resized of which `crop` keeps that share of each side, as timm rounds it."""
    return math.floor(crop[0] / crop_ratio), math.floor(crop[1] / crop_ratio)


def task_of(returns: OutputKind) -> Task:
    """Return the task whose outputs a file returns: classes as logits or probabilities, or the feature maps of the stages."""
    return "features" if returns == "features" else "classify"


def output_specs(spec: "ModelSpec", returns: OutputKind, *, batch: int | str, size: Size | None) -> tuple[TensorSpec, ...]:
    """Return what a network gives for its task, in order.

    Args:
        spec: of the network.
        returns: `logits` or `probabilities`: one output of that name, float32 (batch, num_classes); `features`: `stage1` to
            `stage4`, float32 (batch, channels, height / stride, width / stride).
        batch: the batch axis, a number or a name.
        size: (height, width) in pixels, None where both are free.
    """
    if returns != "features":
        return (TensorSpec(name=returns, shape=(batch, spec.num_classes), dtype="float32"),)
    maps = []
    for number, (channels, stride) in enumerate(zip(spec.channels, FEATURE_STRIDES, strict=True), start=1):
        sides: Sequence[int | str] = [side // stride for side in size] if size else [f"height_{stride}", f"width_{stride}"]
        maps.append(TensorSpec(name=f"stage{number}", shape=(batch, channels, *sides), dtype="float32"))
    return tuple(maps)


def second_size(size: Size) -> Size:
    """Return the other size at which a dynamic image size is proven: larger, and not square when the first one is."""
    height, width = size
    return height + SIZE_STEP, width + 3 * SIZE_STEP


PUBLISHED_CROP_RATIO = 224 / 256


def imagenet_preprocess(size: Size) -> Preprocess:
    """Return the evaluation preprocessing of the published code: resize by 256/224, centre crop, ImageNet statistics.

    Source: saic-fi/edgevit src/datasets.py, build_transform (itself DeiT's).
    """
    return Preprocess(resize=resized(size, PUBLISHED_CROP_RATIO), crop=size)


IMAGENET_224 = imagenet_preprocess((224, 224))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything needed to build one EdgeViT: paper Table 1 plus what only the published code states.

    `norm_eps` belongs to the LayerNorms around attention and FFN; `inner_norm_eps` to those in the patch embeddings and
    after LocalProp, which the published code leaves at PyTorch's default. `crop_ratio` is what `preprocess.resize` was made of,
    and is kept for another image size; None where only the pixels are known.
    """

    variant: str
    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    head_dim: int
    sample_rates: tuple[int, int, int, int] = (4, 2, 2, 1)
    mlp_ratio: int = 4
    norm_eps: float = 1e-6
    inner_norm_eps: float = 1e-5
    num_classes: int = 1000
    head_bias: bool = True
    image_size: Size = (224, 224)
    preprocess: Preprocess = IMAGENET_224
    crop_ratio: float | None = PUBLISHED_CROP_RATIO

    def with_image_size(self, size: Size) -> "ModelSpec":
        """Return a copy for another image size (height, width); the crop keeps its share of the resized picture.

        Raises:
            UsageError: height or width is not a positive multiple of 32.
        """
        check_image_size(*size)
        if size == self.image_size:
            return self
        old = self.preprocess
        scaled = (old.resize[0] * size[0] // old.crop[0], old.resize[1] * size[1] // old.crop[1])
        resize = scaled if self.crop_ratio is None else resized(size, self.crop_ratio)
        return replace(self, image_size=size, preprocess=replace(old, resize=resize, crop=size))

    def with_preprocess(self, choice: PreprocessChoice) -> "ModelSpec":
        """Return a copy with what a user says of the preprocessing.

        Raises:
            UsageError: as `PreprocessChoice.applied_to`.
        """
        ratio = self.crop_ratio if choice.crop_ratio is None else choice.crop_ratio
        return replace(self, preprocess=choice.applied_to(self.preprocess), crop_ratio=ratio)


def check_image_size(height: int, width: int) -> None:
    """Refuse a size that the network cannot divide.

    Raises:
        UsageError: height or width is not a positive multiple of 32, at most MAX_SIDE; the message names the nearest that work.
    """
    for axis, size in (("height", height), ("width", width)):
        if size > MAX_SIDE:
            raise UsageError(f"image {axis} is too large; the largest that works: {MAX_SIDE}")
        if size < SIZE_STEP or size % SIZE_STEP:
            below = max(SIZE_STEP, size // SIZE_STEP * SIZE_STEP)
            nearest = [below] if size < SIZE_STEP else [below, below + SIZE_STEP]
            choices = " or ".join(str(n) for n in nearest)
            raise UsageError(f"image {axis} {size} is not a positive multiple of {SIZE_STEP}; the nearest that works: {choices}")
