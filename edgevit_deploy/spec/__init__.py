"""What a model is and what goes in and out of it: the types that every layer shares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec.block import PUBLISHED_BLOCK as PUBLISHED_BLOCK
from edgevit_deploy.spec.block import BlockSpec as BlockSpec
from edgevit_deploy.spec.dense import MAX_HEAD_CHANNELS as MAX_HEAD_CHANNELS
from edgevit_deploy.spec.dense import HeadKind as HeadKind
from edgevit_deploy.spec.dense import HeadSpec as HeadSpec
from edgevit_deploy.spec.detection import detection_outputs
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
from edgevit_deploy.spec.preprocess import IMAGENET_224 as IMAGENET_224
from edgevit_deploy.spec.preprocess import MAX_RESIZED as MAX_RESIZED
from edgevit_deploy.spec.preprocess import MAX_SIDE as MAX_SIDE
from edgevit_deploy.spec.preprocess import PADDED as PADDED
from edgevit_deploy.spec.preprocess import PUBLISHED_CROP_RATIO as PUBLISHED_CROP_RATIO
from edgevit_deploy.spec.preprocess import Interpolation as Interpolation
from edgevit_deploy.spec.preprocess import Preprocess as Preprocess
from edgevit_deploy.spec.preprocess import PreprocessChoice as PreprocessChoice
from edgevit_deploy.spec.preprocess import ResizeMode as ResizeMode
from edgevit_deploy.spec.preprocess import Size as Size
from edgevit_deploy.spec.preprocess import Triple as Triple
from edgevit_deploy.spec.preprocess import imagenet_preprocess as imagenet_preprocess
from edgevit_deploy.spec.preprocess import resized as resized

VERSION = "0.1.0"
"""Of this package; pyproject.toml states the same."""

IN_A_CHECKOUT = all((Path(__file__).parent.parent.parent / name).is_file() for name in ("convert.py", "pyproject.toml"))
PROGRAM = "convert.py" if IN_A_CHECKOUT else "edgevit-deploy"
"""What people type: `python convert.py` in the project's folder, the console script where a wheel was installed."""

Graph = Literal["original", "deploy"]
OutputKind = Literal["logits", "probabilities", "features", "class_maps", "detections"]
Task = Literal["classify", "features", "segment", "detect"]

TASK_OF: dict[OutputKind, Task] = {
    "logits": "classify",
    "probabilities": "classify",
    "features": "features",
    "class_maps": "segment",
    "detections": "detect",
}
"""The task whose outputs a file returns: classes, the feature maps of the stages, a class for every pixel, or boxes."""

RANK_OF: dict[OutputKind, int] = {"logits": 2, "probabilities": 2, "features": 4, "class_maps": 4, "detections": 3}
"""The number of axes of each of its outputs."""

DENSE_TASKS: dict[HeadKind, Task] = {"semantic_fpn": "segment", "retinanet": "detect"}
"""Which task each head is for; a network has one head, or classifies."""

SIZE_STEP = 32
"""The patch embeddings divide height and width by 4, 2, 2 and 2, so both must be multiples of 32 (paper, section 3)."""

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


def task_of(returns: OutputKind) -> Task:
    """Return the task whose outputs a file returns."""
    return TASK_OF[returns]


def returned_for(task: Task) -> OutputKind:
    """Return what a network gives for its task, a classifier its logits."""
    return next(returns for returns, found in TASK_OF.items() if found == task)


def output_specs(spec: "ModelSpec", returns: OutputKind, *, batch: int | str, size: Size | None) -> tuple[TensorSpec, ...]:
    """Return what a network gives for its task, in order.

    Args:
        spec: of the network.
        returns: `logits` or `probabilities`: one output of that name, float32 (batch, num_classes); `features`: `stage1` to
            `stage4`, float32 (batch, channels, height / stride, width / stride); `class_maps`: `logits`, float32 (batch,
            num_classes, height, width), of the size of the image; `detections`: of each level of a pyramid `logits_p3` and so on,
            float32 (batch, anchors, num_classes), then `deltas_p3` and so on, float32 (batch, anchors, 4).
        batch: the batch axis, a number or a name.
        size: (height, width) in pixels, None where both are free.
    """
    if returns == "class_maps":
        sides: Sequence[int | str] = size or ("height", "width")
        return (TensorSpec(name="logits", shape=(batch, spec.num_classes, *sides), dtype="float32"),)
    if returns == "detections":
        rows = detection_outputs(size, spec.num_classes)
        return tuple(TensorSpec(name=name, shape=(batch, *axes), dtype="float32") for name, axes in rows.items())
    if returns != "features":
        return (TensorSpec(name=returns, shape=(batch, spec.num_classes), dtype="float32"),)
    maps = []
    for number, (channels, stride) in enumerate(zip(spec.channels, FEATURE_STRIDES, strict=True), start=1):
        sides = [side // stride for side in size] if size else [f"height_{stride}", f"width_{stride}"]
        maps.append(TensorSpec(name=f"stage{number}", shape=(batch, channels, *sides), dtype="float32"))
    return tuple(maps)


def second_size(size: Size) -> Size:
    """Return the other size at which a dynamic image size is proven: larger, and not square when the first one is."""
    height, width = size
    return height + SIZE_STEP, width + 3 * SIZE_STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything needed to build one EdgeViT: paper Table 1 plus what only the published code states.

    `norm_eps` belongs to the LayerNorms around attention and FFN; `inner_norm_eps` to those in the patch embeddings and
    after LocalProp, which the published code leaves at PyTorch's default. `crop_ratio` is what `preprocess.resize` was made of,
    and is kept for another image size; None where only the pixels are known. `block` is what the stages 1 to 3 are made of.
    `head` is what stands on the four maps in place of the classifier, for dense prediction; `num_classes` are then that head's.
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
    block: BlockSpec = PUBLISHED_BLOCK
    head: HeadSpec | None = None

    @property
    def task(self) -> Task:
        """What the network is for: its head's task, or to classify."""
        return DENSE_TASKS[self.head.kind] if self.head else "classify"

    def can(self, task: Task) -> bool:
        """Say whether it has what a task needs; a classifier gives its feature maps too."""
        return task == self.task or (self.head is None and task == "features")

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
        preprocess = choice.applied_to(self.preprocess)
        ratio = self.crop_ratio if choice.crop_ratio is None else choice.crop_ratio
        return replace(self, preprocess=preprocess, crop_ratio=1.0 if preprocess.fit in PADDED else ratio)


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
