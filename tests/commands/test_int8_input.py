"""What is wrong with calibrations, ranges and pictures to judge by: one line, exit code 2, and nothing is left."""

import json
import shutil
from pathlib import Path

import pytest

from edgevit_deploy.calibration.source import FEWEST_PICTURES
from edgevit_deploy.cli import run
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.pictures import gradient, save

INT8 = ("fake", "--model", "edgevit_xxs", "--image-size", "32", "--precision", "int8")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(FEWEST_PICTURES):
        save(folder / f"{index}.png", gradient(40 + index, 48))
    return folder


def refused(tokens: list[str], output: Path, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Expect exit code 2, one line with these words, and no bundle."""
    assert run([*tokens, "--output", str(output)]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert not output.exists() or not list(output.iterdir())


@pytest.mark.usefixtures("fake_target")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "add --calibration DIR"),
        (["--calibration", "synthetic", "--ranges", "x.json"], "drop one of the two"),
        (["--percentile", "99.9"], "add --calibration DIR, or drop it"),
        (["--calibration", "synthetic", "--percentile", "40"], "above 50 and below 100"),
        (["--calibration", "synthetic", "--percentile", "nan"], "above 50 and below 100"),
        (["--calibration", "synthetic", "--min-agreement", "0.9"], "add --judge DIR"),
        (["--calibration", "nowhere"], "--calibration nowhere: not a folder"),
        (["--calibration", "synthetic", "--judge", "nowhere"], "--judge nowhere: not a folder"),
        (["--ranges", "nowhere.json"], "cannot be read"),
        (["--calibration", "synthetic", "--graph", "original"], "use --graph deploy"),
        (["--calibration", "synthetic", "--image-size", "dynamic"], "use --image-size N"),
    ],
)
def test_flags_that_will_not_do(flags: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = [token for token in INT8 if "--image-size" not in flags or token not in ("--image-size", "32")]
    refused([*base, *flags], tmp_path / "out", words, capfd)


@pytest.mark.usefixtures("fake_target")
@pytest.mark.parametrize("flag", ["--calibration", "--judge"])
def test_flags_of_rounding_where_nothing_is_rounded(
    flag: str, many: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused([*FAKE_COMMAND, flag, str(many)], tmp_path / "out", "use --precision int8", capfd)


@pytest.mark.usefixtures("fake_target")
def test_folders_that_will_not_do(many: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    empty, one, broken = tmp_path / "empty", tmp_path / "one", tmp_path / "broken"
    empty.mkdir()
    one.mkdir()
    shutil.copy(many / "0.png", one)
    shutil.copytree(many, broken)
    (broken / "9.png").write_bytes((many / "0.png").read_bytes()[:80])
    output = tmp_path / "out"
    refused([*INT8, "--calibration", str(empty)], output, "--calibration", capfd)
    refused([*INT8, "--calibration", str(one)], output, f"1 pictures, expected {FEWEST_PICTURES} or more", capfd)
    refused([*INT8, "--calibration", str(broken)], output, "9.png", capfd)
    refused([*INT8, "--calibration", str(many), "--judge", str(many)], output, "0.png is among the calibration pictures", capfd)
    other = tmp_path / "other"
    other.mkdir()
    save(other / "new.png", gradient(30, 30))
    shutil.copy(many / "3.png", other / "renamed.png")
    refused([*INT8, "--calibration", str(many), "--judge", str(other)], output, "renamed.png is among", capfd)


@pytest.mark.usefixtures("fake_target")
def test_pictures_of_another_size_are_resized(many: Path, tmp_path: Path) -> None:
    """Pictures have the size that they have; every one goes through the network's own preprocessing."""
    assert run([*INT8, "--calibration", str(many), "--output", str(tmp_path / "out")]) == 0


@pytest.mark.usefixtures("fake_target")
def test_ranges_of_something_else(many: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*INT8, "--calibration", str(many), "--output", str(tmp_path / "first")]) == 0
    ranges, output = tmp_path / "first" / "fake-int8" / "calibration.json", tmp_path / "out"
    given = ["--ranges", str(ranges)]
    refused([*INT8, *given, "--seed", "1"], output, "other weights", capfd)
    refused([*INT8, *given, "--mean", "0.5,0.5,0.5"], output, "prepared in another way", capfd)
    refused([*INT8, *given, "--judge", str(many)], output, "is among the calibration pictures", capfd)
    form = tmp_path / "form.toml"
    form.write_text('norm = "mean"\nposition = "kept"\nmeasured = ""\n')
    refused([*INT8, *given, "--form", str(form)], output, "another form (here it has norm mean)", capfd)
    document = json.loads(ranges.read_bytes())
    document["ranges"]["head"]["input"]["high"] *= 2
    ranges.write_text(json.dumps(document))
    refused([*INT8, *given], output, "changed after it was written", capfd)
    assert run(["all", *INT8[1:], *given, "--output", str(output)]) == 2
    assert "--ranges are of one target's graph" in capfd.readouterr().err
