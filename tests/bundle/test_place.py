"""A bundle's place: nobody else's file is lost, one run writes at a time, and what a killed run leaves the next one mends."""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.bundle import place
from edgevit_deploy.bundle.exchange import exchange
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.place import staged_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from tests.helpers.bundles import notes_of, run_staged

ErrorCheck = Callable[..., str]
CONVERT = ("fake", "--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10", "--output")


@pytest.mark.parametrize("name", ["fake-fp32", "fake-fp32.failed"])
@pytest.mark.parametrize("files", [{"photo.txt": "x"}, {"manifest.json": '{"name": "web app"}', "photo.txt": "x"}, {}])
def test_a_folder_that_is_somebody_elses_is_refused_and_left(
    tmp_path: Path, fake_target: None, expect_error: ErrorCheck, name: str, files: dict[str, str]
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    assert "move it away or give another --output" in expect_error(2, *CONVERT, tmp_path, "--fault", "bias")
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_that_was_put_into_a_bundle_is_not_lost(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "golden" / "mine.txt").write_text("years of work")
    message = expect_error(2, *CONVERT, fake_bundle.parent)
    assert "has 'golden/mine.txt' in it, which was not written with the bundle and would be lost" in message
    assert (fake_bundle / "golden" / "mine.txt").read_text() == "years of work"


def test_a_file_that_comes_during_the_run_is_not_lost(fake_bundle: Path) -> None:
    with staged_bundle(fake_bundle) as staged:
        (fake_bundle / "mine.txt").write_text("years of work")
        with pytest.raises(UsageError, match="was not written with the bundle"):
            staged.publish()
    assert (fake_bundle / "mine.txt").read_text() == "years of work"


@pytest.mark.parametrize("clutter", [".DS_Store", "._model.fake", "golden/.DS_Store", "Thumbs.db", "desktop.ini"])
def test_what_a_file_manager_leaves_is_in_nobodys_way(fake_bundle: Path, clutter: str) -> None:
    (fake_bundle / clutter).write_bytes(b"x")
    assert run(["verify", str(fake_bundle)]) == 0
    assert run([*CONVERT, str(fake_bundle.parent), "--seed", "1"]) == 0
    assert not (fake_bundle / clutter).exists()


def test_a_link_in_the_place_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    real = fake_bundle.rename(fake_bundle.with_name("real"))
    fake_bundle.symlink_to(real)
    assert "is not a bundle" in expect_error(2, *CONVERT, fake_bundle.parent)
    assert real.is_dir()


def test_a_second_run_is_refused_while_the_first_writes(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    with staged_bundle(fake_bundle):
        assert f"another run is writing {fake_bundle}" in expect_error(2, *CONVERT, fake_bundle.parent)
    assert run([*CONVERT, str(fake_bundle.parent)]) == 0
    assert [path.name for path in fake_bundle.parent.iterdir()] == [fake_bundle.name]


@pytest.mark.parametrize("exchanged", [True, False], ids=["in one call", "by two renames"])
def test_both_ways_to_replace(fake_bundle: Path, monkeypatch: pytest.MonkeyPatch, exchanged: bool) -> None:
    if not exchanged:
        monkeypatch.setattr(place, "exchange", lambda one, other: False)
    run_staged(fake_bundle, "new")
    assert notes_of(fake_bundle) == "new"
    assert [path.name for path in fake_bundle.parent.iterdir()] == [fake_bundle.name]


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no other system has the call")
def test_an_exchange_is_one_call(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").is_file()
    assert not exchange(tmp_path / "a", tmp_path / "nowhere")


def test_a_foreign_folder_of_our_own_name_is_left(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    partial = fake_bundle.with_name(".fake-fp32.partial")
    partial.mkdir()
    (partial / "mine.txt").write_text("x")
    assert "was not written here; move it away" in expect_error(2, *CONVERT, fake_bundle.parent)
    assert (partial / "mine.txt").is_file()


def kill_at(number: int, bundle: Path, by_renames: bool) -> int:
    """Write a bundle in a process that kills itself when it touches the disk for the n-th time; return its status.

    A fork of this one: a hundred processes that first import everything would take a minute.
    """
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    events = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal events
        if event.startswith(("os.", "shutil.", "open")) and any(str(bundle.parent) in str(each) for each in arguments):
            events += 1
            if events == number:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        if by_renames:
            place.exchange = lambda one, other: False
        sys.addaudithook(hook)
        run_staged(bundle, "new")
        os._exit(0)
    except BaseException:  # noqa: BLE001 - it must not get into the tests of the parent
        traceback.print_exc()
        os._exit(1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX's")
@pytest.mark.parametrize("by_renames", [False, True], ids=["in one call", "by two renames"])
def test_killed_anywhere_the_next_run_mends_it(fake_bundle: Path, by_renames: bool) -> None:
    """`kill -9` at every single access to the disk: the bundle is there each time, and one run later nothing else is."""
    shutil.copytree(fake_bundle, fake_bundle.with_name("template"))
    number, gone = 0, 0
    while True:
        number += 1
        shutil.rmtree(fake_bundle)
        shutil.copytree(fake_bundle.with_name("template"), fake_bundle)
        status = kill_at(number, fake_bundle, by_renames)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        gone += not fake_bundle.exists()
        if not by_renames:
            assert open_bundle(fake_bundle), "each file is hashed"
        run_staged(fake_bundle, "after")
        assert notes_of(fake_bundle) == "after"
        assert {path.name for path in fake_bundle.parent.iterdir()} == {fake_bundle.name, "template"}
    assert number > 20, "the process was never killed"
    assert gone == (1 if by_renames else 0), "between two renames there is none, and the next run puts it back"


def test_between_two_renames_the_old_bundle_is_put_back(fake_bundle: Path) -> None:
    partial = fake_bundle.with_name(".fake-fp32.partial")
    partial.mkdir()
    (partial / place.MARK).touch()
    fake_bundle.rename(partial / place.OLD)
    with pytest.raises(RuntimeError), staged_bundle(fake_bundle):
        raise RuntimeError("this run fails, too")
    assert run(["verify", str(fake_bundle)]) == 0
    assert [path.name for path in fake_bundle.parent.iterdir()] == [fake_bundle.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("inside", ["manifest.json", "labels.txt", "golden/input.f32", "model.fake", "pipe"])
def test_a_pipe_is_refused_and_not_waited_for(fake_bundle: Path, expect_error: ErrorCheck, inside: str) -> None:
    (fake_bundle / inside).unlink(missing_ok=True)
    os.mkfifo(fake_bundle / inside)
    assert "regular file" in expect_error(2, "verify", fake_bundle)
