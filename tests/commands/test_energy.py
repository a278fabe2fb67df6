"""`energy`: what it says, writes and refuses, by the command line."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.cli import run
from edgevit_deploy.commands.canvas import PNG_SCALE, Canvas
from tests.helpers.power_traces import Scene, averaged, scene

ErrorCheck = Callable[..., str]

RUNS = 8


def written(path: Path, given: Scene) -> Path:
    power_w = averaged(given, noise_w=0.05)
    rows = zip(np.arange(len(power_w)) / 5000, power_w, strict=True)
    path.write_text("Time (s),Main Avg Power (mW)\n" + "".join(f"{time:.4f},{1000 * power:.3f}\n" for time, power in rows))
    return path


@pytest.fixture(scope="module")
def given() -> Scene:
    return scene(95_000, runs=RUNS)


@pytest.fixture
def trace(given: Scene, tmp_path: Path) -> Path:
    return written(tmp_path / "phone.csv", given)


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    return written(tmp_path / "merged.csv", scene(95_001, runs=RUNS, joined=(3,)))


def energy(capfd: pytest.CaptureFixture[str], *tokens: object) -> tuple[dict[str, Any], str]:
    capfd.readouterr()
    assert run(["energy", *map(str, tokens), "--runs", str(RUNS), "--json"]) == 0
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


def test_the_record_and_the_words_agree(trace: Path, given: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    document, said = energy(capfd, trace, "--accuracy", "74.4", "--device", "a phone")
    found = document["energy"]
    assert found["device"] == "a phone"
    assert found["name"] == "phone"
    assert found["mean_mj"] == pytest.approx(given.mean_mj, rel=0.01)
    assert len(found["energies_mj"]) == found["used"] == found["runs"] == RUNS
    assert np.mean(found["energies_mj"]) == pytest.approx(found["mean_mj"])
    assert np.std(found["energies_mj"], ddof=1) == pytest.approx(found["std_mj"])
    low, high = found["interval_mj"]
    assert low < found["mean_mj"] < high
    assert document["top1_percent_per_mj"] == pytest.approx(74.4 / found["mean_mj"])
    assert f"{found['mean_mj']:.4g}" in said
    assert "74.40%" in said
    assert "Monsoon PowerTool" in said


def test_several_in_each_region(trace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    single, several = (energy(capfd, trace, *flags)[0]["energy"] for flags in ((), ("--per-region", "5")))
    assert several["mean_mj"] == pytest.approx(single["mean_mj"] / 5)
    assert several["mean_ms"] == pytest.approx(single["mean_ms"] / 5)
    assert several["mean_w"] == pytest.approx(single["mean_w"])
    assert several["per_region"] == 5


def test_files_are_written_together(trace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document, _ = energy(capfd, trace, "--output", tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["energy.json", "energy.md", "energy.png", "energy.svg"]
    assert json.loads((out / "energy.json").read_text()) == document
    assert "energy.svg" in (out / "energy.md").read_text()
    picture, drawn = Image.open(out / "energy.png"), ElementTree.parse(out / "energy.svg").getroot()
    assert picture.size == (PNG_SCALE * int(drawn.attrib["width"]), PNG_SCALE * int(drawn.attrib["height"]))
    assert len(np.unique(np.asarray(picture.convert("L")))) > 4
    shaded = [shape for shape in drawn if shape.get("fill") == "#d3efdd"]
    assert len(shaded) == RUNS + 3 + 1  # the whole trace, three from close by, the legend


def test_another_number_of_inferences_is_refused_with_a_picture(merged: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    message = expect_error(2, "energy", merged, "--runs", RUNS, "--output", tmp_path / "out")
    assert re.search(rf"{RUNS - 1} inferences .* 2\.0 times as long as usual.*--runs says {RUNS}", message)
    assert str(tmp_path / "out" / "energy.png") in message
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["energy.png", "energy.svg"]
    assert "refused" in (tmp_path / "out" / "energy.svg").read_text()


def test_a_refused_trace_leaves_no_record_of_an_earlier_one(
    trace: Path, merged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], expect_error: ErrorCheck
) -> None:
    out = tmp_path / "out"
    energy(capfd, trace, "--output", out)
    (out / "other.txt").write_text("the user's own")
    assert (out / "energy.json").is_file()
    expect_error(2, "energy", merged, "--runs", RUNS, "--output", out)
    assert sorted(path.name for path in out.iterdir()) == ["energy.png", "energy.svg", "other.txt"]
    assert "refused" in (out / "energy.svg").read_text()


def test_an_earlier_record_that_cannot_be_removed_is_said(merged: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    (tmp_path / "out" / "energy.json").mkdir(parents=True)
    assert "cannot be removed" in expect_error(2, "energy", merged, "--runs", RUNS, "--output", tmp_path / "out")


def test_without_a_place_for_the_picture_the_error_names_the_flag(merged: Path, expect_error: ErrorCheck) -> None:
    assert "--output DIR draws" in expect_error(2, "energy", merged, "--runs", RUNS)


class TestAccuracyOfABundle:
    def test_is_taken_from_its_record(self, trace: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        from edgevit_deploy.bundle.manifest import read_manifest
        from edgevit_deploy.measure.accuracy.identity import identity_of
        from edgevit_deploy.measure.accuracy.record import RECORD_VERSION, EvaluationRecord, write_record
        from edgevit_deploy.measure.accuracy.result import Accuracy, DataRecord, Share

        identity = identity_of(read_manifest(fake_bundle))
        data = DataRecord(name="a/val", digest="", pictures=200, used=200, broken=0, seed=None, classes=("a", "b"))
        accuracy = Accuracy(top1=Share(count=150, of=200), top5=None, calibration_error=None, not_finite=0, confusion=())
        record = EvaluationRecord(
            version=RECORD_VERSION, identity=identity, data=data, runtime="fake", tools={}, accuracy=accuracy
        )
        write_record(fake_bundle, record)
        document, said = energy(capfd, trace, "--bundle", fake_bundle)
        assert document["energy"]["name"] == fake_bundle.name
        assert document["energy"]["bundle"] == identity
        assert document["top1"]["share"] == 0.75
        low, high = document["top1_percent_per_mj_interval"]
        ratio = document["top1_percent_per_mj"]
        assert low < ratio < high
        own = Share(count=150, of=200).interval
        assert (high - low) / ratio >= (own[1] - own[0]) / 0.75
        assert "200 pictures of a/val" in said

    def test_is_not_asked_for_of_bundles_that_have_none(
        self, trace: Path, fake_target: None, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from tests.commands.test_evaluate_demanded import segmenter_bundle

        _, said = energy(capfd, trace, "--bundle", segmenter_bundle())
        assert "--record" not in said, "which such a bundle refuses"

    def test_is_asked_for_where_there_is_none(self, trace: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        document, said = energy(capfd, trace, "--bundle", fake_bundle)
        assert document["top1"] is None
        assert "evaluate" in said
        assert "--record" in said


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (("--runs", "2"), "--runs 2"),
        (("--runs", "20000"), "--runs 20000"),
        (("--per-region", "0"), "--per-region 0"),
        (("--accuracy", "0"), "--accuracy 0"),
        (("--accuracy", "nan"), "--accuracy nan"),
        (("--pause-ms", "0"), "--pause-ms"),
        (("--max-error", "1.5"), "--max-error"),
        (("--start", "nan"), "--start"),
        (("--start", "1000"), "--start and --end leave"),
        (("--volts", "4"), "means nothing"),
        (("--format", "joulescope"), "no header"),
        (("--format", "monsoon-api"), "no column 'Time(ms)'"),
    ],
)
def test_what_means_nothing_is_refused(tokens: tuple[str, ...], says: str, trace: Path, expect_error: ErrorCheck) -> None:
    assert says in expect_error(2, "energy", trace, *tokens)


def test_a_file_in_place_of_a_folder_is_refused_first(trace: Path, expect_error: ErrorCheck) -> None:
    assert "is a file" in expect_error(2, "energy", trace, "--output", trace)


def test_a_bundle_is_no_place_for_what_is_said_of_it(trace: Path, fake_bundle: Path, expect_error: ErrorCheck) -> None:
    said = expect_error(2, "energy", trace, "--bundle", fake_bundle, "--output", fake_bundle)
    assert "would then no longer verify; put it beside" in said
    assert not (fake_bundle / "energy.json").exists()


def test_a_picture_shows_text_as_text() -> None:
    canvas = Canvas(width=60, height=20, label="<a>")
    canvas.words(2, 14, "<b> & c")
    canvas.path([(0, 0), (60, 20)], "#ff0000", 2)
    root = ElementTree.fromstring(canvas.svg())
    assert root.attrib["aria-label"] == "<a>"
    assert [shape.text for shape in root if shape.tag.endswith("text")] == ["<b> & c"]
    assert Image.open(BytesIO(canvas.png())).getpixel((60, 20)) == (255, 0, 0)
