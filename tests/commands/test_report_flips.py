"""The report page shows the pictures that a rounded file decides otherwise, as far as they are still those that were judged."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.bundle.manifest import QuantisationRecord
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.parity.decisions import SHOWN_FLIPS, Decisions, Flipped
from tests.helpers.bundles import edit_manifest
from tests.helpers.pictures import save
from tests.helpers.report_page import Page, report

ErrorCheck = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures that can be shown, one that is no longer what it was, and one that nobody can decode."""
    root = tmp_path / "judged"
    root.mkdir()
    for number, name in enumerate(("a.png", "b<i>.png", "changed.png")):
        save(root / name, np.full((50, 70, 3), 60 * number, np.uint8))
    whole = save(root / "broken.jpg", np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).read_bytes()
    (root / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "outside.png", np.zeros((8, 8, 3), np.uint8))
    return root


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def judged(bundle: Path, *flips: Flipped) -> Path:
    """Let a bundle say that it is rounded and decides some pictures otherwise."""
    decisions = Decisions(pictures=1000, agreeing=996, min_agreement=0.98, digest="", broken=0, flips=flips)
    rounding = QuantisationRecord(scheme=Scheme(activations="none"), calibration=None, sqnr_db={})

    def change(document: dict[str, Any]) -> None:
        document.update(precision="w8", quantisation=msgspec.to_builtins(rounding), decisions=msgspec.to_builtins(decisions))

    edit_manifest(bundle, change)
    return bundle


def flip(picture: str, sha256: str = "0" * 64, **facts: Any) -> Flipped:
    return Flipped(**{"picture": picture, "network": 3, "file": 5, "margin": 0.25, "sha256": sha256, **facts})


@pytest.fixture
def bundle(fake_bundle: Path, folder: Path) -> Path:
    return judged(
        fake_bundle,
        flip("a.png", sha256(folder / "a.png"), label=4, file_margin=0.125),
        flip("b<i>.png", sha256(folder / "b<i>.png")),
        flip("changed.png"),
        flip("gone.png"),
        flip("broken.jpg", sha256(folder / "broken.jpg"), file=-1),
        flip("../outside.png", sha256(folder.parent / "outside.png")),
        flip("a.png", ""),
    )


def pictures(page: str) -> list[Image.Image]:
    urls = [value for tag, name, value in Page(page).attributes if (tag, name) == ("img", "src")]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_pictures_that_are_still_there_are_shown(bundle: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = report(bundle, flags=("--judge", str(folder)))
    shown = pictures(page)
    assert [picture.format for picture in shown] == ["JPEG", "JPEG"]
    assert all(max(picture.size) <= 96 for picture in shown)
    assert [round(float(np.asarray(picture).mean()) / 60) for picture in shown] == [0, 1]
    text = Page(page).text
    for expected in (
        "2 of 7 pictures are shown, from the folder judged",
        "1 another picture than was judged",
        "2 no longer there",
        "1 cannot be decoded",
        "1 cannot be known again: this bundle keeps no hash of them",
        "class 4 network: class 3, by 0.25 this file: class 5, by 0.125",
        "this file: not finite, by -",
        "b<i>.png",
    ):
        assert expected in text, expected
    assert "2 no longer there" in " ".join(capfd.readouterr().err.split())
    assert "i" not in Page(page).tags, "a name is text"
    assert "img-src data:" in page
    assert str(folder.parent) not in page


def test_without_the_folder_there_is_a_table_and_how_to_get_pictures(bundle: Path) -> None:
    page = report(bundle)
    assert not pictures(page)
    assert "img-src" not in page
    assert "gone.png" in page
    assert "report BUNDLE --judge DIR`, with the folder of these pictures, shows them here." in Page(page).text


def test_pictures_are_bounded(fake_bundle: Path, folder: Path) -> None:
    """A manifest from outside can name one picture as often as it likes."""
    judged(fake_bundle, *[flip("a.png", sha256(folder / "a.png"))] * 500)
    page = report(fake_bundle, flags=("--judge", str(folder)))
    assert len(pictures(page)) == SHOWN_FLIPS
    assert len(re.findall("data:image", page)) == SHOWN_FLIPS


def test_a_folder_for_nothing_is_refused(fake_bundle: Path, folder: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "none of these bundles was judged by decisions" in expect_error(2, "report", fake_bundle, "--judge", folder)
    judged(fake_bundle, flip("a.png"))
    assert "not a folder" in expect_error(2, "report", fake_bundle, "--judge", tmp_path / "nothing")
    assert not (fake_bundle.parent / "report.html").exists()
