"""The script that compares ways from a picture's file to the network's pixels: ours differ by nothing, and others are seen to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.apps import REQUIRED

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "docs/measurements/scripts"
FEW = ("--photographs", "2", "--labelled", "2")
WITHOUT_FIRST = "Pillow without EXIF", "torch bicubic, antialias=False", "torch bicubic, antialias=True"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script as a module; its parts are forgotten afterwards."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import compare_preprocessing

    yield compare_preprocessing
    for name in [name for name in sys.modules if name.partition(".")[0] in ("preprocessing", "compare_preprocessing")]:
        del sys.modules[name]


def read(folder: Path) -> Any:
    return json.loads((folder / "preprocessing.json").read_bytes())


def test_other_filters_and_turns_are_seen(compare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(tmp_path), *FEW, "--ways", "Pillow", "torch"])
    assert capsys.readouterr().out == (tmp_path / "preprocessing.md").read_text()
    found = read(tmp_path)
    ours, without_exif, plain, antialiased = (found["ways"][way] for way in ("ours: Python", *WITHOUT_FIRST))
    for group in ("plain 64", "plain 224", "enlarged 64", "grain 64", "turned 64"):
        assert ours[group]["worst"] == 0
        assert ours[group]["pictures"] == ours[group]["read"] == 2
        assert plain[group]["worst"] > 5 >= antialiased[group]["worst"]
    assert without_exif["plain 64"]["worst"] == 0
    assert without_exif["turned 64"]["worst"] > 100
    assert plain["plain 64"]["logit"] > 20 * antialiased["plain 64"]["logit"] > 0
    assert (ours["enlarged 64"]["logit"], ours["enlarged 64"]["top1"]) == (0, 0)
    assert without_exif["turned 64"]["top1"] > 0
    assert without_exif["turned 64"]["right"] < ours["turned 64"]["right"]
    assert found["left"] == []


def test_what_is_missing_is_named(compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    compare.main([str(tmp_path), *FEW, "--ways", "OpenCV"])
    assert set(read(tmp_path)["not_run"]) == {f"OpenCV INTER_{name}" for name in ("LINEAR", "AREA", "CUBIC")}
    assert "**Not run**, for want of OpenCV" in (tmp_path / "preprocessing.md").read_text()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('a'); print('b'); sys.exit(3)", "ended with 3 after the last of 2 pictures"),
        ("print('a'); print('b', flush=True); os.abort()", "ended with -6 after the last of 2 pictures"),
        ("print('a')", "ended after 1 of 2 pictures"),
        ("print('a'); print('b'); print('c')", "said more than 2 lines, one for each picture"),
    ],
    ids=["a bad end", "a crash", "too few", "too many"],
)
def test_a_program_must_say_its_lines_and_end_well(compare: Any, code: str, said: str) -> None:
    from preprocessing.programs import lines_of

    with pytest.raises(SystemExit, match=f"{said}$"):
        list(lines_of([sys.executable, "-c", f"import os, sys; {code}"], 2))
    assert list(lines_of([sys.executable, "-c", "print('a'); print('b')"], 2)) == ["a", "b"]  # the control


def test_the_page_shows_what_was_measured(compare: Any) -> None:
    measured = (ROOT / "docs/measurements/preprocessing/preprocessing.md").read_text()
    shown = (ROOT / "docs/platforms/preprocessing.md").read_text()
    for title in ("## In one table\n\n", "in our own ways\n\n"):
        part = measured.partition(title)[2].partition("\n\n")[0].strip()
        assert part.count("\n") > 5
        assert part in shown
    from preprocessing.page import ENLARGED
    from preprocessing.pictures import photographs

    assert ENLARGED in measured
    assert [f"{picture.width} x {picture.height}" in ENLARGED for _, picture in photographs()] == [True, False] * 2
    ways = read(ROOT / "docs/measurements/preprocessing")["ways"]
    ours = [way for way in ways if way.startswith("ours")]
    assert len(ours) == 4
    assert {ways[way][group]["worst"] for way in ours for group in ("plain 64", "plain 224", "grain 64", "turned 64")} == {0}


@pytest.mark.nightly
def test_everything_that_is_installed(tmp_path: Path) -> None:
    """The command itself, with compilers and a browser where they are."""
    command = [sys.executable, SCRIPTS / "compare_preprocessing.py", tmp_path, *FEW]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path)
    print(f"not run: {found['not_run']}")
    assert len(found["ways"]) + len(found["not_run"]) == 22
    assert not any(way.startswith("ours") for way in found["not_run"]) or not os.environ.get(REQUIRED)
    for way, groups in found["ways"].items():
        worst = max(groups[group]["worst"] for group in ("plain 64", "plain 224", "enlarged 64", "grain 64", "turned 64"))
        assert (worst == 0) == way.startswith("ours"), (way, worst)
    assert found["left"] == []
