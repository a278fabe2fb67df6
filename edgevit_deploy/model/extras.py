"""What a file says about its network beside the weights: image size, class names, preprocessing.

Birder's files state all of it, and what contradicts the tensors is refused. Other trainers leave traces: the published one its
arguments (`args.input_size`, the side at which it trained and evaluated), EasyCV the class names (`meta["CLASSES"]`). A trace
that is not what it should be is not used, and a note says what was assumed instead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dialects import BIRDER, Dialect
from edgevit_deploy.spec import MAX_SIDE, SIZE_STEP, Preprocess, Size, check_image_size, imagenet_preprocess

Extras = Mapping[str, object]
"""What a file holds beside the weights, by name: untrusted, and typed only by the reader that wants it."""

Quad = tuple[int, int, int, int]
Triple = tuple[float, float, float]
T = TypeVar("T")

PUBLISHED_SIZE = (224, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known or assumed beside the structure.

    Attributes:
        preprocess: of the evaluation; its crop is the image size.
        labels: class names in class order; None when the file has none.
        notes: what the file said and what was assumed.
    """

    preprocess: Preprocess
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _InputShape:
    data_shape: Quad  # (0 for any batch, channels, height, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputShape:
    data_shape: tuple[int, int]  # (0 for any batch, classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    inputs: tuple[_InputShape]
    outputs: tuple[_OutputShape]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RgbStats:
    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class _Config:
    depth: Quad | None = None
    embed_dim: Quad | None = None
    head_dim: int | None = None


def read_extras(extras: Extras, dialect: Dialect, num_classes: int) -> Beside:
    """Read what stands beside the weights.

    Raises:
        UsageError: what Birder's file says contradicts its tensors, or is not what Birder writes.
    """
    if dialect.name == BIRDER.name:
        labels = _birder_labels(extras, num_classes)
        preprocess, assumptions = _birder_preprocess(extras, num_classes)
        return Beside(preprocess=preprocess, labels=labels, notes=tuple(assumptions))
    size, size_note = _trained_size(extras)
    labels, label_notes = _easycv_labels(extras, num_classes)
    return Beside(preprocess=imagenet_preprocess(size), labels=labels, notes=(size_note, *label_notes))


def _trained_size(extras: Extras) -> tuple[Size, str]:
    """Return the image size of the published trainer's arguments, else the published one, and a note that says which."""
    arguments = extras.get("args")
    side = arguments.get("input_size") if isinstance(arguments, Mapping) else None
    if type(side) is int and SIZE_STEP <= side <= MAX_SIDE and side % SIZE_STEP == 0:
        return (side, side), (
            f"image size {side}x{side} from the trainer's arguments in the file (`args.input_size`); preprocessing is not in the "
            "file: the published evaluation's assumed"
        )
    return PUBLISHED_SIZE, (
        "image size and preprocessing are not in the file: 224x224 pixels and the published evaluation's assumed"
    )


def _easycv_labels(extras: Extras, num_classes: int) -> tuple[tuple[str, ...] | None, list[str]]:
    meta = extras.get("meta")
    names = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if names is None:
        return None, []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and _is_one_line(name) for name in names):
        return None, ["class names in `meta.CLASSES` not used: they are no list of lines of text"]
    if len(names) != num_classes:
        return None, [f"class names in `meta.CLASSES` not used: they are {len(names)} and the head has {num_classes} classes"]
    return tuple(names), ["class names taken from `meta.CLASSES`"]


def _read(extras: Extras, name: str, kind: type[T]) -> T | None:
    """Return one extra as `kind`, None when the file does not have it."""
    value = extras.get(name)
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=kind) if isinstance(value, str) else msgspec.convert(value, kind)
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise UsageError(f"its `{name}` entry is not Birder's: {error}") from error


def check_config(extras: Extras, depths: Quad, channels: Quad, head_dim: int) -> None:
    """Refuse a network that is not the one that Birder's `config` describes.

    Raises:
        UsageError: another depth, width or head than the tensors', or no configuration of Birder's.
    """
    config = _read(extras, "config", _Config)
    if config is None:
        return
    for name, stated, found in (
        ("depth", config.depth, depths),
        ("embed_dim", config.embed_dim, channels),
        ("head_dim", config.head_dim, head_dim),
    ):
        if stated is not None and stated != found:
            raise UsageError(f"its `config` says {name} {stated} but its tensors are those of a network with {found}")


def _birder_labels(extras: Extras, num_classes: int) -> tuple[str, ...] | None:
    indices = _read(extras, "class_to_idx", dict[str, int])
    if not indices:
        return None
    if len(indices) != num_classes:
        raise UsageError(f"its `class_to_idx` names {len(indices)} classes but its head has {num_classes}")
    if sorted(indices.values()) != list(range(num_classes)):
        raise UsageError(f"its `class_to_idx` does not give each class from 0 to {num_classes - 1} one name")
    labels = tuple(sorted(indices, key=lambda label: indices[label]))
    broken = next((label for label in labels if not _is_one_line(label)), None)
    if broken is not None:
        raise UsageError(f"its class name {broken!r} is not one line of text without blanks around it")
    return labels


def _is_one_line(label: str) -> bool:
    return label.splitlines() == [label.strip()]


def _birder_preprocess(extras: Extras, num_classes: int) -> tuple[Preprocess, list[str]]:
    """Return Birder's evaluation preprocessing and, as notes, what of it had to be assumed.

    Birder stretches the picture to the very image size, bicubic, with no crop (birder/data/transforms/classification.py,
    inference_preset with its default center_crop 1.0).
    """
    signature = _read(extras, "signature", _Signature)
    size = PUBLISHED_SIZE if signature is None else _signed_size(signature, num_classes)
    stats = _read(extras, "rgb_stats", _RgbStats)
    published = imagenet_preprocess(size)
    mean, std = (published.mean, published.std) if stats is None else (stats.mean, stats.std)
    if not all(map(math.isfinite, mean)) or not all(math.isfinite(value) and value > 0 for value in std):
        raise UsageError(f"its `rgb_stats` are unusable: mean {mean}, std {std}; expected finite values, std above 0")
    assumptions = []
    if signature is None:
        assumptions.append(f"image size is not in the file: {size[0]}x{size[1]} pixels assumed")
    if stats is None:
        assumptions.append("normalisation is not in the file: ImageNet's mean and std assumed")
    return Preprocess(resize=size, crop=size, fit="stretch", mean=mean, std=std), assumptions


def _signed_size(signature: _Signature, num_classes: int) -> Size:
    (output,), (image,) = signature.outputs, signature.inputs
    if output.data_shape[1] != num_classes:
        raise UsageError(f"its `signature` says {output.data_shape[1]} classes but its head has {num_classes}")
    _, _, height, width = image.data_shape
    check_image_size(height, width)
    return height, width
