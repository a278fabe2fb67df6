"""`evaluate` and bad input: one line, the right exit code, nothing half-written."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import edgevit_deploy
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from tests.helpers import trained
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.evaluation import pictures, write_labels

ErrorCheck = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of some pictures, for one test."""
    return Path(shutil.copytree(pictures(1), tmp_path / "val"))


def test_a_broken_picture_is_counted_and_named(classifier: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (data / "coat" / "broken.png").write_bytes(next((data / "bag").iterdir()).read_bytes()[:60])
    (data / "coat" / "notes.txt").write_text("no picture")
    (data / ".hidden").write_text("")
    tokens = ["evaluate", str(classifier), "--data", str(data), "--weights", str(trained.WEIGHTS), "--json", "--record"]
    assert run(tokens) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert sorted(item["file"] for item in document["broken"]) == ["coat/broken.png", "coat/notes.txt"]
    assert [item["file"] for item in document["passed_over"]] == [".hidden"]
    assert [row["accuracy"]["top1"]["of"] for row in document["rows"]] == [10, 10]
    assert document["rows"][1]["pairing"]["pictures"] == 10
    assert "2 pictures cannot be decoded and are in no figure: coat/broken.png (damaged" in captured.err
    assert "1 file passed over: .hidden (hidden)" in captured.err
    assert (document["data"]["used"], document["data"]["broken"]) == (12, 2)
    counted = "10 pictures of {}, without 2 that cannot be decoded"
    assert counted.format(f"{data.parent.name}/val in 10 classes") in captured.err
    assert run(["inspect", str(classifier), "--json"]) == 0
    assert counted.format(f"{data.parent.name}/val") in json.loads(capfd.readouterr().out)["accuracy"]
    assert run(["report", str(classifier), "--output", str(data.parent / "page.html")]) == 0
    assert counted.format(f"{data.parent.name}/val") in (data.parent / "page.html").read_text()


@pytest.mark.parametrize("name", [".hidden", "coat/broken.png"])
def test_strict_refuses_what_is_no_good_picture(
    classifier: Path, data: Path, expect_error: ErrorCheck, name: str, tmp_path: Path
) -> None:
    (data / name).write_text("no picture")
    output = tmp_path / "kept"
    error = expect_error(2, "evaluate", classifier, "--data", data, "--strict", "--output", output)
    assert "--strict" in error
    assert name in error
    assert not list(output.rglob("*.html"))


def test_pictures_that_are_all_broken(classifier: Path, data: Path, expect_error: ErrorCheck) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    assert "none of the pictures of" in expect_error(2, "evaluate", classifier, "--data", data)


def test_classes_that_are_not_the_bundles(classifier: Path, data: Path, expect_error: ErrorCheck) -> None:
    (data / "coat").rename(data / "jacket")
    error = expect_error(2, "evaluate", classifier, "--data", data)
    assert "without 'coat' and with 'jacket', not among them" in error
    shutil.rmtree(data / "jacket")
    assert "without 'coat'" in expect_error(2, "evaluate", classifier, "--data", data)
    (data / "coat").mkdir()
    assert "no picture of class 'coat'" in expect_error(2, "evaluate", classifier, "--data", data)
    for folder in data.iterdir():
        shutil.rmtree(folder)
    assert "no subfolder in it" in expect_error(2, "evaluate", classifier, "--data", data)


def test_a_table_that_contradicts_itself(classifier: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (32, 32)).save(flat / "1.png")
    (flat / "labels.csv").write_text("file,label\n1.png,coat\n1.png,bag\n")
    assert "line 3 says that 1.png is 'bag', an earlier one 'coat'" in expect_error(2, "evaluate", classifier, "--data", flat)


def test_placeholders_are_no_names(fake_bundle: Path, data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    """A bundle of random weights without labels: 10 classes, whose names only --labels can give."""
    assert "with --labels FILE" in expect_error(2, "evaluate", fake_bundle, "--data", data)
    labels = write_labels(tmp_path / "labels.txt")
    assert run(["evaluate", str(fake_bundle), "--data", str(data), "--labels", str(labels)]) == 0
    write_labels(labels, ("bag", *trained.LABELS[1:]))
    assert "names two classes 'bag'" in expect_error(2, "evaluate", fake_bundle, "--data", data, "--labels", labels)
    write_labels(labels, trained.LABELS[1:])
    assert "has 9 lines but the model has 10 classes" in expect_error(
        2, "evaluate", fake_bundle, "--data", data, "--labels", labels
    )


def test_weights_that_are_not_the_bundles(classifier: Path, fake_bundle: Path, data: Path, expect_error: ErrorCheck) -> None:
    error = expect_error(2, "evaluate", classifier, fake_bundle, "--data", data, "--weights", trained.WEIGHTS)
    assert str(fake_bundle) in error
    assert "not the bundle's weights" in error


def test_what_cannot_be_evaluated_is_refused_by_name(
    classifier: Path, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert "given twice" in expect_error(2, "evaluate", classifier, classifier, "--data", data)
    other = Path(shutil.copytree(classifier, tmp_path / "other"))
    write_labels(other / "labels.txt", ("jacket", *trained.LABELS[1:]))
    rehash(other)
    assert f"{other} has its classes by other names" in expect_error(2, "evaluate", classifier, other, "--data", data)
    (other / "model.fake").write_bytes(b"something else")
    assert "changed since it was written" in expect_error(1, "evaluate", other, "--data", data)
    edit_manifest(classifier, lambda document: document["conversion"].update(returns="features"))
    assert "returns features, so it has no accuracy" in expect_error(2, "evaluate", classifier, "--data", data)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--min-agreement", "0.99"), "--min-agreement compares with the network; add --weights FILE"),
        (("--max-drop", "0.01"), "--max-drop compares with the network; add --weights FILE"),
        (("--max-drop", "1.5"), "--max-drop 1.5: a share between 0 and 1"),
        (("--min-agreement", "nan"), "--min-agreement nan: a share between 0 and 1"),
        (("--reference", "fp64"), "--reference fp64 is of the network, which is not run; add --weights FILE"),
        (("--preprocess", "bundle"), "--preprocess bundle is of the network, which is not run; add --weights FILE"),
        (("--limit", "0"), "--limit 0: expected 1 picture or more"),
        (("--seed", "-1"), "--seed -1: a seed is 0 or larger"),
        (("--batch", "0"), "--batch 0: expected 1 to"),
        (("--workers", "-1"), "--workers -1: expected 0 to"),
        (("--threads", "0"), "--threads 0: this process may use"),
        (("--labels", "nowhere.txt"), "--labels nowhere.txt: cannot be read"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_flags_that_mean_nothing(
    classifier: Path, data: Path, expect_error: ErrorCheck, flags: tuple[str, ...], text: str
) -> None:
    assert text in expect_error(2, "evaluate", classifier, "--data", data, *flags)


def test_no_folder_of_pictures(classifier: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "not a folder" in expect_error(2, "evaluate", classifier, "--data", tmp_path / "nowhere")


def test_no_bundle(data: Path) -> None:
    with pytest.raises(UsageError, match="no bundle is named"):
        edgevit_deploy.evaluate(data=data)


@pytest.mark.parametrize("kept", [True, False])
def test_a_full_disk_is_told_as_what_it_is(
    classifier: Path, data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    flags = ("--output", tmp_path / "kept") if kept else ()
    said = expect_error(2, "evaluate", classifier, "--data", data, *flags)
    assert "cannot be written (No space left on device)" in said
    assert said.endswith("; keep it with --output DIR") != kept
    assert (f"--output: {tmp_path / 'kept'}" in said) == kept


def test_output_in_what_is_read_is_refused(classifier: Path, data: Path, expect_error: ErrorCheck) -> None:
    """Shards in a bundle would break it, and in the pictures they would be a class."""
    for place in (classifier / "shards", data, data / "shards"):
        assert "put it beside" in expect_error(2, "evaluate", classifier, "--data", data, "--output", place)
    assert not (data / "shards").exists()
    assert run(["verify", str(classifier)]) == 0
