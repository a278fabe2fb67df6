"""Folders of strangers' photographs: each is run, passed over or refused in one line, and what is run has the right pixels."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import EpsImagePlugin

from edgevit_deploy.commands import console
from edgevit_deploy.data import photographs, pictures
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import writable
from tests.helpers.fuzzed_pictures import MODES, Entry, entry_of
from tests.helpers.fuzzing import Asker, FindingError, expect, link_tree, must_find, seek, varied
from tests.helpers.pictures import gradient, save

pytestmark = pytest.mark.slow

EXAMPLES = 300


def folder_of(random: Random) -> tuple[Entry, ...]:
    return tuple(entry_of(random) for _ in range(random.choice((1, 1, 1, 2))))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A bundle, and beside it a folder of pictures that is made anew for each case; one picture in it is always good."""

    asker: Asker

    def check(self, entries: tuple[Entry, ...]) -> None:
        EpsImagePlugin.gs_binary = None  # Pillow looks for the program once, and starts it to see whether it is there
        shutil.rmtree("photos", ignore_errors=True)
        Path("photos").mkdir()
        save(Path("photos/good.bmp"), gradient(40, 40))
        named = {entry.name: entry for entry in entries}
        for entry in named.values():
            path = Path("photos", entry.name)
            path.write_bytes(entry.content) if isinstance(entry.content, bytes) else entry.content(path)
        answer = self.asker.ask(["verify", "bundle", "--images", "photos", "--json"])
        run = set() if answer.document is None else set(answer.document[0]["top5"])
        harmless = all(entry.pixels or entry.passed_over for entry in named.values())
        expect(answer.document is not None or not harmless, f"a good one refused: {answer.errors}")
        for entry in named.values():
            expect(not entry.passed_over or writable(entry.name) not in run, f"{entry.name!r} was run and is no picture")
            if entry.pixels:
                found = pixels_of(Path("photos", entry.name))
                expect(any(np.array_equal(found, right) for right in entry.pixels), f"{entry.name!r} has other pixels")


def pixels_of(path: Path) -> np.ndarray:
    try:
        return np.asarray(pictures.read_picture(path))
    except UsageError as error:
        raise FindingError(f"a good one refused: {error}") from error


@pytest.fixture
def world(asker: Asker, small_bundle: Path) -> World:
    link_tree(small_bundle, Path("bundle"))
    return World(asker=asker)


def test_any_file_may_lie_in_the_folder(world: World) -> None:
    seek(varied(folder_of), world.check, EXAMPLES)


CURES = {
    "no PostScript is opened": ("FORMATS", (*pictures.FORMATS, "EPS"), "gs-was-started"),
    "claimed sizes are bounded": ("MAX_PIXELS", 2**62, "memory was taken"),
    "photographs are turned upright": ("_upright", lambda picture, turn: picture, "has other pixels"),
    "an odd field of EXIF is no end": ("_orientation", lambda image: image._getexif()[0x112], "good one refused"),
    "grey of 16 bits is kept": ("_grey_bits", lambda image: 16 if image.mode == "I" else None, "good one refused|other pixels"),
    "hidden files are passed over": ("why_not", lambda path: "" if path.name[0] == "." else WHY_NOT(path), "is no picture"),
}
"""Cures by what they do: their names, what stands there without them, and what is found then."""

WHY_NOT = pictures.why_not


@pytest.mark.parametrize("cure", CURES)
def test_without_the_cure_a_picture_is_found(cure: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name, instead, found = CURES[cure]
    monkeypatch.setattr(photographs if name == "why_not" else pictures, name, instead)
    if name == "MAX_PIXELS":
        monkeypatch.setattr(pictures, "MAX_SIDE", 2**62)
    must_find(varied(folder_of), world.check, EXAMPLES, found)


def test_a_name_that_a_terminal_would_obey_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "printable", str)
    must_find(varied(folder_of), world.check, EXAMPLES, "a terminal would obey|raised Unicode|1 error lines")


def test_every_format_that_is_read_is_fuzzed() -> None:
    assert set(MODES) == set(pictures.FORMATS)
