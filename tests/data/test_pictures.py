"""Which files of a folder are pictures: by their content, in a few formats, of a bounded size, without running anything."""

import os
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import MAX_PIXELS, MAX_SIDE, PassedOver, read_picture
from edgevit_deploy.errors import UsageError
from tests.helpers.pictures import gradient, png, save

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n(x) show\n"
DOS_EPS = b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + b"\0" * 20 + EPS

READ = ("JPEG", "MPO", "PNG", "BMP", "WEBP", "GIF", "TIFF", "AVIF", "PPM")
NOT_READ = ("DDS", "EPS", "ICNS", "ICO", "JPEG2000", "PCX", "SGI", "TGA")
"""Formats that Pillow writes and opens, but that are not among those above."""


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first `gs` on the PATH is a stand-in: the file that it leaves when it is started."""
    started = tmp_path / "started"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\n: > '{started}'\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return started


def folder_of(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
@pytest.mark.parametrize("content", [EPS, DOS_EPS], ids=["plain", "in a DOS container"])
def test_a_picture_that_is_postscript_starts_no_program(tmp_path: Path, ghostscript: Path, content: bytes) -> None:
    folder = folder_of(tmp_path, a__jpg=content, b__png=content, c__eps=content)
    with pytest.raises(UsageError, match=r"no picture in it, only a.jpg \(no picture\), b.png \(no picture\), c.eps"):
        find_pictures(folder)
    with pytest.raises(UsageError, match="cannot be read as a picture"):
        read_picture(folder / "a.jpg")
    assert not ghostscript.exists()


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
@pytest.mark.parametrize("content", [EPS, DOS_EPS], ids=["plain", "in a DOS container"])
def test_pillow_alone_would_have_started_it(tmp_path: Path, ghostscript: Path, content: bytes) -> None:
    """The negative control of the test above."""
    folder = folder_of(tmp_path, a__jpg=content)
    with pytest.raises(OSError), Image.open(folder / "a.jpg") as image:
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("kind", NOT_READ)
def test_a_format_that_is_not_on_the_list_is_passed_over(tmp_path: Path, kind: str) -> None:
    folder = folder_of(tmp_path)
    Image.fromarray(gradient(64, 64)).save(folder / "a.jpg", kind)
    save(folder / "b.png", gradient())
    with Image.open(folder / "a.jpg") as image:
        assert image.format == kind, "the control: Pillow knows it"
    found = find_pictures(folder)
    assert [path.name for path in found.paths] == ["b.png"]
    assert found.passed_over == (PassedOver(file="a.jpg", why="no picture"),)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("suffix", [".jfif", ".JPG", ".txt", ""])
def test_what_is_a_picture_is_decided_by_its_content(tmp_path: Path, kind: str, suffix: str) -> None:
    folder = folder_of(tmp_path)
    Image.fromarray(gradient()).save(folder / f"a{suffix}", kind)
    assert find_pictures(folder).paths == (folder / f"a{suffix}",)
    assert read_picture(folder / f"a{suffix}").size == (400, 300)


def test_what_is_passed_over_is_named_with_its_reason(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"._a__jpg": b"\0\5\26\7", "notes__txt": b"P1 is not due", "empty__png": b""})
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (folder / "older").mkdir()
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    save(folder / "a.png", gradient())
    save(folder / ".thumb.png", gradient())
    found = find_pictures(folder)
    assert [path.name for path in found.paths] == ["a.png"]
    assert {item.file: item.why for item in found.passed_over} == {
        "._a.jpg": "hidden",
        ".thumb.png": "hidden",
        "cut.png": "damaged header",
        "empty.png": "no picture",
        "gone.jpg": "No such file or directory",
        "notes.txt": "no picture",
        "older": "folder",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    os.mkfifo(folder / "a.jpg")
    (folder / "b.jpg").symlink_to("/dev/zero")
    save(folder / "c.png", gradient())
    assert {(item.file, item.why) for item in find_pictures(folder).passed_over} == {
        ("a.jpg", "not a regular file"),
        ("b.jpg", "not a regular file"),
    }
    with pytest.raises(UsageError, match="not a regular file"):
        read_picture(folder / "a.jpg")


def test_a_folder_without_a_picture_is_one_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(UsageError, match="no picture in it, it is empty; give a folder of JPEG, PNG"):
        find_pictures(folder)
    for index in range(9):
        (folder / f"{index}.txt").write_text("no picture")
    with pytest.raises(UsageError, match=r"only 0.txt \(no picture\), .*4.txt \(no picture\) and 4 more; give"):
        find_pictures(folder)
    with pytest.raises(UsageError, match="not a folder"):
        find_pictures(folder / "0.txt")


CLAIMS = {
    "png": png(60_000, 60_000, b""),
    "wide": png(MAX_SIDE + 1, 1, b""),
    "tall": png(1, MAX_SIDE + 1, b""),
    "just": png(2**14 + 1, 2**14, b""),
    "ppm": b"P6 60000 60000 255\n",
    "gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0",
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claimed_size_is_checked_before_anything_is_decoded(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, **{name: CLAIMS[name]})
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(action="error"):
        filters = list(warnings.filters)
        said = f"more than {MAX_PIXELS} pixels, or a side of more than {MAX_SIDE}"
        with pytest.raises(UsageError, match=rf"no picture in it, only {name} \({said}"):
            find_pictures(folder)
        with pytest.raises(UsageError, match=f"{name}: {said}"):
            read_picture(folder / name)
        assert warnings.filters == filters
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("size", [(12_000, 9_000), (16_320, 12_240), (2**14, 2**14)])
def test_what_phones_write_is_no_bomb(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = folder_of(tmp_path, phone=png(*size, b""))
    with warnings.catch_warnings(action="error"):
        assert len(find_pictures(folder).paths) == 1
        with pytest.raises((Image.DecompressionBombWarning, Image.DecompressionBombError)):
            Image.open(folder / "phone").close()  # the control: Pillow warns of it, or refuses it


def test_a_picture_beyond_pillows_own_limit_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of Pillow's that a small picture is far beyond."""
    path = save(tmp_path / "a.png", gradient())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(np.asarray(read_picture(path)), gradient())
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


@pytest.mark.parametrize("kind", READ)
def test_a_picture_that_is_cut_off_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """Whether its header tells, as of two formats, or only its pixels."""
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient()).save(path, kind)
    path.write_bytes(path.read_bytes()[:-400])

    def both() -> None:
        for found in find_pictures(tmp_path).paths:
            read_picture(found)

    with pytest.raises(UsageError, match=r"a.jpg(:| \()(damaged| damaged), cannot be read as a picture"):
        both()


def test_no_bytes_end_in_anything_but_a_picture_or_one_line(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a"
    outcomes = []
    for kind in READ:
        Image.fromarray(gradient(12, 16)).save(path, kind, **({"exif": Image.Exif()} if kind in ("JPEG", "PNG", "TIFF") else {}))
        whole = path.read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), rng.integers(1, 12)):
                content[place] = rng.integers(0, 256)
            path.write_bytes(content)
            try:
                outcomes.append(read_picture(path).mode)
            except UsageError as error:
                outcomes.append(f"refused in {len(str(error).splitlines())} line")
    assert set(outcomes) == {"RGB", "refused in 1 line"}


def test_pictures_are_opened_in_one_place() -> None:
    """Whatever else opens one would not have the list of formats, nor the bounds."""
    packages = [Path(__file__).parents[2] / name for name in ("edgevit_deploy", "export", "runtimes")]
    sources = [path for package in packages for path in package.rglob("*.py")]
    opens = re.compile(r"\bImage\.open\b|\bfrom PIL\.Image import .*\bopen\b")
    opening = [path.name for path in sources if opens.search(path.read_text(encoding="utf-8"))]
    assert opening == ["pictures.py"]
