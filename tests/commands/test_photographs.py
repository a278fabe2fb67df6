"""`--images` of a conversion: some photographs join the probes, all are read before the export and run to top-5 after it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy import api
from edgevit_deploy.cli import run
from edgevit_deploy.commands.pictures import IN_FULL, WORST, show_top5
from edgevit_deploy.data.photographs import PictureFolder, crop_note, find_pictures
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.noisiest import KEPT
from edgevit_deploy.spec import Preprocess, imagenet_preprocess
from edgevit_deploy.workbench import MAX_PHOTOGRAPHS
from tests.helpers.fakes import FAKE_COMMAND, FakeExporter
from tests.helpers.pictures import gradient, save

ErrorCheck = Callable[..., str]

CROP_AND_STRETCH = "--crop-ratio 1 --resize-mode stretch"
MANY = MAX_PHOTOGRAPHS + 8


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(MANY):
        save(folder / f"{index:02}.png", np.roll(gradient(40, 48), index, axis=0))
    return folder


@pytest.mark.parametrize("count", [1, 31, 32, 33, 40, 600, 10_000])
def test_the_photographs_that_join_are_spread_evenly(count: int) -> None:
    places = PictureFolder(names=tuple(f"{index:05}.jpg" for index in range(count))).spread(32)
    assert len(places) == min(count, 32)
    assert list(places) == sorted(set(places))
    gaps = {after - before for before, after in zip(places, [*places[1:], count], strict=True)}
    assert max(gaps) - min(gaps) <= 1


def test_some_join_the_probes_and_all_are_run(
    fake_target: None, many: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (many / "notes.txt").write_text("forty pictures")
    tokens = [*FAKE_COMMAND, "--images", str(many), "--output", str(tmp_path / "out")]
    assert run([*tokens, "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    said = f"{MAX_PHOTOGRAPHS} of {MANY} photographs join the parity probes; all are run to top-5"
    assert said in document["notes"]
    assert f"note: {said}\n" in captured.err
    assert "1 file passed over: notes.txt (no picture)\n" in captured.err
    assert document["passed_over"] == [{"file": "notes.txt", "why": "no picture"}]
    (top5,) = document["top5"].values()
    assert len(top5) == MANY
    assert f"{MANY - WORST} more pictures are in --json\n" in captured.err
    lines = captured.err.splitlines()
    assert sum(".png" in line for line in lines) == WORST, "one line each"
    read, exported = (next(i for i, line in enumerate(lines) if text in line) for text in ("reading the photo", "exporting"))
    assert read < exported
    parity = json.loads((tmp_path / "out" / "fake-fp32" / "manifest.json").read_text())["parity"]
    assert [diff["probes"] for diff in parity["diffs"]] == [8 + MAX_PHOTOGRAPHS, KEPT]


def test_a_few_photographs_all_join_and_nothing_is_noted(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos" / "a.png", gradient())
    conversion = api.convert(
        "fake", model="edgevit_xxs", image_size=32, num_classes=10, images=tmp_path / "photos", output=tmp_path / "out"
    )
    assert [diff.probes for diff in conversion.report.diffs] == [9, KEPT]
    assert conversion.photographs.paths == (tmp_path / "photos" / "a.png",)
    assert conversion.photographs.passed_over == ()
    assert run([*FAKE_COMMAND, "--images", str(tmp_path / "photos"), "--output", str(tmp_path / "out")]) == 0
    said = capfd.readouterr().err
    assert "join the parity probes" not in said
    assert "passed over" not in said


@pytest.fixture
def damaged(many: Path, request: pytest.FixtureRequest) -> Path:
    path = many / f"{request.param:02}.png"
    path.write_bytes(path.read_bytes()[:-60])
    return path


@pytest.mark.parametrize(
    ("damaged", "command"),
    [(0, FAKE_COMMAND), (MANY - 1, ("all", *FAKE_COMMAND[1:]))],
    ids=["joins, one", "last, all"],
    indirect=["damaged"],
)
def test_one_damaged_picture_of_many_is_counted_and_named(
    only_fake: None, damaged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert run([*command, "--images", str(damaged.parent), "--output", str(tmp_path / "out"), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (passed_over,) = document["passed_over"]
    assert passed_over["file"] == damaged.name
    assert passed_over["why"].startswith("damaged, cannot be read as a picture")
    assert f"1 file passed over: {damaged.name} (damaged" in captured.err
    (top5,) = document["top5"].values()
    assert set(top5) == {f"{index:02}.png" for index in range(MANY)} - {damaged.name}
    parity = json.loads((tmp_path / "out" / "fake-fp32" / "manifest.json").read_text())["parity"]
    assert {diff["probes"] for diff in parity["diffs"]} == {8 + MAX_PHOTOGRAPHS, KEPT}, "another picture joins in its place"


@pytest.mark.parametrize("damaged", [0, 1, MANY - 1], ids=["joins", "does not join", "last"], indirect=True)
@pytest.mark.parametrize("command", [FAKE_COMMAND, ("all", *FAKE_COMMAND[1:])], ids=["one", "all"])
def test_strict_stops_a_conversion_before_the_export(
    only_fake: None,
    damaged: Path,
    tmp_path: Path,
    expect_error: ErrorCheck,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    exported: list[object] = []
    monkeypatch.setattr(FakeExporter, "export", lambda *arguments: exported.append(arguments))
    message = expect_error(2, *command, "--images", damaged.parent, "--strict", "--output", tmp_path / "out")
    assert f"--strict: 1 file of {damaged.parent} would be passed over: {damaged.name} (damaged" in message
    assert exported == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["._a.png", "notes.txt", "deeper"])
def test_strict_refuses_what_is_no_picture(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a.png", gradient())
    assert find_pictures(tmp_path, strict=True).names == ("a.png",)
    (tmp_path / name).mkdir() if name == "deeper" else (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(UsageError, match=rf"--strict: 1 file of .* would be passed over: {name} \("):
        find_pictures(tmp_path, strict=True)
    assert [item.file for item in find_pictures(tmp_path).passed_over] == [name]


@pytest.mark.parametrize("command", [FAKE_COMMAND, ("all", *FAKE_COMMAND[1:])], ids=["one", "all"])
def test_strict_without_a_folder_is_refused(
    only_fake: None, tmp_path: Path, expect_error: ErrorCheck, command: tuple[str, ...]
) -> None:
    """It would be strict about nothing, where someone has forgotten the folder."""
    message = expect_error(2, *command, "--strict", "--output", tmp_path / "out")
    assert "--strict is about the pictures of --images, which are not given; add --images DIR, or drop --strict" in message
    assert not (tmp_path / "out").exists()


def test_strict_verification_without_a_folder_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    assert "add --images DIR" in expect_error(2, "verify", fake_bundle, "--strict")
    assert run(["verify", str(fake_bundle)]) == 0, "the control"
    for call in (lambda: api.verify(fake_bundle, strict=True), lambda: api.convert_all(model="edgevit_xxs", strict=True)):
        with pytest.raises(UsageError, match="add --images DIR"):
            call()


def test_a_folder_without_a_readable_picture_is_refused(
    fake_target: None, many: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    for path in many.iterdir():
        path.write_bytes(path.read_bytes()[:-60])
    message = expect_error(2, *FAKE_COMMAND, "--images", many, "--output", tmp_path / "out")
    assert "no picture in it, only 00.png (damaged, cannot be read" in message
    assert f"and {MANY - 5} more" in message
    assert not (tmp_path / "out").exists()


def test_the_exporter_is_reached_without_a_bad_picture(
    fake_target: None, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above."""

    def export(*_: object) -> None:
        raise UsageError("reached")

    monkeypatch.setattr(FakeExporter, "export", export)
    with pytest.raises(UsageError, match="reached"):
        api.convert("fake", model="edgevit_xxs", image_size=32, num_classes=10, images=many, output=tmp_path / "out")


RANKING = [("cat", 5.0), ("dog", 4.0), ("bee", 3.0), ("ant", 2.5), ("fox", 2.0)]
NAMES = tuple(f"cat/{index:02}.png" for index in range(50))


def ranking(*first: str, margin: float = 1.0) -> list[tuple[str, float]]:
    """Return a top-5 with some classes first, the first of them that far ahead."""
    order = [*first, *(name for name, _ in RANKING if name not in first)]
    return [(order[0], 4 + margin), *zip(order[1:], (4.0, 3.0, 2.5, 2.0), strict=True)]


def shown(
    results: dict[str, dict[str, list[tuple[str, float]]]], folder: PictureFolder, capfd: pytest.CaptureFixture[str]
) -> str:
    capfd.readouterr()
    show_top5(results, folder, dict.fromkeys(results))
    return capfd.readouterr().err


def test_up_to_three_pictures_are_shown_in_full(capfd: pytest.CaptureFixture[str]) -> None:
    names = NAMES[:IN_FULL]
    said = shown({"a": dict.fromkeys(names, RANKING), "b": dict.fromkeys(names, RANKING)}, PictureFolder(names=names), capfd)
    assert said.count("the same top-5 in 2 bundles") == IN_FULL
    assert said.count("fox") == 2 * IN_FULL


def test_of_many_pictures_the_ones_to_look_at_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    first = {name: ranking("cat", margin=1 + index / 100) for index, name in enumerate(NAMES)}
    first[NAMES[40]] = ranking("dog")
    first[NAMES[45]] = ranking("cat", margin=0.125)
    second = {**first, NAMES[30]: ranking("bee")}
    folder = PictureFolder(names=NAMES, labels=("cat",) * len(NAMES))
    said = shown({"out/a-fp32": first, "out/b-fp16": second}, folder, capfd)
    assert "49 of 50 pictures have the same first class in all 2 bundles\n" in said
    rows = [line for line in said.splitlines() if ".png" in line]
    assert len(rows) == WORST
    order = [next(name for name in NAMES if name in row) for row in rows]
    assert order[:5] == [NAMES[30], NAMES[40], NAMES[45], NAMES[0], NAMES[1]]
    assert "cat (a-fp32), bee (b-fp16)" in rows[0]
    assert "dog" in rows[1]
    assert "0.12" in rows[2]
    assert f"{50 - WORST} more pictures are in --json\n" in said


def test_ten_thousand_pictures_print_a_screen(capfd: pytest.CaptureFixture[str]) -> None:
    names = tuple(f"{index:05}.png" for index in range(10_000))
    results = {bundle: {name: ranking("dog") for name in names} for bundle in "abc"}
    assert len(shown(results, PictureFolder(names=names), capfd).splitlines()) < 25


def test_small_pictures_that_the_crop_cuts_are_said(only_fake: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By hand: 28 to 36 to 32 is 32 / 36 of each side; at 64 pixels it would be 28 to 73 to 64, that is 88%."""
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos" / "a.png", gradient(28, 28))
    tokens = [*FAKE_COMMAND, "--images", str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    note = "note: pictures of 28 x 28 are enlarged to 36 x 36 and the crop shows 32 x 32 of them, 89% of each side"
    verify = ["verify", str(tmp_path / "out" / "fake-fp32"), "--images", str(tmp_path / "photos")]
    for command in (tokens, ["all", *tokens[1:]], verify):
        capfd.readouterr()
        assert run(command) == 0
        assert capfd.readouterr().err.count(note) == 1


def test_without_a_crop_or_with_larger_pictures_nothing_is_said(tmp_path: Path) -> None:
    save(tmp_path / "a.png", gradient(28, 28))
    small = find_pictures(tmp_path)
    assert crop_note(small, imagenet_preprocess((32, 32))).startswith("pictures of 28 x 28 are enlarged to 36 x 36")
    assert crop_note(small, imagenet_preprocess((64, 64))).endswith(
        "64 x 64 of them, 88% of each side; a conversion with --crop-ratio 1 shows all"
    )
    assert crop_note(small, Preprocess(resize=(64, 64), crop=(64, 64))) == ""
    save(tmp_path / "a.png", gradient(28, 14))
    assert crop_note(small, Preprocess(resize=(64, 64), crop=(64, 64), fit="letterbox")) == ""
    assert crop_note(small, Preprocess(resize=(64, 64), crop=(64, 64))) != "", "the control"
    save(tmp_path / "a.png", gradient(36, 36))
    assert crop_note(small, imagenet_preprocess((32, 32))) == ""


@pytest.mark.parametrize(
    ("size", "preprocess", "shares", "flags"),
    [
        ((28, 48), imagenet_preprocess((64, 64)), "88% of the height and 51% of the width", CROP_AND_STRETCH),
        ((48, 28), imagenet_preprocess((64, 64)), "51% of the height and 88% of the width", CROP_AND_STRETCH),
        ((28, 48), Preprocess(resize=(64, 64), crop=(64, 64)), "100% of the height and 59% of the width", CROP_AND_STRETCH),
        ((28, 48), Preprocess(resize=(73, 73), crop=(64, 64), fit="stretch"), "88% of each side", "--crop-ratio 1"),
        ((32, 48), imagenet_preprocess((64, 96)), "88% of each side", "--crop-ratio 1"),
    ],
)
def test_what_the_crop_shows_of_a_picture_that_is_not_square(
    size: tuple[int, int], preprocess: Preprocess, shares: str, flags: str, tmp_path: Path
) -> None:
    """And the flags that are named do show all of it."""
    save(tmp_path / "a.png", gradient(*size))
    folder = find_pictures(tmp_path)
    note = crop_note(folder, preprocess)
    assert f"of them, {shares}; a conversion with {flags} shows all" in note
    stretched = "stretch" if "stretch" in flags else preprocess.fit
    assert crop_note(folder, replace(preprocess, resize=preprocess.crop, fit=stretched)) == ""
