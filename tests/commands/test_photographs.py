"""`--images` of a conversion: some photographs join the probes, all are read before the export and run to top-5 after it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy import api
from edgevit_deploy.cli import run
from edgevit_deploy.commands.pictures import SHOWN, show_top5
from edgevit_deploy.data.pictures import PictureFolder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.noisiest import KEPT
from edgevit_deploy.workbench import MAX_PHOTOGRAPHS
from tests.helpers.fakes import FAKE_COMMAND, FakeExporter
from tests.helpers.pictures import gradient, save

ErrorCheck = Callable[..., str]
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
    folder = PictureFolder(paths=tuple(Path(f"{index:05}.jpg") for index in range(count)))
    places = [folder.paths.index(path) for path in folder.spread(32)]
    assert len(places) == min(count, 32)
    assert places == sorted(set(places))
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
    assert f"{MANY - SHOWN} more pictures are in --json\n" in captured.err
    lines = captured.err.splitlines()
    assert sum(line.strip().endswith(".png") for line in lines) == SHOWN, "one title of a table each"
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


@pytest.mark.parametrize("bad", [0, 1, MANY - 1], ids=["joins", "does not join", "last"])
@pytest.mark.parametrize("command", [FAKE_COMMAND, ("all", *FAKE_COMMAND[1:])], ids=["one", "all"])
def test_one_bad_picture_of_many_stops_a_conversion_before_the_export(
    only_fake: None,
    many: Path,
    tmp_path: Path,
    expect_error: ErrorCheck,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    bad: int,
) -> None:
    exported: list[object] = []
    monkeypatch.setattr(FakeExporter, "export", lambda *arguments: exported.append(arguments))
    path = many / f"{bad:02}.png"
    path.write_bytes(path.read_bytes()[:-60])
    message = expect_error(2, *command, "--images", many, "--output", tmp_path / "out")
    assert f"{path}: damaged, cannot be read as a picture" in message
    assert exported == []
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


def test_pictures_beyond_the_tables_are_summed_up(capfd: pytest.CaptureFixture[str]) -> None:
    names = [f"{index:02}.png" for index in range(SHOWN + 5)]
    ranking = [("cat", 5.0), ("dog", 4.0), ("bee", 3.0), ("ant", 2.5), ("fox", 2.0)]
    other = {name: ranking[::-1] if name == names[-1] else ranking for name in names}
    show_top5({"a": dict.fromkeys(names, ranking), "b": other})
    said = capfd.readouterr().err
    assert f"{names[SHOWN - 1]}: the same top-5 in 2 bundles" in said
    assert names[SHOWN] not in said
    assert "5 more pictures are in --json; 4 of them have the same top-5 in 2 bundles\n" in said
    show_top5({"a": dict.fromkeys(names[:SHOWN], ranking)})
    assert "more pictures" not in capfd.readouterr().err
