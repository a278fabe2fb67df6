"""What Birder's files say beside the weights (birder/common/fs_ops.py), as objects or, in safetensors metadata, as JSON."""

import math
from dataclasses import dataclass

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.extras.beside import PUBLISHED_SIZE, Beside, Extras, Quad, is_one_line, read_entry
from edgevit_deploy.model.preprocessing import Told
from edgevit_deploy.spec import Preprocess, Size, Triple, check_image_size, imagenet_preprocess

WRITER = "Birder's"
NO_CROP = ("crop_ratio", "interpolation", "resize_mode")
"""What is so in all of Birder's evaluations: it stretches the picture to the very image size, bicubic, with no crop
(birder/data/transforms/classification.py, inference_preset with its default center_crop 1.0)."""


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


def read_birder(extras: Extras, num_classes: int) -> Beside:
    """Read what Birder's files hold beside the weights.

    Raises:
        UsageError: it contradicts the tensors, or is not what Birder writes.
    """
    labels = _labels(extras, num_classes)
    signature = read_entry(extras, "signature", _Signature, WRITER)
    size = PUBLISHED_SIZE if signature is None else _signed_size(signature, num_classes)
    stats = read_entry(extras, "rgb_stats", _RgbStats, WRITER)
    published = imagenet_preprocess(size)
    mean, std = (published.mean, published.std) if stats is None else (stats.mean, stats.std)
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0 or max(*mean, *std) > 1:
        raise UsageError(f"its `rgb_stats` are unusable: mean {mean}, std {std}; expected units of 0 to 1, std above 0")
    fields = dict.fromkeys(("mean", "std"), "`rgb_stats`") if stats else {}
    return Beside(
        preprocess=Preprocess(resize=size, crop=size, fit="stretch", mean=mean, std=std),
        told=Told(size="`signature`" if signature else "", fields={**fields, **dict.fromkeys(NO_CROP, "Birder's code")}),
        labels=labels,
        crop_ratio=1.0,
    )


def check_config(extras: Extras, depths: Quad, channels: Quad, head_dim: int) -> None:
    """Refuse a network that is not the one that Birder's `config` describes.

    Raises:
        UsageError: another depth, width or head than the tensors', or no configuration of Birder's.
    """
    config = read_entry(extras, "config", _Config, WRITER)
    if config is None:
        return
    for name, stated, found in (
        ("depth", config.depth, depths),
        ("embed_dim", config.embed_dim, channels),
        ("head_dim", config.head_dim, head_dim),
    ):
        if stated is not None and stated != found:
            raise UsageError(f"its `config` says {name} {stated} but its tensors are those of a network with {found}")


def _labels(extras: Extras, num_classes: int) -> tuple[str, ...] | None:
    indices = read_entry(extras, "class_to_idx", dict[str, int], WRITER)
    if not indices:
        return None
    if len(indices) != num_classes:
        raise UsageError(f"its `class_to_idx` names {len(indices)} classes but its head has {num_classes}")
    if sorted(indices.values()) != list(range(num_classes)):
        raise UsageError(f"its `class_to_idx` does not give each class from 0 to {num_classes - 1} one name")
    labels = tuple(sorted(indices, key=lambda label: indices[label]))
    broken = next((label for label in labels if not is_one_line(label)), None)
    if broken is not None:
        raise UsageError(f"its class name {broken!r} is not one line of text without blanks around it")
    return labels


def _signed_size(signature: _Signature, num_classes: int) -> Size:
    (output,), (image,) = signature.outputs, signature.inputs
    if output.data_shape[1] != num_classes:
        raise UsageError(f"its `signature` says {output.data_shape[1]} classes but its head has {num_classes}")
    _, _, height, width = image.data_shape
    check_image_size(height, width)
    return height, width
