"""What the machine refuses is said, and is not taken for what is wrong with a picture: that one would be passed over."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import ImageFile, PngImagePlugin

from edgevit_deploy.data import pictures
from edgevit_deploy.data.batches import in_workers
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import is_picture, picture_size, read_picture, why_not
from edgevit_deploy.errors import RunError, UsageError, system_refusal
from tests.helpers.pictures import gradient, save

THE_MACHINES = [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM]
THE_FILES = [errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EINVAL]
READERS: list[Callable[[Path], object]] = [read_picture, why_not, is_picture, picture_size]


def refused(number: int) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save(tmp_path / "photos" / "a.png", gradient())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.mark.parametrize("number", THE_MACHINES, ids=errno.errorcode.get)
@pytest.mark.parametrize("read", READERS)
def test_a_machine_that_opens_no_file_is_said(
    picture: Path, read: Callable[[Path], object], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "open_regular", refused(number))
    with pytest.raises(OSError) as caught:
        read(picture)
    assert caught.value.errno == number
    assert system_refusal(caught.value)


@pytest.mark.parametrize("number", THE_FILES, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_opened_is_passed_over(picture: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "open_regular", refused(number))
    assert why_not(picture) == os.strerror(number)
    assert not is_picture(picture)
    assert picture_size(picture) is None
    with pytest.raises(UsageError, match="cannot be read as a picture"):
        read_picture(picture)


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "Input/output error")], ids=["memory", "disk"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(ImageFile.ImageFile, "load"), (PngImagePlugin.PngImageFile, "_open"), (ImageFile.ImageFile, "getexif")],
    ids=["decoding", "the header", "the orientation"],
)
def test_a_machine_that_fails_while_a_picture_is_read_is_said(
    picture: Path, owner: type, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising(error))
    with pytest.raises(type(error)):
        read_picture(picture)


@pytest.mark.parametrize("error", [OSError("image file is truncated"), SyntaxError("broken PNG file"), ValueError("bad")])
def test_a_damaged_picture_is_still_damaged(picture: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what a decoder raises about contents has no number of the system."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", raising(error))
    with pytest.raises(UsageError, match="damaged, cannot be read as a picture"):
        read_picture(picture)


def test_no_folder_is_without_pictures_because_no_file_can_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        save(folder / name / "a.png", gradient())
    save(folder / "a.png", gradient())
    monkeypatch.setattr(pictures, "open_regular", refused(errno.EMFILE))
    for look in (find_pictures, open_image_folder):
        with pytest.raises(OSError, match="Too many open files"):
            look(folder)


class Failing:
    """What a worker is given: it raises an error for each item."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, item: int) -> int:
        raise self.error


def first_of(error: Exception) -> object:
    def items() -> Iterator[list[int]]:
        yield [0]

    with closing(in_workers(Failing(error), items(), 1, list)) as batches:
        return next(batches)


def test_what_the_machine_refuses_a_worker_is_one_line() -> None:
    with pytest.raises(OSError, match="Too many open files") as caught:
        first_of(OSError(errno.EMFILE, "Too many open files", "a.png"))
    assert system_refusal(caught.value) == (
        "the system refused: [Errno 24] Too many open files: 'a.png'; nothing half-written was kept"
    )
    with pytest.raises(MemoryError):
        first_of(MemoryError())


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), ValueError("a fault of ours"), RunError("a fault of ours")])
def test_what_a_worker_raised_is_not_taken_for_its_end(error: Exception) -> None:
    """A worker that was killed is another matter: `test_batches.py` kills one."""
    with pytest.raises(type(error), match="a fault of ours") as caught:
        first_of(error)
    assert "was ended" not in str(caught.value)
