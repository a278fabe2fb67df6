"""Bundles on disk: what they hold, and that they are read with distrust."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import BundleError
from tests.helpers.bundles import edit_manifest

ErrorCheck = Callable[..., str]


def test_a_bundle_holds_what_the_contract_says(fake_bundle: Path) -> None:
    names = {path.relative_to(fake_bundle).as_posix() for path in fake_bundle.rglob("*") if path.is_file()}
    assert {"manifest.json", "labels.txt", "golden/input.f32", "golden/output.f32", "README.md", "model.fake"} <= names
    manifest = json.loads((fake_bundle / "manifest.json").read_text())
    for key in ("target", "precision", "conversion", "files", "model", "inputs", "outputs", "preprocess", "labels", "options"):
        assert key in manifest, key
    for key in ("tools", "parity", "notes"):
        assert key in manifest, key
    assert manifest["schema_version"] == 2
    assert manifest["model"]["random_seed"] == 0
    assert "random weights" in manifest["notes"][0]


def test_no_machine_path_and_no_time_stamp(fake_bundle: Path) -> None:
    for name in ("manifest.json", "README.md", "labels.txt"):
        text = (fake_bundle / name).read_text()
        assert str(fake_bundle.parent) not in text
        assert "2026-" not in text


def test_golden_data_need_no_parser(fake_bundle: Path) -> None:
    golden = read_manifest(fake_bundle).golden
    inputs = np.fromfile(fake_bundle / golden.input.path, dtype="<f4").reshape(golden.input.shape)
    outputs = np.fromfile(fake_bundle / golden.outputs[0].path, dtype="<f4").reshape(golden.outputs[0].shape)
    assert inputs.shape == (2, 3, 64, 64)
    assert outputs.shape == (2, 10)
    assert golden.probes == ("natural", "noise")


def test_verify_after_a_move(fake_bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    shutil.move(fake_bundle, moved)
    assert run(["verify", str(moved)]) == 0
    assert run(["verify", str(moved), "--seed", "0"]) == 0


def test_verify_with_other_weights_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    assert "not the bundle's weights" in expect_error(2, "verify", fake_bundle, "--seed", 1)


@pytest.mark.parametrize("name", ["model.fake", "golden/input.f32", "golden/output.f32", "labels.txt", "README.md"])
def test_one_flipped_byte_is_seen(fake_bundle: Path, expect_error: ErrorCheck, name: str) -> None:
    path = fake_bundle / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{name}: changed since it was written" in expect_error(1, "verify", fake_bundle)


def test_a_missing_or_added_file_is_seen(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "extra.bin").write_bytes(b"x")
    assert "extra.bin is not in the manifest" in expect_error(1, "verify", fake_bundle)
    (fake_bundle / "extra.bin").unlink()
    (fake_bundle / "labels.txt").unlink()
    assert "labels.txt is missing" in expect_error(1, "verify", fake_bundle)


def test_wrong_numbers_behind_right_hashes_are_seen(fake_bundle: Path) -> None:
    """Someone re-hashes a bundle after changing its golden outputs: replaying still fails."""
    path = fake_bundle / "golden" / "output.f32"
    values = np.fromfile(path, dtype="<f4")
    values[3] += 1e-3
    values.tofile(path)

    def rehash(document: dict) -> None:
        import hashlib

        for record in document["files"]:
            if record["path"] == "golden/output.f32":
                record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit_manifest(fake_bundle, rehash)
    assert run(["verify", str(fake_bundle)]) == 1


def test_a_manifest_cannot_grant_itself_a_wide_bound(fake_bundle: Path) -> None:
    test_wrong_numbers_behind_right_hashes_are_seen(fake_bundle)

    def widen(document: dict) -> None:
        for diff in document["parity"]["diffs"]:
            diff["tolerance"].update(atol=1e9, k=1e9, noise=1.0)

    edit_manifest(fake_bundle, widen)
    assert run(["verify", str(fake_bundle)]) == 1


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "C:\\windows", "c:/x", "..\\up", ""])
@pytest.mark.parametrize("field", ["path", "files", "labels", "golden"])
def test_a_path_that_leaves_the_bundle_is_refused(fake_bundle: Path, expect_error: ErrorCheck, field: str, path: str) -> None:
    def point_outside(document: dict) -> None:
        if field == "path":
            document["path"] = path
        elif field == "files":
            document["files"][0]["path"] = path
        elif field == "labels":
            document["labels"]["path"] = path
        else:
            document["golden"]["input"]["path"] = path

    edit_manifest(fake_bundle, point_outside)
    assert "leaves the bundle" in expect_error(2, "verify", fake_bundle)


def test_a_link_is_refused(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    secret = tmp_path / "secret"
    shutil.copy(fake_bundle / "labels.txt", secret)
    (fake_bundle / "labels.txt").unlink()
    (fake_bundle / "labels.txt").symlink_to(secret)
    assert "a link" in expect_error(2, "verify", fake_bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 99}', "schema_version 99 is unknown"),
        ('{"schema_version": "1"}', "schema_version '1' is unknown"),
        ("{}", "not a bundle manifest"),
        ("[]", "not a bundle manifest"),
        ("no json", "not a bundle manifest"),
        ("[" * 100_000, "not a bundle manifest"),
        ('{"schema_version": 1}', "not a valid manifest"),
    ],
)
def test_a_broken_manifest_is_named(fake_bundle: Path, expect_error: ErrorCheck, content: str, message: str) -> None:
    (fake_bundle / "manifest.json").write_text(content)
    assert message in expect_error(2, "verify", fake_bundle)


@pytest.mark.parametrize(("field", "levels"), [("facts", 200), ("facts", 900), ("options", 500)])
def test_a_manifest_that_could_not_be_written_again_is_named(
    fake_bundle: Path, expect_error: ErrorCheck, field: str, levels: int
) -> None:
    """An evaluation records itself in it; parsing alone takes more levels than that."""
    edit_manifest(fake_bundle, lambda document: document[field].update(new=json.loads("[" * 50 + "]" * 50)))
    assert run(["verify", str(fake_bundle), "--json"]) == 0
    path = fake_bundle / "manifest.json"
    path.write_text(path.read_text().replace("[" * 50, "[" * levels).replace("]" * 50, "]" * levels))
    assert "it is too deep to be written again" in expect_error(2, "verify", fake_bundle, "--json")


def test_a_manifest_of_wrong_types_or_sizes_is_named(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    edit_manifest(fake_bundle, lambda document: document["inputs"][0].update(shape=[10**12, 3, 64, 64]))
    assert "'input' of shape (1000000000000, 3, 64, 64) would take" in expect_error(2, "verify", fake_bundle)
    edit_manifest(fake_bundle, lambda document: document.update(precision="fp7"))
    assert "not a valid manifest" in expect_error(2, "verify", fake_bundle)


def test_what_is_no_bundle_is_named(tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "no bundle" in expect_error(2, "verify", tmp_path)
    assert "no bundle" in expect_error(2, "verify", tmp_path / "nowhere")


def test_open_bundle_reads_nothing_outside(fake_bundle: Path) -> None:
    assert open_bundle(fake_bundle).target == "fake"
    (fake_bundle / "golden" / "input.f32").write_bytes(b"")
    with pytest.raises(BundleError, match="changed since"):
        open_bundle(fake_bundle)
