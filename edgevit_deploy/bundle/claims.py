"""What a manifest claims, checked before anything is allocated, read or computed by it: sizes, products of sizes, numbers."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgevit_deploy.model.preprocessing import objections as preprocess_objections
from edgevit_deploy.model.variants import VARIANTS
from edgevit_deploy.spec import (
    DENSE_TASKS,
    INPUTS,
    MAX_BATCH,
    MAX_BLOCKS,
    MAX_CLASSES,
    MAX_FILE_BYTES,
    MAX_HEAD_CHANNELS,
    MAX_SIDE,
    QUANTISED,
    SIZE_STEP,
    InputType,
    OutputKind,
    TensorSpec,
    task_of,
    tensor_bytes,
    too_large,
)
from edgevit_deploy.spec.detection import DELTAS, decoding_objections, decoding_of, same_geometry

if TYPE_CHECKING:
    from edgevit_deploy.bundle.manifest import Manifest

MAX_PICTURES = 2**40
CLASS_AXIS: dict[OutputKind, int] = {"logits": 1, "probabilities": 1, "class_maps": 1}
"""Of what has an output for each class, which axis they are."""

MAX_PROBES = 64
"""Golden inputs; a bundle has a batch of them, or two."""


def objections(manifest: "Manifest") -> Iterator[str]:
    """Yield what is wrong with a manifest whose fields have the right types; nothing is multiplied before it is bounded."""
    yield from _model(manifest)
    yield from preprocess_objections(manifest.preprocess)
    yield from _conversion(manifest)
    built_from = manifest.built_from
    ends = [*manifest.inputs, *manifest.outputs, *((*built_from.inputs, *built_from.outputs) if built_from else ())]
    for spec in ends:
        yield from _tensor(spec)
    yield from _free_axes(manifest)
    yield from _types(manifest)
    yield from _golden(manifest)
    yield from _classes(manifest)
    yield from _decoding(manifest)
    if any(diff.pixels is not None and not diff.pixels.sane for diff in manifest.parity.diffs):
        yield "its counts of pixels cannot be"
    if (probes := manifest.probes) and min(probes.synthetic, probes.photographs, probes.noisiest) < 0:
        yield "a count of probes is below 0"
    yield from _files(manifest)
    yield from _rounding(manifest)


def _model(manifest: "Manifest") -> Iterator[str]:
    model, labels = manifest.model, manifest.labels
    if not 1 <= model.num_classes <= MAX_CLASSES:
        yield f"{model.num_classes} classes, expected 1 to {MAX_CLASSES}"
    if labels.count != model.num_classes:
        yield f"{labels.count} labels for {model.num_classes} classes"
    if not all(1 <= depth <= MAX_BLOCKS for depth in model.depths):
        yield f"depths {model.depths}, expected 1 to {MAX_BLOCKS}"
    if (known := VARIANTS.get(model.variant)) and (model.depths, model.channels, model.block) != (
        known.depths,
        known.channels,
        known.block,
    ):
        yield f"{model.variant}, and depths, channels or a block that are not that network's"
    yield from _sides("the image size", model.image_size, MAX_SIDE)
    if (head := model.head) and not 1 <= min(head.pyramid_channels, head.head_channels) <= max(
        head.pyramid_channels, head.head_channels
    ) <= MAX_HEAD_CHANNELS:
        yield f"a head of {head.pyramid_channels} and {head.head_channels} channels, expected 1 to {MAX_HEAD_CHANNELS}"
    if not all(math.isfinite(eps) and eps > 0 for eps in (model.norm_eps, model.inner_norm_eps)):
        yield "a LayerNorm epsilon is not above 0"


def _conversion(manifest: "Manifest") -> Iterator[str]:
    conversion, head = manifest.conversion, manifest.model.head
    wanted = (DENSE_TASKS[head.kind],) if head else ("classify", "features")
    if task_of(conversion.returns) not in wanted:
        yield f"it returns {conversion.returns}, and its network is for {' or '.join(wanted)}"
    if conversion.batch != "dynamic" and not 1 <= conversion.batch <= MAX_BATCH:
        yield f"batch {conversion.batch}, expected 1 to {MAX_BATCH}"
    if conversion.image_size != "dynamic":
        yield from _sides("conversion.image_size", conversion.image_size, MAX_SIDE)


def _sides(what: str, size: tuple[int, int], largest: int) -> Iterator[str]:
    if not all(1 <= side <= largest for side in size):
        yield f"{what} {size}, expected sides from 1 to {largest}"


def _tensor(spec: TensorSpec) -> Iterator[str]:
    axes = [axis for axis in spec.shape if isinstance(axis, int)]
    if min(axes, default=1) < 1:
        yield f"{spec.name!r} has the shape {spec.shape}, expected sizes of 1 and more"
    elif reason := too_large(tensor_bytes(axes)):
        yield f"{spec.name!r} of shape {spec.shape} {reason}"


def _free_axes(manifest: "Manifest") -> Iterator[str]:
    """Axes are free where the conversion left them so, else one could be named free that the file has fixed."""
    batch, size = manifest.conversion.batch, manifest.conversion.image_size
    first = "batch" if batch == "dynamic" else batch
    sides = ("height", "width") if size == "dynamic" else size
    for spec in manifest.inputs:
        if spec.shape != (first, 3, *sides):
            yield f"{spec.name!r} has the shape {spec.shape}, expected {(first, 3, *sides)}"
    for spec in manifest.outputs:
        named = [axis for axis in spec.shape[1:] if isinstance(axis, str)]
        if spec.shape[:1] != (first,) or (named and size != "dynamic"):
            yield f"{spec.name!r} has the shape {spec.shape}, expected a batch of {batch} and axes that are not free"


def _types(manifest: "Manifest") -> Iterator[str]:
    """Inputs are of the type that was asked for and outputs float32, those of what the file was built from as well."""
    takes, built_from = manifest.conversion.takes, manifest.built_from
    for spec in (*manifest.inputs, *(built_from.inputs if built_from else ())):
        if spec.dtype != (dtype := INPUTS[takes].dtype):
            yield f"{spec.name!r} holds {spec.dtype}, and a file that takes {takes} holds {dtype}"
    for spec in (*manifest.outputs, *(built_from.outputs if built_from else ())):
        if spec.dtype != "float32":
            yield f"{spec.name!r} holds {spec.dtype}, and outputs hold float32"


def _golden(manifest: "Manifest") -> Iterator[str]:
    golden, sizes = manifest.golden, {record.path: record.bytes for record in manifest.files}
    arrays = (golden.input, *golden.outputs)
    types: dict[str, InputType] = {golden.input.path: INPUTS[manifest.conversion.takes].dtype}
    if len({array.name for array in arrays}) < len(arrays):  # only one of them would be compared, and an app may read the other
        yield "golden data of one name are recorded twice"
    for array in arrays:
        if not array.shape or min(array.shape) < 1 or array.shape[0] > MAX_PROBES * MAX_BATCH:
            yield f"{array.path} has the shape {array.shape}, expected sizes of 1 and more"
        elif array.path not in sizes:
            yield f"{array.path} is named but not among its files"
        elif tensor_bytes(array.shape, dtype := types.get(array.path, "float32")) != sizes[array.path]:
            yield f"{array.path} has {sizes[array.path]} bytes, which is not {dtype} {array.shape}"
        elif array.shape[0] != len(golden.probes):
            yield f"{array.path} has {array.shape[0]} rows for {len(golden.probes)} probes"


def _rounding(manifest: "Manifest") -> Iterator[str]:
    """A quantised file states how it was rounded, and its decisions are counts of pictures."""
    quantisation, decisions = manifest.quantisation, manifest.decisions
    if (manifest.precision in QUANTISED) != (quantisation is not None):
        yield f"{manifest.precision} and how it is rounded do not go together"
    if quantisation is not None and quantisation.scheme.calibrated != (quantisation.calibration is not None):
        yield "activations are rounded by ranges that are nowhere, or ranges are kept that round nothing"
    if quantisation is not None and not all(math.isfinite(sqnr_db) for sqnr_db in quantisation.sqnr_db.values()):
        yield "an operator's SQNR is not finite"
    if decisions is None:
        return
    if not (0 <= decisions.agreeing <= decisions.pictures <= MAX_PICTURES and 0 < decisions.min_agreement < 1):
        yield f"{decisions.agreeing} of {decisions.pictures} pictures agree, of which {decisions.min_agreement} must"
    if any(count is not None and not 0 <= count <= decisions.pictures for count in (decisions.network_right, decisions.right)):
        yield f"more pictures are right than the {decisions.pictures} that were judged"
    if not 0 <= decisions.broken <= MAX_PICTURES:
        yield f"{decisions.broken} pictures could not be decoded"
    taken = decisions.pictures + decisions.broken
    if (sample := decisions.sample) and not (taken <= sample.of <= MAX_PICTURES and sample.seed >= 0):
        yield f"{taken} pictures were drawn from {sample.of}"


def _classes(manifest: "Manifest") -> Iterator[str]:
    """What classifies, a picture or its pixels, has an output for each class, which are looked up by their places."""
    if manifest.conversion.returns not in CLASS_AXIS:
        return
    axis = CLASS_AXIS[manifest.conversion.returns]
    classes, built_from = manifest.model.num_classes, manifest.built_from
    specs = [*manifest.outputs, *(built_from.outputs if built_from else ())]
    shapes: list[tuple[str, tuple[int | str, ...]]] = [(spec.name, spec.shape) for spec in specs]
    for name, shape in [*shapes, *((array.name, array.shape) for array in manifest.golden.outputs)]:
        if shape[axis : axis + 1] != (classes,):
            yield f"{name!r} has the shape {shape}, expected an output for each of {classes} classes"


def _decoding(manifest: "Manifest") -> Iterator[str]:
    """What detects says how its outputs become boxes: as its anchors and image size have it, of outputs that are there."""
    decoding = manifest.decoding
    if (manifest.conversion.returns == "detections") != (decoding is not None):
        yield f"it returns {manifest.conversion.returns}, which does not go together with whether it says how boxes are decoded"
    if decoding is None:
        return
    if objection := next(decoding_objections(decoding), None):
        yield objection
        return
    head, size = manifest.model.head, manifest.model.image_size
    if head is None or min(size) < SIZE_STEP:
        yield f"boxes are decoded of a network without a head for them, or for images of {size}"
        return
    if not same_geometry(decoding, decoding_of(head.anchors, size)):
        yield f"its levels, strides or anchors are not those of {head.anchors} for images of {size}"
    rows = {level.logits: (level.rows, manifest.model.num_classes) for level in decoding.levels}
    rows |= {level.deltas: (level.rows, DELTAS) for level in decoding.levels}
    found = {spec.name: spec.shape[1:] for spec in manifest.outputs}
    if found != rows:
        yield f"its outputs are {found}, and are decoded as {rows}"


def _files(manifest: "Manifest") -> Iterator[str]:
    paths = [record.path for record in manifest.files]
    if len(set(paths)) < len(paths):
        yield "a file is recorded twice"
    if any(record.bytes < 0 for record in manifest.files):
        yield "a file of less than no bytes is recorded"
    if any(record.bytes > MAX_FILE_BYTES for record in manifest.files):
        yield f"a file of more than {MAX_FILE_BYTES} bytes is recorded"
    if manifest.labels.path not in paths:
        yield f"{manifest.labels.path} is named but not among its files"
    built_from = [manifest.built_from.path] if manifest.built_from else []
    for inside in (manifest.path, *built_from):
        if not any(path == inside or path.startswith(f"{inside}/") for path in paths):
            yield f"{inside} is named but not among its files"
