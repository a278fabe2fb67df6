"""Bundles are written whole or not at all: a full disk, an interrupt, a folder that is somebody else's."""

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle import place
from edgevit_deploy.bundle.exchange import exchange
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.bundle.place import staged_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.process.interrupts import SIGNALS
from tests.helpers.bundles import notes_of, run_staged
from tests.helpers.fakes import FakeExporter

ErrorCheck = Callable[..., str]
CONVERT = ("fake", "--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10", "--output")


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


@pytest.mark.parametrize("exchanged", [True, False], ids=["in one call", "by two renames"])
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_while_folders_change_places_waits(
    fake_bundle: Path, listening: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, exchanged: bool
) -> None:
    """The bundle is in place then, and the interrupt says so: nothing was lost."""

    def interrupted(one: Path, other: Path) -> bool:
        os.kill(os.getpid(), number)
        return exchanged and exchange(one, other)

    monkeypatch.setattr(place, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt, match=f"interrupted; {fake_bundle} is written and whole"):
        run_staged(fake_bundle, "new")
    assert notes_of(fake_bundle) == "new"
    assert [path.name for path in fake_bundle.parent.iterdir()] == [fake_bundle.name]
