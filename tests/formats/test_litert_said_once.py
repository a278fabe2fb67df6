"""Metadata of a `.tflite` that say something twice, or where nothing is written: a tool may read what was not compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert.metadata import AXIS_LABELS, NORMALISE, read_description
from edgevit_deploy.spec.description import normalisation_of
from export.litert import metadata
from tests.helpers.litert import LABELS, plan, write_handwritten

SCORES, VALUE_LABELS = 2, 3
"""Another kind of step, and another kind of labels."""

RIGHT = normalisation_of(plan().spec.preprocess, "tensor")
Part = Callable[[Any], int]
"""Writes one part and returns where it is."""


def step(mean: tuple[float, ...] = RIGHT.mean, std: tuple[float, ...] = RIGHT.std, kind: int = NORMALISE) -> Part:
    def write(builder: Any) -> int:
        numbers = {0: metadata._floats(builder, mean), 1: metadata._floats(builder, std)}
        return metadata._union(builder, kind, PLAIN_TABLE(builder, 2, numbers), 2)

    return write


def file(name: str = "labels.txt", kind: int = AXIS_LABELS, locale: str = "") -> Part:
    def write(builder: Any) -> int:
        texts = {0: builder.CreateString(name), 3: builder.CreateString(locale)}
        builder.StartObject(5)
        for field, text in texts.items():
            builder.PrependUOffsetTRelativeSlot(field, text, 0)
        builder.PrependInt8Slot(2, kind, 0)
        return int(builder.EndObject())

    return write


PLAIN_TABLE = metadata._table
IS = {
    "file": lambda size, _: size == 8,
    "graph": lambda size, _: size == 4,
    "input": lambda size, fields: size == 7 and 5 in fields,
    "output": lambda size, fields: size == 7 and 5 not in fields,
}
"""Which table it is, by its size and whether it has statistics."""


def rewrite(path: Path, monkeypatch: pytest.MonkeyPatch, place: str, field: int, parts: list[Part]) -> None:
    """Write a file whose metadata have these parts in one vector."""

    def table(builder: Any, size: int, fields: dict[int, int]) -> int:
        if IS[place](size, fields):
            fields = {**fields, field: metadata._tables(builder, [part(builder) for part in parts])}
        return PLAIN_TABLE(builder, max([size, *(field + 1 for field in fields)]), fields)

    content = write_handwritten(path).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "_table", table)
        path.write_bytes(metadata.with_labels(metadata.with_buffer(content, metadata.metadata_of(plan())), LABELS))


@pytest.mark.parametrize(
    ("place", "field", "parts"), [("input", 4, [step()]), ("output", 6, [file()]), ("graph", 5, []), ("file", 6, [])]
)
def test_what_is_written_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, field: int, parts: list[Part]
) -> None:
    path = tmp_path / "model.tflite"
    rewrite(path, monkeypatch, place, field, parts)
    said = read_description(path)
    assert said.labels == LABELS
    assert said.normalisation is not None
    assert said.normalisation.std == pytest.approx(RIGHT.std)


ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("place", "field", "parts"),
    [
        pytest.param("input", 4, [step(), step(ZERO, ONE)], id="a second normalisation"),
        pytest.param("input", 4, [step(), step()], id="the same normalisation again"),
        pytest.param("input", 4, [step(kind=SCORES)], id="a step that is no normalisation"),
        pytest.param("input", 4, [step(ZERO[:1], ONE[:1])], id="one number for all channels"),
        pytest.param("input", 4, [step((*ZERO, 0.0), (*ONE, 1.0))], id="four channels"),
        pytest.param("output", 6, [file(), file(locale="de")], id="labels of a second language"),
        pytest.param("output", 6, [file(), file("evil.txt", VALUE_LABELS)], id="labels of another kind beside"),
        pytest.param("output", 6, [file(kind=VALUE_LABELS)], id="labels of another kind"),
        pytest.param("output", 6, [file("evil.txt")], id="labels of another name"),
        pytest.param("output", 4, [step()], id="a step behind the network"),
        pytest.param("input", 6, [file()], id="labels of the input"),
        pytest.param("graph", 4, [file()], id="labels of the graph"),
        pytest.param("graph", 5, [step(ZERO, ONE)], id="a step before the graph"),
        pytest.param("graph", 6, [step(ZERO, ONE)], id="a step behind the graph"),
        pytest.param("file", 6, [file()], id="labels of the file"),
    ],
)
def test_what_is_said_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, field: int, parts: list[Part]
) -> None:
    path = tmp_path / "model.tflite"
    rewrite(path, monkeypatch, place, field, parts)
    with pytest.raises(RunError, match=r"^model\.tflite: its metadata are damaged \(ValueError: .*; convert again$"):
        read_description(path)


@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_a_second_entry_of_metadata_is_refused(tmp_path: Path, takes: Any) -> None:
    """Tools that take the last one would normalise otherwise; whether they are the same is not asked."""
    path = write_handwritten(tmp_path / "model.tflite")
    once = metadata.with_buffer(path.read_bytes(), metadata.metadata_of(plan(takes=takes)))
    twice = metadata.with_buffer(once, metadata.metadata_of(plan()))
    path.write_bytes(metadata.with_labels(once, LABELS))
    assert read_description(path).labels == LABELS
    path.write_bytes(metadata.with_labels(twice, LABELS))
    with pytest.raises(RunError, match=r"\(ValueError: 2 entries of metadata, expected one\)"):
        read_description(path)


def test_several_outputs_have_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature maps are described one by one; labels of one of several outputs are none that is ever written."""
    path = tmp_path / "model.tflite"
    content = write_handwritten(path).read_bytes()
    path.write_bytes(metadata.with_buffer(content, metadata.metadata_of(plan((), returns="features"))))
    said = read_description(path)
    assert said.labels == ()
    assert said.normalisation is not None
    named = metadata.metadata_of(plan(returns="features"))
    path.write_bytes(metadata.with_labels(metadata.with_buffer(content, named), LABELS))
    with pytest.raises(RunError, match="4 outputs, and labels of one"):
        read_description(path)
