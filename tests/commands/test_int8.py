"""A quantised precision from the command line: pictures or ranges in, a bundle that proves its rounding and its decisions out."""

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy import api
from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, read_manifest
from edgevit_deploy.calibration.choice import CalibrationChoice, JudgeChoice
from edgevit_deploy.cli import run
from edgevit_deploy.data.preprocess import normalise
from tests.helpers.fakes import SMALL_COMMAND
from tests.helpers.pictures import gradient, save
from tests.helpers.trained import WEIGHTS, write_pictures

PER_CLASS = 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `val`, a few pictures a class each."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "train", "train", PER_CLASS)
    write_pictures(root / "val", "val", PER_CLASS)
    return root


@pytest.fixture
def command(fake_target: None, pictures: Path, tmp_path: Path) -> list[str]:
    """A conversion of the trained network to int8, calibrated on pictures of its own kind."""
    calibration = ["--calibration", str(pictures / "train")]
    return ["fake", "--weights", str(WEIGHTS), "--precision", "int8", *calibration, "--output", str(tmp_path / "out")]


@pytest.fixture
def small(fake_target: None, tmp_path: Path) -> list[str]:
    """A conversion of a random network at 32 x 32 to int8, calibrated on drawn pictures: a few seconds."""
    return [*SMALL_COMMAND, "--precision", "int8", "--calibration", "synthetic", "--output", str(tmp_path / "out")]


def said(bundle: Path) -> dict[str, Any]:
    """The manifest but for the bytes of the files: a trace records where in the code it was made, and differs from another."""
    document: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())
    del document["files"]
    return document


def test_a_bundle_that_was_judged(command: list[str], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokens = [*command, "--judge", str(pictures / "val"), "--min-agreement", "0.8", "--json"]
    assert run(tokens) == 0
    (row,) = json.loads(capfd.readouterr().out)["rows"]
    manifest = read_manifest(tmp_path / "out" / "fake-int8")
    assert manifest.verdict == row["status"] == "passed"
    assert manifest.decisions is not None
    assert manifest.decisions.pictures == 10 * PER_CLASS
    assert manifest.decisions.agreeing >= 10 * PER_CLASS - 2
    assert manifest.decisions.network_right is not None
    assert manifest.decisions.network_right >= 0.7 * 10 * PER_CLASS
    assert {diff.tolerance.measure for diff in manifest.parity.diffs} == {"rms"}
    assert row["agreement"] == f"{manifest.decisions.agreeing} of {manifest.decisions.pictures}"


def test_the_same_ranges_give_the_same_bundle(
    small: list[str], rounded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And without pictures to judge by, it says so everywhere."""
    at = small.index("--calibration")
    assert run([*small[:at], "--ranges", str(rounded / "calibration.json"), *small[at + 2 :]]) == 0
    assert "passed (arithmetic): decisions not judged" in " ".join(capfd.readouterr().err.split())
    again = tmp_path / "out" / "fake-int8"
    assert read_manifest(again).verdict == ARITHMETIC_ONLY
    assert ARITHMETIC_ONLY in (again / "README.md").read_text().lower()
    assert said(rounded) == said(again)
    for name in ("calibration.json", "golden/input.f32", "golden/output.f32", "README.md"):
        assert filecmp.cmp(rounded / name, again / name, shallow=False), name


def test_a_moved_bundle_verifies_without_pictures(rounded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    moved = shutil.copytree(rounded, tmp_path / "elsewhere")
    assert run(["verify", str(moved)]) == 0
    assert run(["verify", str(moved), "--seed", "0"]) == 0
    assert "passed" in capfd.readouterr().err


def test_decisions_that_are_not_good_enough_fail(
    small: list[str], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """40 pictures cannot show 98 %, however many of them agree; it is said how many could."""
    assert run([*small, "--judge", str(pictures / "val")]) == 1
    assert not (tmp_path / "out" / "fake-int8").exists()
    assert (tmp_path / "out" / "fake-int8.failed" / "manifest.json").is_file()
    assert "the lower end must reach 98.00%" in " ".join(capfd.readouterr().err.split())


@pytest.mark.nightly
def test_a_calibration_of_another_kind_is_another_verdict(fake_target: None, pictures: Path, tmp_path: Path) -> None:
    """Pictures that are normalised wrongly, here as dark as if divided by 255 twice, show ranges that clip everything.

    The same with good pictures passes: `test_a_bundle_that_was_judged`.
    """
    from PIL import Image

    dark = tmp_path / "dark"
    for path in (pictures / "train").rglob("*.png"):
        place = dark / path.relative_to(pictures / "train")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(Image.open(path)) // 255).astype(np.uint8)).save(place)
    conversion = api.convert(
        "fake",
        weights=WEIGHTS,
        precision="int8",
        calibration=CalibrationChoice(pictures=dark),
        judge=JudgeChoice(pictures=pictures / "val", min_agreement=0.8),
        output=tmp_path,
    )
    assert conversion.manifest.verdict == "failed"


@pytest.mark.parametrize("fault", ["scale doubled", "zero point off by one", "channels swapped", "left float", "seven bits"])
def test_a_file_that_rounds_otherwise_is_not_written(
    small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    assert run([*small, "--fault", fault]) == 1
    assert "does not round as it should" in capfd.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_each_operators_loss_is_kept_shown_and_drawn(rounded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = read_manifest(rounded)
    assert manifest.quantisation is not None
    losses = manifest.quantisation.sqnr_db
    assert len(losses) == 84
    worst = min(losses, key=lambda path: losses[path])
    whole = min(diff.sqnr_db for diff in manifest.parity.diffs if diff.sqnr_db is not None)
    assert losses[worst] > whole, "one operator loses less than all together"
    assert run(["verify", str(rounded), "--seed", "0", "--layers"]) == 0
    assert f"{worst} loses most" in " ".join(capfd.readouterr().err.split())
    assert run(["report", str(rounded), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert worst in page
    assert "Decisions were not judged" in page
    assert f">{ARITHMETIC_ONLY}<" in page


def test_weights_alone_need_no_pictures(fake_target: None, tmp_path: Path) -> None:
    conversion = api.convert("fake", model="edgevit_xxs", image_size=32, precision="w8", output=tmp_path)
    assert conversion.manifest.verdict == ARITHMETIC_ONLY
    assert conversion.manifest.quantisation is not None
    assert conversion.manifest.quantisation.calibration is None


@pytest.mark.nightly
def test_ranges_of_pictures_that_were_fed_wrongly_are_found(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """BGR for RGB gives other ranges; file and emulation share them, and only the pictures themselves can tell."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(8):
        save(photos / f"{index}.png", (gradient(40 + index, 48) // (1, 2, 4)).astype(np.uint8))
    tokens = [*SMALL_COMMAND, "--precision", "int8", "--calibration", str(photos)]
    assert run([*tokens, "--output", str(tmp_path / "good")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr("edgevit_deploy.calibration.source.normalise", lambda pixels, *rest: normalise(pixels[..., ::-1], *rest))
        assert run([*tokens, "--output", str(tmp_path / "bgr")]) == 0
    again = ["--seed", "0", "--calibration", str(photos)]
    assert run(["verify", str(tmp_path / "bgr" / "fake-int8")]) == 0
    assert run(["verify", str(tmp_path / "good" / "fake-int8"), *again]) == 0
    capfd.readouterr()
    assert run(["verify", str(tmp_path / "bgr" / "fake-int8"), *again]) == 1
    assert "have ranges that these pictures do not show" in capfd.readouterr().err
    (photos / "0.png").unlink()
    save(photos / "new.png", gradient(40, 40))
    assert run(["verify", str(tmp_path / "good" / "fake-int8"), *again]) == 2
    assert "not the 8 pictures" in capfd.readouterr().err
