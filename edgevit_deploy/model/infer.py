"""What a checkpoint says about its network: variant, depths, channels, classes, head bias, image size, labels, preprocessing.

Shapes give the structure. Three things leave no trace in shapes: the LayerNorm epsilon follows from the dialect, the width of
an attention head from the channels (36 for XXS, 48 for XS and S, in every known source), and the image size is known only
where a file carries it beside the weights, as Birder's do.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dialects import BIRDER, SAIC, STAGES, Dialect
from edgevit_deploy.model.variants import VARIANTS
from edgevit_deploy.spec import ModelSpec, Preprocess, Size, check_image_size, imagenet_preprocess

Shapes = Mapping[str, tuple[int, ...]]
"""Reference key -> shape."""

Extras = Mapping[str, object]
"""What a file holds beside the weights, by name: untrusted, and typed only by the reader that wants it."""

Quad = tuple[int, int, int, int]
Triple = tuple[float, float, float]
T = TypeVar("T")

PUBLISHED_SIZE = (224, 224)
HEAD_DIMS = {spec.channels: spec.head_dim for spec in VARIANTS.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """The network that a file holds, its class names in class order (None when it has none), and what a user must know."""

    spec: ModelSpec
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


def infer(shapes: Shapes, dialect: Dialect, extras: Extras) -> Inference:
    """Infer everything about a network from its tensors' shapes and from what its file holds beside them.

    Args:
        shapes: of every tensor that the dialect knows, under reference keys.
        dialect: of the file.
        extras: the other entries of the file; Birder's `signature`, `class_to_idx`, `rgb_stats` and `config` are read from
            files in its dialect (birder/common/fs_ops.py), as objects or, from safetensors metadata, as JSON.

    Raises:
        UsageError: a tensor that decides the structure is missing, no EdgeViT has these channels, or two statements of the
            file contradict each other.
    """
    channels = _channels(shapes, dialect)
    depths = _depths(shapes, dialect)
    num_classes = _first_axis(shapes, dialect, "head.weight")
    head_bias = "head.bias" in shapes
    notes = _structure_notes(depths, channels, head_bias, dialect)
    labels = None
    preprocess = imagenet_preprocess(PUBLISHED_SIZE)
    if dialect is BIRDER:
        _check_config(extras, depths, channels)
        labels = _labels(extras, num_classes)
        preprocess, assumptions = _birder_preprocess(extras, num_classes)
    else:
        assumptions = ["image size and preprocessing are not in the file: 224x224 pixels and the published evaluation's assumed"]
    spec = ModelSpec(
        variant=variant_name(depths, channels),
        depths=depths,
        channels=channels,
        head_dim=HEAD_DIMS[channels],
        norm_eps=dialect.norm_eps,
        num_classes=num_classes,
        head_bias=head_bias,
        image_size=preprocess.crop,
        preprocess=preprocess,
    )
    return Inference(spec=spec, labels=labels, notes=(*notes, *assumptions))


def variant_name(depths: Quad, channels: Quad) -> str:
    """Return the published name, or one that says what it is: `edgevit_c36_d1_1_2_2` (first channels, depths).

    A pruned or deepened network converts like any other, but never under a published name.
    """
    published = (spec.variant for spec in VARIANTS.values() if (spec.depths, spec.channels) == (depths, channels))
    return next(published, f"edgevit_c{channels[0]}_d{'_'.join(map(str, depths))}")


def refuse_incomplete(shapes: Shapes, expected: Shapes, unknown: Sequence[str], dialect: Dialect, optional: str) -> None:
    """Refuse tensors that are not exactly a network's; every kind of fault is listed, in the file's own names.

    Args:
        shapes: of the tensors that the dialect knows, under reference keys.
        expected: of the network's state.
        unknown: keys of the file that its dialect does not know.
        dialect: of the file.
        optional: the ending of keys that may be missing.

    Raises:
        UsageError: something is missing, unexpected or of another shape.
    """
    faults = {
        "missing": [str(dialect.to_file(key)) for key in expected if key not in shapes and not key.endswith(optional)],
        "unexpected": [*unknown, *(str(dialect.to_file(key)) for key in shapes if key not in expected)],
        "of another shape": [
            f"{dialect.to_file(key)} {shape} instead of {expected[key]}"
            for key, shape in shapes.items()
            if shape != expected.get(key, shape)
        ],
    }
    found = [f"{len(keys)} {fault}: {listed(keys)}" for fault, keys in faults.items() if keys]
    if found:
        raise UsageError(f"not the weights of an EdgeViT ({dialect.name} names): {'; '.join(found)}; nothing is loaded in part")


def listed(names: Iterable[str], shown: int = 3) -> str:
    """Return the first few names and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _structure_notes(depths: Quad, channels: Quad, head_bias: bool, dialect: Dialect) -> list[str]:
    notes = []
    if variant_name(depths, channels) not in VARIANTS:
        notes.append(f"depths {depths} with channels {channels} are no published variant: make sure that no block is missing")
    if not head_bias:
        notes.append("the head has no bias")
    if dialect.norm_eps != SAIC.norm_eps:
        notes.append(f"LayerNorm epsilon {dialect.norm_eps:g}, as in {dialect.name}'s code; it is not in the file")
    return notes


def _first_axis(shapes: Shapes, dialect: Dialect, key: str) -> int:
    if not shapes.get(key) or shapes[key][0] < 1:
        raise UsageError(f"{dialect.to_file(key)} is missing or empty, and nothing is loaded in part; give a whole classifier")
    return shapes[key][0]


def _channels(shapes: Shapes, dialect: Dialect) -> Quad:
    first, second, third, fourth = (_first_axis(shapes, dialect, f"patch_embed{stage}.proj.weight") for stage in STAGES)
    channels = (first, second, third, fourth)
    if channels not in HEAD_DIMS:
        known = " or ".join(str(known) for known in HEAD_DIMS)
        raise UsageError(f"channels {channels} are those of no EdgeViT; expected {known}")
    return channels


def _depths(shapes: Shapes, dialect: Dialect) -> Quad:
    first, second, third, fourth = (_depth(shapes, dialect, stage) for stage in STAGES)
    return first, second, third, fourth


def _depth(shapes: Shapes, dialect: Dialect, stage: int) -> int:
    """Count the blocks of a stage, which must be numbered from 0 without a gap."""
    prefix = f"blocks{stage}."
    found = {key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)}
    depth = len(found)
    gaps = [index for index in range(max(depth, 1)) if str(index) not in found]
    if gaps:
        raise UsageError(f"block {dialect.to_file(f'{prefix}{gaps[0]}')} is missing, and nothing is loaded in part")
    return depth


def _read(extras: Extras, name: str, kind: type[T]) -> T | None:
    """Return one extra as `kind`, None when the file does not have it."""
    value = extras.get(name)
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=kind) if isinstance(value, str) else msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise UsageError(f"its `{name}` entry is not Birder's: {error}") from error


def _check_config(extras: Extras, depths: Quad, channels: Quad) -> None:
    config = _read(extras, "config", _Config)
    if config is None:
        return
    for name, stated, found in (
        ("depth", config.depth, depths),
        ("embed_dim", config.embed_dim, channels),
        ("head_dim", config.head_dim, HEAD_DIMS[channels]),
    ):
        if stated is not None and stated != found:
            raise UsageError(f"its `config` says {name} {stated} but its tensors are those of a network with {found}")


def _labels(extras: Extras, num_classes: int) -> tuple[str, ...] | None:
    indices = _read(extras, "class_to_idx", dict[str, int])
    if not indices:
        return None
    if len(indices) != num_classes:
        raise UsageError(f"its `class_to_idx` names {len(indices)} classes but its head has {num_classes}")
    if sorted(indices.values()) != list(range(num_classes)):
        raise UsageError(f"its `class_to_idx` does not give each class from 0 to {num_classes - 1} one name")
    labels = tuple(sorted(indices, key=lambda label: indices[label]))
    broken = [label for label in labels if label.splitlines() != [label.strip()]]
    if broken:
        raise UsageError(f"its class name {broken[0]!r} is not one line of text without blanks around it")
    return labels


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
