"""A flat folder with a table of labels: what the table may say, and what it may not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.data.image_folder import is_image_folder, open_image_folder
from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import UsageError
from tests.helpers.pictures import gradient, save

NAMES = ("a.png", "b.png", "c.png", "d, e.png", "deep/f.png")
GOOD = 'file,label\nc.png,cat\na.png,dog\nb.png,cat\n"d, e.png",dog\ndeep/f.png,cat\n'


def flat(root: Path, table: str | bytes = GOOD) -> Path:
    (root / "deep").mkdir(parents=True)
    for name in NAMES:
        save(root / name, gradient(4, 5))
    (root / "labels.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return root


@pytest.mark.parametrize(
    "table",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("file,label", " file , label").replace("c.png,cat", "c.png , cat"),
        GOOD + "\n\nc.png,cat\n./c.png,cat\n",
        GOOD.rstrip("\n"),
    ],
    ids=["plain", "Windows", "byte order mark", "blanks", "said twice", "no newline"],
)
def test_a_table_is_read_in_class_order_and_then_by_name(table: str | bytes, tmp_path: Path) -> None:
    folder = open_image_folder(flat(tmp_path, table))
    assert folder.classes == ("cat", "dog")
    assert folder.files == ("b.png", "c.png", "deep/f.png", "a.png", "d, e.png")
    assert folder.targets.tolist() == [0, 0, 0, 1, 1]
    assert folder.path(4).is_file()
    assert is_image_folder(tmp_path)


def test_named_classes_have_their_order(tmp_path: Path) -> None:
    folder = open_image_folder(flat(tmp_path), classes=("dog", "cat"))
    assert folder.targets.tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(UsageError, match=r"2 classes, without 'bird' and with 'cat', not among them"):
        open_image_folder(tmp_path, classes=("dog", "bird"))


def test_what_the_table_does_not_name_is_passed_over(tmp_path: Path) -> None:
    flat(tmp_path, "file,label\na.png,dog\nb.png,cat\n")
    (tmp_path / "._a.png").write_bytes(b"\0")
    assert open_image_folder(tmp_path).passed_over == (
        PassedOver(file="._a.png", why="hidden"),
        PassedOver(file="c.png", why="not in labels.csv"),
        PassedOver(file="d, e.png", why="not in labels.csv"),
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "its first line is not file,label"),
        ("a.png,cat\nb.png,dog\n", "its first line is not file,label; write that header"),
        ("file;label\na.png;cat\n", "its first line is not file,label"),
        ("file,label\n", "no picture in it"),
        ("file,label\na.png\n", "line 2 is not FILE,LABEL"),
        ("file,label\na.png,cat,dog\n", "line 2 is not FILE,LABEL"),
        ("file,label\na.png,cat\nb.png, \n", "line 3 is not FILE,LABEL"),
        ("file,label\na.png,cat\nb.png,dog\na.png,dog\n", "line 4 says that a.png is 'dog', an earlier one 'cat'"),
        ("file,label\na.png,cat\n./a.png,dog\n", "line 3 says that a.png is 'dog', an earlier one 'cat'"),
        ("file,label\nz.png,cat\n", "line 2 names z.png, which is no file of this folder"),
        ("file,label\n../labels.csv,cat\n", "line 2 names ../labels.csv, which is no file of this folder"),
        ("file,label\n/etc/passwd,cat\n", "line 2 names /etc/passwd, which is no file"),
        ("file,label\ndeep,cat\n", "line 2 names deep, which is no file"),
        ("file,label\npipe,cat\n", "line 2 names pipe, which is no file"),
        ("file,label\n.e.png,cat\n", "line 2 names .e.png, and what is hidden is passed over; rename it, or remove the line"),
        ("file,label\n.deep/e.png,cat\n", "line 2 names .deep/e.png, and what is hidden is passed over"),
        ("file,label\na\0.png,cat\n", "which is no file of this folder"),
        ('file,label\n"a.png,cat\n', "is not FILE,LABEL (unexpected end of data)"),
        (b"file,label\nK\xe4se.png,cat\n", "not text in UTF-8"),
        ("file,label\n" + "a" * 200_000 + ",cat\n", "line 2 is not FILE,LABEL (field larger"),
        ("file,label\na.png,cat\n", "one class, 'cat'"),
        ("file,label\nlabels.csv,cat\nb.png,dog\n", "no picture of class 'cat'"),
    ],
)
def test_a_table_that_cannot_be_is_one_line(table: str | bytes, said: str, tmp_path: Path) -> None:
    os.mkfifo(flat(tmp_path, table) / "pipe")
    (tmp_path / ".deep").mkdir()
    for hidden in (".e.png", ".deep/e.png"):
        save(tmp_path / hidden, gradient(4, 5))
    with pytest.raises(UsageError) as caught:
        open_image_folder(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_to_a_table_that_is_a_pipe_is_no_table(tmp_path: Path) -> None:
    flat(tmp_path)
    (tmp_path / "labels.csv").unlink()
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="one class, 'deep'"):
        open_image_folder(tmp_path)


class TestPhotographs:
    """`--images` takes what a table names before the pictures of the folder; a table of somebody else's is none."""

    def test_the_table_goes_before_the_folder(self, tmp_path: Path) -> None:
        found = find_pictures(flat(tmp_path, "file,label\nb.png,cat\ndeep/f.png,dog\n"))
        assert (found.names, found.labels) == (("b.png", "deep/f.png"), ("cat", "dog"))
        assert [item.file for item in found.passed_over if item.why == "not in labels.csv"] == ["a.png", "c.png", "d, e.png"]
        with pytest.raises(UsageError, match=r"--strict: 3 files of .* a.png \(not in labels.csv\)"):
            find_pictures(tmp_path, strict=True)

    @pytest.mark.parametrize(
        "table",
        ["", "name;score\na;3\n", "image_id,label\na.png,cat\n", "x" * 10_000, b"\xff\xfea\0", b"\0\n", '"a\n'],
        ids=["empty", "semicolons", "other columns", "one long line", "UTF-16", "a zero byte", "an open quote"],
    )
    def test_a_table_of_somebody_else_is_no_picture(self, table: str | bytes, tmp_path: Path) -> None:
        found = find_pictures(flat(tmp_path, table))
        assert (found.names, found.labels) == (("a.png", "b.png", "c.png", "d, e.png"), ())
        assert PassedOver(file="labels.csv", why="no picture") in found.passed_over
        for name in found.names:
            (tmp_path / name).unlink()
        assert find_pictures(tmp_path).names == ("deep/f.png",), "and without pictures beside it, those of the subfolders"

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
    def test_what_is_no_file_is_no_table(self, make: Callable[[Path], None], tmp_path: Path) -> None:
        (flat(tmp_path) / "labels.csv").unlink()
        make(tmp_path / "labels.csv")
        assert find_pictures(tmp_path).names == ("a.png", "b.png", "c.png", "d, e.png")

    def test_a_table_of_ours_that_cannot_be_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"labels.csv: line 2 names z.png, which is no file"):
            find_pictures(flat(tmp_path, "file,label\nz.png,cat\n"))
