"""The metadata that Android's tools read, put into a converted `.tflite`: what it is, its pixels' normalisation, its labels.

The converted file is not written again, since Python's FlatBuffers lose the alignment of weights: a new beginning goes before it,
with a model table that refers to all of the old one's parts, and to the metadata besides. Offsets in a FlatBuffer are relative,
so that what lies behind keeps its meaning; the few that are absolute (buffers behind the tables) are moved by as much. The labels
go behind all, in a ZIP, as the format has it, without a date.
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.litert.identifier import IDENTIFIER
from edgevit_deploy.formats.litert.metadata import (
    AXIS_LABELS,
    FEATURE_PROPERTIES,
    IMAGE_PROPERTIES,
    LABELS_NAME,
    METADATA_IDENTIFIER,
    METADATA_NAME,
    MODEL_BUFFERS,
    MODEL_METADATA,
    NORMALISE,
    RGB,
    Table,
    read_description,
)
from edgevit_deploy.spec import VERSION
from edgevit_deploy.spec.description import Description, Normalisation, normalisation_of

MODEL_FIELDS = 8
"""Of a model's table in version 3 of the schema; the first is a number, the others are offsets."""

ALIGNMENT = 64
"""The old file begins at a multiple of so many bytes, so that what was aligned in it stays aligned."""

PARSER = "1.0.0"
"""The first parser that knows every field that is used here."""

NO_DATE = (1980, 1, 1, 0, 0, 0)
AUTHOR = "EdgeViT: J. Pan et al., ECCV 2022 (arXiv 2205.03436); converted by edgevit-deploy"
LICENSE = "Network: Apache-2.0 (saic-fi/edgevit). The weights have the licence of whoever trained them."
PLANAR = (
    "RGB in three planes (batch, channel, height, width), not interleaved. Resizing and cropping cannot be said here: "
    "manifest.json beside the file has them under preprocess."
)
MEANINGS = {
    "logits": "One logit for each class, in the order of the labels; a softmax gives probabilities",
    "probabilities": "Probability of each class, in the order of the labels",
    "features": "Feature map that this stage ends with: (batch, channel, height, width)",
}

Offset = int


def add_metadata(path: Path, plan: ExportPlan[Any]) -> None:
    """Put metadata and labels into a written file, and read them back.

    Raises:
        ExportError: they are not read as they were written.
    """
    asked = Description(labels=plan.labels, normalisation=_as_stored(normalisation_of(plan.spec.preprocess, plan.takes)))
    content = with_buffer(path.read_bytes(), metadata_of(plan))
    path.write_bytes(with_labels(content, plan.labels))
    try:
        found = read_description(path)
    except RunError as error:
        raise ExportError(str(error)) from error
    if found != asked:
        raise ExportError(f"{path.name}: its metadata should say {asked}, the written file says {found}")


def _as_stored(normalisation: Normalisation) -> Normalisation:
    """Round to float32, which the format has."""
    red, green, blue, *stds = struct.unpack("<6f", struct.pack("<6f", *normalisation.mean, *normalisation.std))
    return Normalisation(mean=(red, green, blue), std=(stds[0], stds[1], stds[2]))


def with_labels(content: bytes, labels: tuple[str, ...]) -> bytes:
    """Return a file with its labels behind it, one a line; as it is where there are none."""
    if not labels:
        return content
    file = io.BytesIO(content)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(zipfile.ZipInfo(LABELS_NAME, NO_DATE), "".join(f"{label}\n" for label in labels))
    return file.getvalue()


def with_buffer(content: bytes, metadata: bytes) -> bytes:
    """Return a `.tflite` with one buffer more, which its table of metadata names; all else of it keeps its order.

    Raises:
        ExportError: its model has parts that this version of the schema does not.
    """
    import flatbuffers

    old = Table.root(content)
    if old.place(MODEL_FIELDS):
        raise ExportError("the written .tflite has more parts than version 3 of its schema; take an older litert-torch")
    buffers, entries = (_targets(old, content, field) for field in (MODEL_BUFFERS, MODEL_METADATA))
    builder = flatbuffers.Builder(len(metadata) + 8 * len(buffers) + 1024)
    builder.StartVector(1, len(metadata), 16)
    builder.head -= len(metadata)
    builder.Bytes[builder.head : builder.head + len(metadata)] = metadata
    data, name = builder.EndVector(), builder.CreateString(METADATA_NAME)
    buffer = _table(builder, 1, {0: data})
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, len(buffers), 0)
    entry = builder.EndObject()
    buffer_list, entry_list = _vector(builder, buffers, buffer), _vector(builder, entries, entry)
    builder.StartObject(MODEL_FIELDS)
    builder.PrependUint32Slot(0, old.number(0, "<I"), 0)
    kept = [field for field in range(1, MODEL_FIELDS) if old.place(field) and field not in (MODEL_BUFFERS, MODEL_METADATA)]
    for field in kept:
        builder.PrependUint32Slot(field, len(content), 0)  # set below, when it is known where the old file begins
    builder.PrependUOffsetTRelativeSlot(MODEL_BUFFERS, buffer_list, 0)
    builder.PrependUOffsetTRelativeSlot(MODEL_METADATA, entry_list, 0)
    builder.Finish(builder.EndObject(), file_identifier=IDENTIFIER)
    head = builder.Output()
    head += bytes(-len(head) % ALIGNMENT)
    new = Table.root(bytes(head))
    for field in kept:
        place = old.place(field)
        _refer(head, new.place(field), place + struct.unpack_from("<I", content, place)[0])
    for field, targets in ((MODEL_BUFFERS, buffers), (MODEL_METADATA, entries)):
        start, _ = new.vector(field, 4)
        for position, target in enumerate(targets):
            _refer(head, start + 4 * position, target)
    return bytes(head) + _moved(content, buffers, len(head))


def _refer(head: bytearray, place: int, target: int) -> None:
    """Let a place in the new beginning refer to one in the old file behind it."""
    struct.pack_into("<I", head, place, len(head) + target - place)


def _moved(content: bytes, buffers: list[int], distance: int) -> bytes:
    """Return the old file with the places of buffers behind its tables, which count from the beginning, moved."""
    moved = bytearray(content)
    for position in buffers:
        place = Table(content, position).place(1)
        if place and (offset := struct.unpack_from("<Q", content, place)[0]) > 1:  # 0 and 1 stand for none
            struct.pack_into("<Q", moved, place, offset + distance)
    return bytes(moved)


def _targets(table: Table, content: bytes, field: int) -> list[int]:
    start, count = table.vector(field, 4)
    places = range(start, start + 4 * count, 4)
    return [place + struct.unpack_from("<I", content, place)[0] for place in places]


def _vector(builder: Any, old: list[int], new: Offset) -> Offset:
    """Write room for the entries of an old vector, and one of the new beginning's own behind them."""
    builder.StartVector(4, len(old) + 1, 4)
    builder.PrependUOffsetTRelative(new)
    for _ in old:
        builder.PrependUint32(0)
    return int(builder.EndVector())


def metadata_of(plan: ExportPlan[Any]) -> bytes:
    """Return the metadata of a file: its name, what it takes and gives."""
    import flatbuffers

    spec = plan.spec
    builder = flatbuffers.Builder(2048)
    about = (
        f"EdgeViT ({spec.variant}): {plan.purpose()}; {plan.precision}. manifest.json beside the file has what of the "
        "preprocessing cannot be said here."
    )
    source, results = _source(builder, plan), [_result(builder, plan, output.name) for output in plan.outputs]
    graph = _table(builder, 4, {2: _tables(builder, [source]), 3: _tables(builder, results)})
    texts = {0: spec.variant, 1: about, 2: VERSION, 4: AUTHOR, 5: LICENSE, 7: PARSER}
    fields = {field: builder.CreateString(text) for field, text in texts.items()}
    builder.Finish(_table(builder, 8, {**fields, 3: _tables(builder, [graph])}), file_identifier=METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _source(builder: Any, plan: ExportPlan[Any]) -> Offset:
    """Describe the input: three planes of so many pixels, and what makes pixels its values."""
    normalisation, (height, width) = normalisation_of(plan.spec.preprocess, plan.takes), plan.image_size
    pairs = list(zip(normalisation.mean, normalisation.std, strict=True))
    means, stds = _floats(builder, normalisation.mean), _floats(builder, normalisation.std)
    unit = _union(builder, NORMALISE, _table(builder, 2, {0: means, 1: stds}), 2)
    largest, smallest = (_floats(builder, [(value - mean) / std for mean, std in pairs]) for value in (255, 0))
    builder.StartObject(2)
    builder.PrependUint32Slot(0, width, 0)
    builder.PrependUint32Slot(1, height, 0)
    size = builder.EndObject()
    builder.StartObject(2)
    builder.PrependInt8Slot(0, RGB, 0)
    builder.PrependUOffsetTRelativeSlot(1, size, 0)
    content = _union(builder, IMAGE_PROPERTIES, builder.EndObject(), 3)
    dimensions = _tables(builder, [builder.CreateString(axis) for axis in ("batch", "channel", "height", "width")])
    fields = {0: builder.CreateString(plan.input_spec().name), 1: builder.CreateString(PLANAR), 2: dimensions, 3: content}
    stats = _table(builder, 2, {0: largest, 1: smallest})
    return _table(builder, 7, {**fields, 4: _tables(builder, [unit]), 5: stats})


def _result(builder: Any, plan: ExportPlan[Any], name: str) -> Offset:
    """Describe an output, and name the file of its labels."""
    content = _union(builder, FEATURE_PROPERTIES, _table(builder, 0, {}), 3)
    fields = {0: builder.CreateString(name), 1: builder.CreateString(MEANINGS[plan.returns]), 3: content}
    if plan.labels:
        texts = [builder.CreateString(text) for text in (LABELS_NAME, "Names of the classes, one a line")]
        builder.StartObject(5)
        builder.PrependUOffsetTRelativeSlot(0, texts[0], 0)
        builder.PrependUOffsetTRelativeSlot(1, texts[1], 0)
        builder.PrependInt8Slot(2, AXIS_LABELS, 0)
        fields[6] = _tables(builder, [builder.EndObject()])
    return _table(builder, 7, fields)


def _table(builder: Any, size: int, fields: dict[int, Offset]) -> Offset:
    """Write a table of offsets."""
    builder.StartObject(size)
    for field, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(builder.EndObject())


def _union(builder: Any, kind: int, value: Offset, size: int) -> Offset:
    """Write a table whose first two fields are a union: its kind, and its value."""
    builder.StartObject(size)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _tables(builder: Any, offsets: list[Offset]) -> Offset:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Any) -> Offset:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
