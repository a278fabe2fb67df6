"""What a manifest claims is checked before anything is allocated: each of these is one line, exit 2, and takes no memory."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle import manifest as manifest_module
from edgevit_deploy.cli import run
from tests.helpers.bundles import edit_manifest, rehash

ErrorCheck = Callable[..., str]


def put(*path: str | int, value: Any) -> Callable[[dict], None]:
    """Return a change of one field of the JSON."""

    def change(document: dict) -> None:
        *outer, last = path
        part: Any = document
        for step in outer:
            part = part[step]
        part[last] = value

    return change


def built_from(ends: str, dtype: str) -> Callable[[dict], None]:
    """Return a change that names the file itself as what it was built from, with another type at one of its ends."""

    def change(document: dict) -> None:
        source = {field: copy.deepcopy(document[field]) for field in ("target", "path", "inputs", "outputs")}
        source[ends][0]["dtype"] = dtype
        document["built_from"] = source

    return change


CLAIMS = [
    (put("preprocess", "resize", value=[65536, 65536]), "preprocess.resize"),
    (put("preprocess", "resize", value=[0, 64]), "preprocess.resize"),
    (put("preprocess", "resize", value=[-64, -64]), "preprocess.resize"),
    (put("preprocess", "crop", value=[10**30, 64]), "preprocess.crop"),
    (put("preprocess", "crop", value=[64, 0]), "preprocess.crop"),
    (put("preprocess", "crop", value=[96, 96]), "larger than preprocess.resize"),
    (put("preprocess", "fit", value="letterbox"), "as fit letterbox wants"),
    (put("preprocess", "fit", value="pad"), "as fit pad wants"),
    (put("preprocess", "fit", value="contain"), "not a valid manifest|cannot be read"),
    (put("preprocess", "std", value=[1.0, 0.0, 1.0]), "cannot normalise"),
    (put("preprocess", "value_range", value=[1.0, 1.0]), "cannot normalise"),
    (put("inputs", 0, "shape", value=[65536, 3, 64, 64]), "would take"),
    (put("inputs", 0, "shape", value=[1, 3, -64, 64]), "expected sizes of 1 and more"),
    (put("outputs", 0, "shape", value=[2**62, 2**62]), "would take"),
    (put("outputs", 0, "shape", value=[1, 9]), "expected an output for each of 10 classes"),
    (put("outputs", 0, "shape", value=[1, 11]), "expected an output for each of 10 classes"),
    (put("outputs", 0, "shape", value=[1, 0]), "expected sizes of 1 and more"),
    (put("inputs", 0, "dtype", value="uint8"), "holds uint8, and a file that takes tensor holds float32"),
    (put("outputs", 0, "dtype", value="uint8"), "holds uint8, and outputs hold float32"),
    (put("outputs", 0, "dtype", value="float16"), "holds float16, and outputs hold float32"),
    (built_from("inputs", "uint8"), "holds uint8, and a file that takes tensor holds float32"),
    (built_from("outputs", "float64"), "holds float64, and outputs hold float32"),
    (put("conversion", "batch", value=65536), "batch 65536"),
    (put("conversion", "image_size", value=[2**40, 64]), "conversion.image_size"),
    (put("model", "num_classes", value=10**7), "classes"),
    (put("model", "num_classes", value=0), "classes"),
    (put("model", "depths", value=[30000, 1, 1, 1]), "depths"),
    (put("model", "variant", value="edgevit_xs"), "depths, channels or a block that are not that network's"),
    (put("model", "variant", value="edgevit_xxs_max"), "depths, channels or a block that are not that network's"),
    (put("model", "block", "sampler", value="max"), "depths, channels or a block that are not that network's"),
    (put("model", "depths", value=[1, 1, 3, 3]), "depths, channels or a block that are not that network's"),
    (put("model", "channels", value=[48, 96, 240, 384]), "depths, channels or a block that are not that network's"),
    (put("model", "image_size", value=[10**9, 10**9]), "the image size"),
    (put("model", "norm_eps", value=-1.0), "epsilon"),
    (put("labels", "count", value=11), "11 labels for 10 classes"),
    (put("labels", "path", value="golden"), "not a valid manifest|cannot be read"),
    (put("labels", "path", value="secret.txt"), "named but not among its files"),
    (put("path", value="secret"), "named but not among its files"),
    (put("golden", "input", "path", value="nowhere.f32"), "named but not among its files"),
    (put("golden", "input", "shape", value=[]), "expected sizes of 1 and more"),
    (put("golden", "input", "shape", value=[0, 3, 64, 64]), "expected sizes of 1 and more"),
    (put("golden", "input", "shape", value=[-2, -3, 64, 64]), "expected sizes of 1 and more"),
    (put("golden", "input", "shape", value=[2**64, 3, 64, 64]), "expected sizes of 1 and more"),
    (put("golden", "outputs", 0, "shape", value=[2, 2**61]), "which is not float32"),
    (put("golden", "outputs", 0, "shape", value=[1, 20]), "1 rows for 2 probes"),
    (put("golden", "probes", value=["one"]), "2 rows for 1 probes"),
    (put("files", 0, "bytes", value=-1), "less than no bytes|bytes"),
    (lambda document: document["files"].append(document["files"][0]), "recorded twice"),
    (put("inputs", value=[]), "not those of a network"),
    (put("outputs", value=[]), "not those of a network"),
    (put("golden", "outputs", value=[]), "not those of a network"),
]


@pytest.mark.parametrize(("change", "message"), CLAIMS)
def test_a_claim_that_no_bundle_makes_is_refused(
    fake_bundle: Path, expect_error: ErrorCheck, change: Callable[[dict], None], message: str
) -> None:
    edit_manifest(fake_bundle, change)
    said = expect_error(2, "verify", fake_bundle)
    assert any(part in said for part in message.split("|")), said


@pytest.mark.parametrize("command", [("verify",), ("inspect",), ("evaluate", "--data", "nowhere")])
def test_more_or_fewer_outputs_than_classes_are_refused(
    fake_bundle: Path, expect_error: ErrorCheck, command: tuple[str, ...]
) -> None:
    """Labels and number of classes agree with each other, and the outputs with the golden data, but not these with those."""
    (fake_bundle / "labels.txt").write_text("".join(f"{number}\n" for number in range(7)))

    def seven(document: dict) -> None:
        document["model"]["num_classes"] = document["labels"]["count"] = 7

    edit_manifest(fake_bundle, seven)
    rehash(fake_bundle)
    said = expect_error(2, command[0], fake_bundle, *command[1:])
    assert "has the shape (1, 10), expected an output for each of 7 classes" in said


def test_the_control_without_the_check_a_claim_is_believed(fake_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "objections", lambda manifest: iter(()))
    edit_manifest(fake_bundle, put("preprocess", "resize", value=[65536, 65536]))
    assert run(["verify", str(fake_bundle)]) == 0


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema_version": 2, "x": NaN}',
        b'{"schema_version": 2, "x": Infinity}',
        b'{"schema_version": 2, "x": 1e999}',
        b'{"schema_version": 2, "x": "\\ud800"}',
        '{"schema_version": 2}'.encode("utf-16"),
        b"\xef\xbb\xbf" + b'{"schema_version": 2}',
        b"\xff\xfe\x00",
        b"",
        b"x" * (4 * 2**20 + 1),
    ],
    ids=["NaN", "Infinity", "1e999", "surrogate", "UTF-16", "byte order mark", "no text", "empty", "too large"],
)
def test_bytes_that_are_no_manifest(fake_bundle: Path, expect_error: ErrorCheck, data: bytes) -> None:
    (fake_bundle / "manifest.json").write_bytes(data)
    assert "manifest" in expect_error(2, "verify", fake_bundle)


@pytest.mark.parametrize("inside", ["a//b", "./labels.txt", "labels.txt/", "golden/../labels.txt", "a\0b", "labels.txt\0"])
@pytest.mark.parametrize("field", [("path",), ("labels", "path"), ("golden", "input", "path")], ids=".".join)
def test_a_path_in_another_form_is_refused(
    fake_bundle: Path, expect_error: ErrorCheck, field: tuple[str, ...], inside: str
) -> None:
    edit_manifest(fake_bundle, put(*field, value=inside))
    assert "leaves the bundle" in expect_error(2, "verify", fake_bundle)


def test_labels_that_are_no_text(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "labels.txt").write_bytes(b"\xff\xfe" * 10)
    rehash(fake_bundle)
    assert "not UTF-8 text" in expect_error(1, "verify", fake_bundle)


def test_golden_outputs_as_large_as_no_network_gives(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    """A bound that grows with the outputs would pass anything beside them."""
    import numpy as np

    path = fake_bundle / "golden" / "output.f32"
    values = np.fromfile(path, "<f4")
    values[0] = 1e30
    values.tofile(path)
    rehash(fake_bundle)
    assert "no bound can grow with that" in expect_error(1, "verify", fake_bundle)


def test_a_file_larger_than_recorded_is_not_read(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    import os

    os.truncate(fake_bundle / "model.fake", 2**40)
    assert "1099511627776 bytes, manifest says" in expect_error(1, "verify", fake_bundle)
