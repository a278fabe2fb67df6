"""Bundles on disk: whole or not at all, and read with distrust."""

import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import open_bundle, staged_bundle
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import BundleError, ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.process.interrupts import INTERRUPTS, SIGNALS
from tests.helpers.fakes import FakeExporter

ErrorCheck = Callable[..., str]
CONVERT = ("fake", "--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10", "--output")


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


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


def test_a_manifest_of_wrong_types_or_sizes_is_named(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    edit_manifest(fake_bundle, lambda document: document["inputs"][0].update(shape=[10**12, 3, 64, 64]))
    assert "not those of a network that returns logits" in expect_error(2, "verify", fake_bundle)
    edit_manifest(fake_bundle, lambda document: document.update(precision="fp7"))
    assert "not a valid manifest" in expect_error(2, "verify", fake_bundle)


def test_what_is_no_bundle_is_named(tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "no bundle" in expect_error(2, "verify", tmp_path)
    assert "no bundle" in expect_error(2, "verify", tmp_path / "nowhere")


def test_an_existing_bundle_is_replaced_as_a_whole(fake_bundle: Path) -> None:
    before = (fake_bundle / "manifest.json").read_bytes()
    assert run([*CONVERT, str(fake_bundle.parent), "--seed", "1"]) == 0
    assert (fake_bundle / "manifest.json").read_bytes() != before
    assert [path.name for path in fake_bundle.parent.iterdir()] == ["fake-fp32"]


def test_a_failed_conversion_is_kept_apart(fake_bundle: Path) -> None:
    before = (fake_bundle / "manifest.json").read_bytes()
    assert run([*CONVERT, str(fake_bundle.parent), "--fault", "bias"]) == 1
    assert (fake_bundle / "manifest.json").read_bytes() == before
    failed = fake_bundle.parent / "fake-fp32.failed"
    assert read_manifest(failed).parity.status == "failed"
    assert run(["verify", str(failed)]) == 1
    assert run([*CONVERT, str(fake_bundle.parent)]) == 0
    assert not failed.exists()


def test_an_existing_folder_that_is_no_bundle_is_refused(tmp_path: Path, fake_target: None, expect_error: ErrorCheck) -> None:
    (tmp_path / "fake-fp32").mkdir()
    (tmp_path / "fake-fp32" / "thesis.txt").write_text("years of work")
    assert "exists and is not a bundle" in expect_error(2, *CONVERT, tmp_path)
    assert (tmp_path / "fake-fp32" / "thesis.txt").read_text() == "years of work"


def test_an_output_below_a_file_is_refused(tmp_path: Path, fake_target: None, expect_error: ErrorCheck) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in expect_error(2, *CONVERT, tmp_path / "file" / "out")


def test_an_output_that_is_not_writable_is_refused(
    tmp_path: Path, fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert "is not writable" in expect_error(2, *CONVERT, tmp_path / "out")
    monkeypatch.undo()


def test_an_output_that_the_system_refuses(
    tmp_path: Path, fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /proc does: it looks writable, and making a folder in it fails with ENOENT."""

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert "cannot be written" in expect_error(2, *CONVERT, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def export(self: FakeExporter, module: object, plan: object, folder: Path) -> None:
        (folder / "model.fake").write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FakeExporter, "export", export)
    assert "no space left" in expect_error(2, *CONVERT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_meets_a_full_disk_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(UsageError, match="no space left"), staged_bundle(tmp_path / "out"):
        raise ExportError("file write failed")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_leaves_nothing(
    tmp_path: Path, fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(self: FakeExporter, module: object, plan: object, folder: Path) -> None:
        (folder / "model.fake").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeExporter, "export", export)
    assert "interrupted" in expect_error(130, *CONVERT, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def listening() -> Iterator[None]:
    """Signals as the program handles them, for one test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    INTERRUPTS.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    INTERRUPTS.arrived = False


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_that_a_library_swallows_is_obeyed_all_the_same(
    tmp_path: Path,
    fake_target: None,
    listening: None,
    expect_error: ErrorCheck,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """As in a destructor: KeyboardInterrupt is raised there, dropped, and the conversion goes on."""
    export = FakeExporter.export

    def swallow(self: FakeExporter, module: Any, plan: Any, folder: Path) -> Artifact:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(5)
        return export(self, module, plan, folder)

    monkeypatch.setattr(FakeExporter, "export", swallow)
    assert "interrupted" in expect_error(130, *CONVERT, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_between_two_renames_waits(fake_bundle: Path, listening: None, number: signal.Signals) -> None:
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        os.kill(os.getpid(), number)
        return rename(self, target)

    def replace() -> None:
        with staged_bundle(fake_bundle) as staged:
            (staged.folder / "manifest.json").write_text("new")
            staged.publish()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        with pytest.raises(KeyboardInterrupt):
            replace()
    assert (fake_bundle / "manifest.json").read_text() == "new"
    assert [path.name for path in fake_bundle.parent.iterdir()] == [fake_bundle.name]


def test_open_bundle_reads_nothing_outside(fake_bundle: Path) -> None:
    assert open_bundle(fake_bundle).target == "fake"
    (fake_bundle / "golden" / "input.f32").write_bytes(b"")
    with pytest.raises(BundleError, match="changed since"):
        open_bundle(fake_bundle)
