"""Metadata in a `.tflite`: what is written is read, changes nothing that runs, and damaged is one error."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.metadata import read_description, read_metadata
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.spec.description import Description, Normalisation
from export.litert.metadata import LABELS_NAME, add_metadata, with_buffer
from tests.helpers.litert import LABELS, plan, write, write_handwritten

PLACE = 0x123456789AB
"""Stands for a place in a file until it is known; no other number in one is that."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_handwritten(tmp_path / "model.tflite")


def run(path: Path) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    values = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    return np.array(interpreter.get_signature_runner("serving_default")(x=values)["y"])


def test_a_file_without_metadata_says_nothing(path: Path) -> None:
    assert read_description(path) == Description()


def test_a_file_with_metadata_runs_as_before(path: Path) -> None:
    before = run(path)
    add_metadata(path, plan())
    assert np.array_equal(run(path), before)


@pytest.mark.parametrize("behind", [False, True], ids=["within the tables", "behind the tables"])
def test_weights_keep_their_values_and_their_alignment(path: Path, behind: bool) -> None:
    """A quantiser writes buffers behind the tables, at places that count from the beginning of the file."""
    from ai_edge_litert import schema_py_generated as schema

    if behind:
        _move_behind(path)
    before, content = run(path), path.read_bytes()
    assert any(buffer.Offset() > 1 for buffer in _buffers(schema, content)) == behind
    add_metadata(path, plan())
    after = path.read_bytes()
    assert np.array_equal(run(path), before)
    old, new = (_weights(schema, file) for file in (content, after))
    assert [data for _, data in old] == [data for _, data in new[:-1]], "the last is of the metadata"
    assert {(b - a) % 64 for (a, _), (b, _) in zip(old, new[:-1], strict=True)} == {0}
    assert new[-1][0] % 16 == 0
    assert new[-1][1] == read_metadata(after)


def _buffers(schema: Any, content: bytes) -> list[Any]:
    model = schema.Model.GetRootAs(content)
    return [model.Buffers(place) for place in range(model.BuffersLength())]


def _weights(schema: Any, content: bytes) -> list[tuple[int, bytes]]:
    """Where each buffer that holds something begins, and what it holds."""
    found = []
    for buffer in _buffers(schema, content):
        start, size = buffer.Offset(), buffer.Size()
        if buffer.DataLength():
            start, size = buffer._tab.Vector(buffer._tab.Offset(4)), buffer.DataLength()
        found += [(start, content[start : start + size])] if size else []
    return found


def _move_behind(path: Path) -> None:
    """Write the file again with its one weight behind the tables, as the quantiser does."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    (buffer,) = (buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data))
    data, buffer.data = bytes(buffer.data), None
    buffer.offset, buffer.size = PLACE, len(data)
    write(model, path)
    content = path.read_bytes()
    content += bytes(-len(content) % 16)
    path.write_bytes(content.replace(struct.pack("<Q", PLACE), struct.pack("<Q", len(content))) + data)


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(resize=(73, 73), crop=(64, 64)),
        Preprocess(resize=(73, 73), crop=(64, 64), mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 1.0)),
        Preprocess(resize=(73, 73), crop=(64, 64), mean=(0.0, 0.1, -0.2), std=(1.0, 0.5, 0.3), value_range=(-1.0, 1.0)),
    ],
    ids=["ImageNet", "others", "another range"],
)
@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_what_they_say_makes_the_networks_input_of_pixels(path: Path, preprocess: Preprocess, takes: Any) -> None:
    """As an app does it, in float32; with the colours turned round it is another input."""
    add_metadata(path, plan(preprocess=preprocess, takes=takes))
    pixels = np.random.default_rng(2).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    normalisation = read_description(path).normalisation
    assert normalisation is not None
    mean, std = (np.array(values, np.float32) for values in (normalisation.mean, normalisation.std))
    by_app = ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
    expected = normalise(pixels, preprocess, takes)
    assert np.abs(by_app - expected).max() <= 1e-6
    assert np.abs(by_app[:, ::-1] - expected).max() > 0.01


def test_labels_are_those_that_were_given(path: Path) -> None:
    size = path.stat().st_size
    add_metadata(path, plan())
    assert read_description(path).labels == LABELS
    with zipfile.ZipFile(path) as packed:
        (entry,) = packed.infolist()
        assert (entry.filename, entry.date_time, entry.compress_type) == (LABELS_NAME, (1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
        assert packed.read(entry).decode() == "".join(f"{label}\n" for label in LABELS)
        assert packed.testzip() is None
    assert path.stat().st_size > size


def test_placeholders_are_no_labels(path: Path) -> None:
    add_metadata(path, plan(labels=()))
    assert read_description(path).labels == ()
    assert not zipfile.is_zipfile(path)


def test_the_same_plan_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = write_handwritten(tmp_path / "again.tflite")
    for file in (path, again):
        add_metadata(file, plan())
    assert path.read_bytes() == again.read_bytes()
    add_metadata(write_handwritten(again), plan(labels=LABELS[::-1]))
    assert path.read_bytes() != again.read_bytes()


def test_a_changed_normalisation_is_read_as_such(path: Path) -> None:
    add_metadata(path, plan())
    before = read_description(path).normalisation
    assert before is not None
    content = path.read_bytes()
    mean = struct.pack("<f", before.mean[0])
    assert content.count(mean) == 1
    path.write_bytes(content.replace(mean, struct.pack("<f", 127.5)))
    assert read_description(path).normalisation == Normalisation(mean=(127.5, *before.mean[1:]), std=before.std)


@pytest.mark.parametrize("count", [10, 100_000])
def test_tables_that_are_shared_do_not_multiply(path: Path, count: int) -> None:
    """A hundred thousand entries that are one: each would copy its name. Ten may be."""
    import flatbuffers

    builder = flatbuffers.Builder(2**20)
    name = builder.CreateString("x" * 2**16)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    entry = builder.EndObject()
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(entry)
    entries = builder.EndVector()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(6, entries, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    if count == 10:
        assert read_description(path) == Description()
        return
    with pytest.raises(RunError, match="its metadata are damaged \\(ValueError: 100000 entries\\)"):
        read_description(path)


def test_metadata_of_another_schema_are_refused(path: Path) -> None:
    path.write_bytes(with_buffer(path.read_bytes(), b"\x08\0\0\0M002" + bytes(40)))
    with pytest.raises(RunError, match=r"^model\.tflite: its metadata are damaged \(ValueError: b'M002'\); convert again$"):
        read_description(path)
