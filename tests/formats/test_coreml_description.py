"""What a Core ML package says of its pixels and classes: it is read where it is said once, and else is one error."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreml import (
    MAX_PROGRAM_BYTES,
    MODEL_PATH,
    PACKAGE_MANIFEST,
    PREPROCESS,
    import_coremltools,
    read_description,
)
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.spec.description import normalisation_of
from export.coreml.package import write_package

LABELS = ("zebra", "ant", "bee")
OURS = Preprocess(resize=(73, 73), crop=(64, 64), mean=(0.5, 0.4, 0.3))
TEXT = json.dumps(asdict(OURS), sort_keys=True)


def classify(program: Any, labels: tuple[str, ...] = LABELS) -> Any:
    """Add a classifier of these labels to a program."""
    operation = program.functions["main"].block_specializations["CoreML7"].operations.add(type="classify")
    classes = operation.inputs["classes"].arguments.add().value.immediateValue.list
    for label in labels:
        classes.values.add().immediateValue.tensor.strings.values.append(label)
    return operation


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package of a classifier without weights, whose description has a text, with one thing changed."""

    def write(text: str | None = TEXT, change: Callable[[Any], None] = lambda _: None) -> Path:
        import_coremltools()
        from coremltools.proto.Model_pb2 import Model

        spec = Model()
        spec.mlProgram.functions["main"].opset = "CoreML7"
        classify(spec.mlProgram)
        if text is not None:
            spec.description.metadata.userDefined[PREPROCESS] = text
        change(spec)
        (tmp_path / "weight.bin").write_bytes(b"")
        path = tmp_path / "model.mlpackage"
        write_package(spec, tmp_path, path)
        return path

    return write


def operations(spec: Any) -> Any:
    return spec.mlProgram.functions["main"].block_specializations["CoreML7"].operations


def test_it_says_what_was_written(package: Callable[..., Path]) -> None:
    said = read_description(package())
    assert said.labels == LABELS
    assert said.normalisation == normalisation_of(OURS, "tensor")


def test_what_is_not_written_is_not_said(package: Callable[..., Path]) -> None:
    said = read_description(package(None, lambda spec: operations(spec).pop()))
    assert (said.labels, said.normalisation) == ((), None)


@pytest.mark.parametrize(
    "text",
    [
        '{"x":' + "[" * 30_000 + "]" * 30_000 + "}",
        "[" * 60_000,
        TEXT.replace("{", '{"x":' + '{"a":' * 5_000 + "1" + "}" * 5_000 + ", ", 1),
        TEXT + " " * 2**16,
        TEXT.replace("{", '{"mean": [0, 0, 0], ', 1),
        TEXT.replace("}", ', "std": [1, 1, 1]}'),
        TEXT.replace("0.4", "NaN, 1"),
        TEXT.replace("0.4", "1" * 5_000),
        TEXT.replace("[0.0, 1.0]", "[1, 1]"),
        "{",
        "",
        "null",
    ],
    ids=[
        "deep",
        "deep and cut",
        "deep objects",
        "long",
        "a mean twice",
        "a std twice",
        "four",
        "digits",
        "no range",
        "cut",
        "empty",
        "null",
    ],
)
def test_a_text_that_is_none_of_ours_is_one_error(package: Callable[..., Path], text: str) -> None:
    with pytest.raises(RunError, match=r"^model\.mlpackage: its own preprocessing cannot be read \(.*; convert again$"):
        read_description(package(text))


CHANGES: dict[str, Callable[[Any], object]] = {
    "two classifiers": lambda spec: classify(spec.mlProgram, LABELS[::-1]),
    "the same again": lambda spec: classify(spec.mlProgram),
    "two lists": lambda spec: operations(spec)[0].inputs["classes"].arguments.add(),
    "a label of two texts": lambda spec: _strings(spec).append("evil"),
    "a label of no text": lambda spec: _strings(spec).pop(),
    "no list": lambda spec: operations(spec)[0].inputs["classes"].arguments.pop(),
}


def _strings(spec: Any) -> Any:
    classes = operations(spec)[0].inputs["classes"].arguments[0].value.immediateValue.list
    return classes.values[0].immediateValue.tensor.strings.values


@pytest.mark.parametrize("change", CHANGES)
def test_labels_that_are_not_there_once_are_refused(package: Callable[..., Path], change: str) -> None:
    with pytest.raises(RunError, match=r"^the classifier's labels are not in the program, or not once; convert again$"):
        read_description(package(TEXT, CHANGES[change]))


@pytest.mark.parametrize("damage", ["long", "deep", "twice"])
def test_a_manifest_of_the_package_that_is_none_of_ours_is_one_error(package: Callable[..., Path], damage: str) -> None:
    place = package() / PACKAGE_MANIFEST
    good = place.read_text()
    texts = {
        "long": good + " " * 2**16,
        "deep": good.replace("{", '{"x": ' + "[" * 9_000 + "]" * 9_000 + ", ", 1),
        "twice": good.replace("{", '{"rootModelIdentifier": "other", ', 1),
    }
    place.write_text(texts[damage])
    with pytest.raises(RunError, match=r"^model\.mlpackage: Manifest\.json is missing or damaged \(.*; convert again$"):
        read_description(place.parent)


def test_a_program_larger_than_any_is_not_brought_into_memory(package: Callable[..., Path]) -> None:
    path = package()
    with (path / "Data" / MODEL_PATH).open("r+b") as file:
        file.truncate(MAX_PROGRAM_BYTES + 1)
    with pytest.raises(RunError, match=rf"model\.mlmodel cannot be read \(.*larger than {MAX_PROGRAM_BYTES} bytes"):
        read_description(path)
