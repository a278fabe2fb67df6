"""What a checkpoint says about its network: block, depths, channels, classes, head bias; with `extras` all of its `ModelSpec`.

Names and shapes give the structure. Four things leave no trace in them: the LayerNorm epsilon follows from the dialect, the width
of an attention head from the channels (36 for XXS, 48 for XS and S, in every known source); the image size is known only where a
file carries it beside the weights (`extras`), and so is the sampler, which is the published one where nobody says otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dialects import BIRDER, EASYCV, SAIC, STAGES, TIMM, Dialect
from edgevit_deploy.model.extras import Extras, Quad, check_config, read_extras
from edgevit_deploy.model.preprocessing import Told
from edgevit_deploy.model.variants import VARIANTS
from edgevit_deploy.spec import MAX_BLOCKS, MAX_CLASSES, PUBLISHED_BLOCK, BlockSpec, ModelSpec
from edgevit_deploy.spec.block import Local, SamplerKind

Shapes = Mapping[str, tuple[int, ...]]
"""Reference key -> shape."""

MAX_NAME_CHARACTERS = 120
PUBLISHED_ALONE = (EASYCV.name, BIRDER.name, TIMM.name)
"""Dialects of code that has the published sampler and no other; detectors of mmdetection have any backbone."""

HEAD_DIMS = {spec.channels: spec.head_dim for spec in VARIANTS.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """The network that a file holds, what of its preprocessing it tells, its class names in order, and what must be known.

    `alike` are the registered variants that have the very same tensors, where the file does not say which of them it holds.
    """

    spec: ModelSpec
    alike: tuple[str, ...]
    told: Told
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]


def infer(shapes: Shapes, dialect: Dialect, extras: Extras, num_classes: int | None = None) -> Inference:
    """Infer everything about a network from its tensors' shapes and from what its file holds beside them.

    Args:
        shapes: of every tensor that the dialect knows, under reference keys.
        dialect: of the file.
        extras: the other entries of the file; Birder's `signature`, `class_to_idx`, `rgb_stats` and `config` are read from
            files in its dialect (birder/common/fs_ops.py), as objects or, from safetensors metadata, as JSON.
        num_classes: of a head for dense prediction, where the network does not classify.

    Raises:
        UsageError: a tensor that decides the structure is missing, no EdgeViT has these channels, or two statements of the
            file contradict each other.
    """
    channels = _channels(shapes, dialect)
    depths = _depths(shapes, dialect)
    head_bias = num_classes is not None or "head.bias" in shapes
    num_classes = num_classes or _classes(shapes, dialect)
    block = _block(shapes)
    if dialect.name == BIRDER.name:
        check_config(extras, depths, channels, HEAD_DIMS[channels])
    blocks = {variant_name(depths, channels, same): same for same in _of_equal_tensors(block)}
    beside = read_extras(extras, dialect, tuple(blocks), num_classes)
    variant = beside.variant or next(iter(blocks))
    registered = [name for name in blocks if name in VARIANTS]
    is_open = beside.variant is None and dialect.name not in PUBLISHED_ALONE and len(registered) > 1
    spec = ModelSpec(
        variant=variant,
        depths=depths,
        channels=channels,
        head_dim=HEAD_DIMS[channels],
        norm_eps=dialect.norm_eps,
        num_classes=num_classes,
        head_bias=head_bias,
        image_size=beside.preprocess.crop,
        preprocess=beside.preprocess,
        crop_ratio=beside.crop_ratio,
        block=blocks[variant],
    )
    notes = (*_structure_notes(spec, dialect), *beside.notes)
    return Inference(spec=spec, alike=tuple(registered) if is_open else (), told=beside.told, labels=beside.labels, notes=notes)


def variant_name(depths: Quad, channels: Quad, block: BlockSpec = PUBLISHED_BLOCK) -> str:
    """Return the registered name, or one that says what it is: `edgevit_c36_d1_1_2_2` (first channels, depths, and the block).

    A pruned or deepened network converts like any other, but never under a registered name.
    """
    structure = depths, channels, block
    registered = (spec.variant for spec in VARIANTS.values() if (spec.depths, spec.channels, spec.block) == structure)
    return next(registered, "_".join((f"edgevit_c{channels[0]}_d{'_'.join(map(str, depths))}", *block.words())))


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
    names = [name if len(name) <= MAX_NAME_CHARACTERS else f"{name[:MAX_NAME_CHARACTERS]}..." for name in names]
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _structure_notes(spec: ModelSpec, dialect: Dialect) -> list[str]:
    notes = []
    if spec.variant not in VARIANTS:
        shape = f"depths {spec.depths} with channels {spec.channels}"
        notes.append(f"{shape} are no published variant: make sure that no block is missing")
    if spec.block != PUBLISHED_BLOCK:
        block = ", ".join(f"{part} {kind}" for part, kind in _differences(spec.block))
        notes.append(f"its blocks are not the published ones but those of an ablation: {block}")
    if not spec.head_bias:
        notes.append("the head has no bias")
    if dialect.norm_eps != SAIC.norm_eps:
        notes.append(f"LayerNorm epsilon {dialect.norm_eps:g}, as in {dialect.name}'s code; it is not in the file")
    return notes


def _differences(block: BlockSpec) -> Iterator[tuple[str, str]]:
    for part in ("local", "sampler", "spread", "attention"):
        if getattr(block, part) != getattr(PUBLISHED_BLOCK, part):
            yield part, getattr(block, part)


def _block(shapes: Shapes) -> BlockSpec:
    """Return the block by the names of its tensors, with the published sampler."""
    parts = {part for key in shapes if key.startswith("blocks") for part in key.split(".")}
    local: Local = "grouped" if "GroupedAttn" in parts else "aggregation" if "LocalAgg" in parts else "none"
    if "sra" in parts:
        return BlockSpec(local=local, attention="reduced")
    return BlockSpec(local=local, spread="transposed" if "LocalProp" in parts else "bilinear")


def _of_equal_tensors(block: BlockSpec) -> Iterator[BlockSpec]:
    """Yield every block with the same tensors as one with the published sampler, that one first."""
    for sampler in get_args(SamplerKind) if block.attention == "sparse" else (block.sampler,):
        yield replace(block, sampler=sampler)


def _first_axis(shapes: Shapes, dialect: Dialect, key: str) -> int:
    if not shapes.get(key) or shapes[key][0] < 1:
        raise UsageError(f"{dialect.to_file(key)} is missing or empty, and nothing is loaded in part; give a whole classifier")
    return shapes[key][0]


def _classes(shapes: Shapes, dialect: Dialect) -> int:
    classes = _first_axis(shapes, dialect, "head.weight")
    if classes > MAX_CLASSES:
        raise UsageError(f"{dialect.to_file('head.weight')} is for {classes} classes; a head has at most {MAX_CLASSES}")
    return classes


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
    if depth > MAX_BLOCKS:
        raise UsageError(f"{dialect.to_file(prefix)} has {depth} blocks; a stage has at most {MAX_BLOCKS}")
    gaps = [index for index in range(max(depth, 1)) if str(index) not in found]
    if gaps:
        raise UsageError(f"block {dialect.to_file(f'{prefix}{gaps[0]}')} is missing, and nothing is loaded in part")
    return depth
