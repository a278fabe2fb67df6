"""A bundle from anywhere: the sample in C++ refuses it in one line, or shows its text as text."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import cpp
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.pictures import gradient, save

pytestmark = pytest.mark.slow

OUTSIDE = ("/etc/passwd", "../model.onnx", "a/../../b", "a\\b", "c:model", "a//b", "./a", "")
"""Paths that lead out of a folder on some system, or are not in plain form."""

JUDGED = {"pictures": 9, "agreeing": 9, "min_agreement": 0.9}

WHAT_TO_DO = (
    "convert again",
    "convert again where it runs",
    "do not use this bundle",
    "copy the whole folder again",
    "for another",
)
"""How a line ends."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(cpp.tiny_bundle("onnx"), tmp_path / "bundle")


def refused(bundle: Path) -> str:
    done = cpp.edgevit(bundle, "--golden", "--repeat", 0)
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip().endswith(WHAT_TO_DO)
    return done.stderr


def _named(path: str) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        for record in document["files"]:
            if record["path"] == document["path"]:
                record["path"] = path
        document["path"] = path

    return change


def _set(value: object, *keys: str | int) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_set(3, "schema_version"), "schema_version 3 is unknown"),
        (_set("2", "schema_version"), 'schema_version "2" is unknown'),
        (_set("coreml", "target"), "the bundle is coreml, and this program was built for"),
        *((_named(path), "leaves the bundle") for path in OUTSIDE),
        (_set("other.onnx", "path"), "other.onnx is named but not among its files"),
        (_set("labels.md", "labels", "path"), "labels.md is named but not among its files"),
        (_set("golden/in.f32", "golden", "input", "path"), "golden/in.f32 is named but not among its files"),
        (_set([1, 3, 100000, 100000], "inputs", 0, "shape"), "of different sizes"),
        (_set([9000, 9000], "preprocess", "crop"), "larger than 8192"),
        (_set([0, 64], "preprocess", "resize"), "no integer from 1 to 8192"),
        (_set([4, 3, 64, 64], "inputs", 0, "shape"), "convert with --batch 1"),
        (_set([1, 3, 32, 32], "inputs", 0, "shape"), "of different sizes"),
        (_set(2_000_000, "model", "num_classes"), "larger than 1000000"),
        (_set(11, "model", "num_classes"), "labels.count is not the number of classes"),
        (_set([1, 11], "outputs", 0, "shape"), "has not a value for each of 10 classes"),
        (_set([2, 11], "golden", "outputs", 0, "shape"), "are of another shape"),
        (_set([1_000_000, 3, 64, 64], "golden", "input", "shape"), "not of the model's size"),
        (_set([3, 3, 64, 64], "golden", "input", "shape"), "are of another shape"),
        (_set("int8", "inputs", 0, "dtype"), "of another type than conversion.takes says"),
        (_set("uint8", "inputs", 0, "dtype"), "of another type than conversion.takes says"),
        (_set("uint8", "conversion", "takes"), "of another type than conversion.takes says"),
        (_set("int8", "conversion", "takes"), "none of tensor, image and uint8"),
        (_set("uint8", "outputs", 0, "dtype"), "output logits is not float32"),
        (_set([0.0, 1.0, 1.0], "preprocess", "std"), "std is not above 0"),
        (_set("nearest", "preprocess", "interpolation"), "neither bicubic nor bilinear"),
        (_set("letterbox", "preprocess", "fit"), "fit is neither cover nor stretch"),
        (_set("pad", "preprocess", "fit"), "fit is neither cover nor stretch"),
        (_set("fp4", "precision"), "the precision fp4 is unknown"),
        *(
            (_set({"pictures": 9, "agreeing": 0, "min_agreement": least}, "decisions"), "not between 0 and 1")
            for least in (-1, 0, 1)
        ),
        (_set({**JUDGED, "sample": {"of": 8}}, "decisions"), "sample.of is no integer"),
        (_set({**JUDGED, "broken": 2, "sample": {"of": 10}}, "decisions"), "sample.of is no integer from 11"),
        (_set({**JUDGED, "broken": -1}, "decisions"), "decisions.broken is no integer"),
        (_set({**JUDGED, "broken": "1"}, "decisions"), "decisions.broken is no integer"),
        (_set("x" * 1001, "model", "variant"), "variant is longer than 1000 characters"),
        (_set("3" * 1001, "schema_version"), "schema_version (string) is unknown"),
        (_set("features", "conversion", "returns"), "it returns features and no classes"),
        (_set([], "parity", "diffs"), "no bound for the golden data of logits"),
        (_set([], "outputs"), "outputs has not 1 to 64 entries"),
        (_set(None, "golden"), "no field input"),
        (lambda document: document.pop("preprocess"), "no field preprocess"),
        (_set(-5, "files", 0, "bytes"), "files.bytes is no integer"),
        (_set("\x1b[2J evil \u202e", "target"), "the bundle is [2J evil , and this"),
    ],
)
def test_a_manifest_that_cannot_be(bundle: Path, change: Callable[[dict], None], line: str) -> None:
    edit_manifest(bundle, change)
    assert line in refused(bundle)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2', "null", "[" * 100_000, '{"schema_version": 2}'])
def test_a_manifest_that_is_none(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    refused(bundle)


@pytest.mark.parametrize("kind", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("place", ["schema_version", "decisions", "parity", "conversion"])
def test_a_manifest_that_is_too_deep(bundle: Path, kind: tuple[str, str], place: str) -> None:
    """Its copy would need more stack than there is."""
    opened, closed = kind
    document = json.loads((bundle / "manifest.json").read_text())
    text = json.dumps({**document, place: "DEEP"})
    (bundle / "manifest.json").write_text(text.replace('"DEEP"', opened * 300_000 + "1" + closed * 300_000))
    assert "lie more than 64 deep" in refused(bundle)


def test_a_manifest_may_be_as_deep_as_any_is(bundle: Path) -> None:
    edit_manifest(bundle, _set(json.loads("[" * 50 + "]" * 50), "new in a later version"))
    assert cpp.edgevit(bundle, "--golden", "--repeat", 0).returncode == 0


@pytest.mark.parametrize("name", ["model.onnx", "labels.txt", "golden/input.f32", "golden/output.f32", "README.md"])
def test_a_file_that_was_changed(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "another sha256" in refused(bundle)
    (bundle / name).write_bytes(data + b"\0")
    assert "another size" in refused(bundle)
    (bundle / name).unlink()
    assert "is missing" in refused(bundle)


@pytest.mark.parametrize("name", ["extra.bin", "golden/extra.bin", ".hidden"])
def test_a_file_that_nobody_recorded(bundle: Path, name: str) -> None:
    """A model may have its weights in it, which would be loaded and never checked."""
    (bundle / name).write_bytes(b"weights")
    assert f"{name} is not in the manifest; remove it" in refused(bundle)
    (bundle / name).unlink()
    (bundle / name).symlink_to(bundle / "golden")
    assert f"{name} is not in the manifest; remove it" in refused(bundle)


def test_what_a_file_manager_leaves_is_nothing(bundle: Path) -> None:
    for name in (".DS_Store", "golden/._output.f32", "golden/Thumbs.db"):
        (bundle / name).write_bytes(b"clutter")
    assert cpp.edgevit(bundle, "--golden", "--repeat", 0).returncode == 0


def test_a_link_leads_out(bundle: Path) -> None:
    (bundle / "labels.txt").rename(bundle.parent / "labels.txt")
    (bundle / "labels.txt").symlink_to(bundle.parent / "labels.txt")
    assert "a link, which could lead out" in refused(bundle)
    (bundle / "labels.txt").unlink()
    os.mkfifo(bundle / "labels.txt")
    assert "is missing, or no file" in refused(bundle)


def test_a_model_of_another_size(bundle: Path) -> None:
    """Its hash fits, its manifest makes sense, and the file itself takes other pictures."""
    other = cpp.tiny_bundle("onnx", size="32")
    shutil.copy(other / "model.onnx", bundle / "model.onnx")
    rehash(bundle)
    assert "edgevit: " in refused(bundle)


@pytest.mark.parametrize(("values", "line"), [([np.nan] * 20, "not finite"), ([1.0] * 19, "has not the bytes of its shape")])
def test_golden_data_that_prove_nothing(bundle: Path, values: list[float], line: str) -> None:
    np.array(values, dtype="<f4").tofile(bundle / "golden/output.f32")
    rehash(bundle)
    assert line in refused(bundle)


@pytest.mark.parametrize(("labels", "line"), [("a\n" * 9, "9 labels for 10 classes"), (b"\xff\n" * 10, "not UTF-8 text")])
def test_labels_that_do_not_fit(bundle: Path, labels: str | bytes, line: str) -> None:
    (bundle / "labels.txt").write_bytes(labels.encode() if isinstance(labels, str) else labels)
    rehash(bundle)
    assert line in refused(bundle)


def test_a_label_is_text(bundle: Path, tmp_path: Path) -> None:
    label = '<script>alert(1)</script>\x1b[2J\x1b]0;title\x07 "caf\u00e9" \u202egpj.exe\u2028x'
    (bundle / "labels.txt").write_text(f"{label}\n" * 10)
    rehash(bundle)
    picture = save(tmp_path / "picture.png", gradient())
    shown = '<script>alert(1)</script>[2J]0;title "caf\u00e9" gpj.exex'
    for flags in ((), ("--json",)):
        done = cpp.edgevit(bundle, picture, "--repeat", 0, *flags)
        assert done.returncode == 0
        assert not any(character in done.stdout for character in "\x1b\x07\u202e\u2028")
        assert shown in done.stdout or json.loads(done.stdout)["pictures"][0]["top"][0]["label"] == shown
