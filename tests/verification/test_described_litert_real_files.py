"""`verify` of a `.tflite` that says something else of itself than it did, hashed again as whoever changed it would."""

import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.formats.litert.identifier import IDENTIFIER
from export.litert.metadata import metadata_of, with_buffer, with_labels
from tests.conformance.test_targets import bundle_of
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.litert import plan, zipped

LABELS = tuple(f"class {number}" for number in range(16))
EVIL = ("evil",) * 16
MEAN = struct.pack("<f", 123.675)


@pytest.fixture
def plain() -> bytes:
    """A converted file as it was before it had metadata: they are a new beginning before it."""
    content = (bundle_of("litert", "fp32") / "model.tflite").read_bytes()
    return content[content.index(IDENTIFIER, 8) - 4 :]


@pytest.fixture
def bundle(tmp_path: Path, plain: bytes) -> Path:
    """A bundle whose file names its classes."""
    copy = Path(shutil.copytree(bundle_of("litert", "fp32"), tmp_path / "litert-fp32"))
    put(copy, named(plain))
    edit_manifest(copy, lambda document: document["described"].update(labels=True))
    return copy


def tables(plain: bytes, labels: tuple[str, ...] = LABELS) -> bytes:
    return with_buffer(plain, metadata_of(plan(labels=labels)))


def named(plain: bytes, labels: tuple[str, ...] = LABELS) -> bytes:
    return with_labels(tables(plain, labels), labels)


def put(bundle: Path, content: bytes) -> None:
    (bundle / "model.tflite").write_bytes(content)
    rehash(bundle)


def twice(plain: bytes) -> bytes:
    """Two files of one name: the last one is right, and the first one is what `unzip` takes out."""
    return zipped(tables(plain), *(("labels.txt", "".join(f"{label}\n" for label in labels)) for labels in (EVIL, LABELS)))


def locked(plain: bytes) -> bytes:
    content = bytearray(named(plain))
    content[content.rindex(b"PK\1\2") + 8] ^= 1
    return bytes(content)


DAMAGED = "its metadata are damaged (ValueError: "
CHANGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "other labels": ("its own class names differ from labels.txt in line 1", lambda plain: named(plain, EVIL)),
    "another mean": (
        "says within itself that pixels are normalised by mean (127.5, ",
        lambda plain: named(plain).replace(MEAN, struct.pack("<f", 127.5)),
    ),
    "nothing": ("does not say within itself its class names, the manifest records that it did", lambda plain: plain),
    "no labels": ("does not say within itself its class names, the manifest", lambda plain: named(plain, ())),
    "labels twice": (f"{DAMAGED}behind the model is no ZIP of labels.txt alone)", twice),
    "metadata twice": (
        f"{DAMAGED}2 entries of metadata, expected one)",
        lambda plain: named(with_buffer(plain, metadata_of(plan(takes="image")))),
    ),
    "encrypted": (f"{DAMAGED}behind the model is no ZIP of labels.txt alone)", locked),
}


def test_the_control_what_it_said_is_verified(bundle: Path) -> None:
    assert run(["verify", str(bundle)]) == 0
    with zipfile.ZipFile(bundle / "model.tflite") as packed:
        assert packed.read("labels.txt").decode().splitlines() == list(LABELS)


def test_a_bundle_of_before_does_not_miss_what_was_not_recorded(bundle: Path, plain: bytes) -> None:
    put(bundle, plain)
    edit_manifest(bundle, lambda document: document.pop("described"))
    assert run(["verify", str(bundle)]) == 0


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_says_something_else_is_refused(
    bundle: Path, plain: bytes, expect_error: Callable[..., str], change: str
) -> None:
    message, make = CHANGES[change]
    put(bundle, make(plain))
    assert message in expect_error(1, "verify", bundle)
