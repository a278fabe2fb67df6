"""Photographs through bundles: a batch at a time, told now and then, and what is no photograph is named."""

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevit_deploy import api
from edgevit_deploy.cli import run
from edgevit_deploy.data.counting import PAUSE_S, now_and_then
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.verification import pictures as verification_pictures
from tests.helpers.bundles import edit_manifest
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.pictures import gradient, save
from tests.helpers.trained import WEIGHTS, write_pictures

ErrorCheck = Callable[..., str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven pictures, each of its own colours."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(7):
        save(folder / f"{index}.png", np.roll(gradient(48, 64), 9 * index, axis=1))
    return folder


@pytest.fixture
def bundle_of_three(fake_target: None, tmp_path: Path) -> Path:
    """A bundle whose file takes three images a run."""
    assert run([*FAKE_COMMAND, "--batch", "3", "--output", str(tmp_path / "three")]) == 0
    return tmp_path / "three" / "fake-fp32"


def decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every batch of inputs say how many pictures it has, with those of earlier batches that are still held."""
    counts: list[int] = []
    held: list[tuple[weakref.ref[Any], int]] = []

    def note(pixels: Any, *rest: Any) -> Any:
        counts.append(len(pixels) + sum(count for array, count in held if array() is not None))
        inputs = normalise(pixels, *rest)
        held.append((weakref.ref(inputs), len(pixels)))
        return inputs

    monkeypatch.setattr(verification_pictures, "normalise", note)
    return counts


def test_one_batch_at_a_time_is_decoded(bundle_of_three: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = decoded_at_once(monkeypatch)
    top5 = api.verify(bundle_of_three, images=photos).top5
    assert [count % 3 for count in counts] == [0, 0, 1]
    assert max(counts) <= 6, "the one before may live as long as the next is made"
    assert top5 is not None
    assert list(top5) == [f"{index}.png" for index in range(7)]


def test_inputs_that_are_kept_are_seen(bundle_of_three: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above: whoever holds what was read is found out."""
    kept: list[Any] = []
    run_in_batches = verification_pictures.run_in_batches

    def run_and_keep(session: Any, inputs: Any, batch: int) -> Any:
        kept.append(inputs)
        return run_in_batches(session, inputs, batch)

    monkeypatch.setattr(verification_pictures, "run_in_batches", run_and_keep)
    counts = decoded_at_once(monkeypatch)
    api.verify(bundle_of_three, images=photos)
    assert counts == [3, 6, 7]


def test_a_picture_has_one_answer_whatever_shares_its_batch(bundle_of_three: Path, photos: Path, tmp_path: Path) -> None:
    together = api.verify(bundle_of_three, images=photos).top5
    assert together is not None
    assert len({tuple(ranking) for ranking in together.values()}) == 7, "the control: seven pictures have seven answers"
    alone = tmp_path / "alone"
    alone.mkdir()
    for name, ranking in together.items():
        path = (photos / name).rename(alone / name)
        assert api.verify(bundle_of_three, images=alone).top5 == {name: ranking}
        path.unlink()


def test_counts_are_told_at_most_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("edgevit_deploy.data.counting.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    said: list[str] = []
    tell = now_and_then(said.append)
    for count in range(600):
        tell(str(count))
        now_s[0] += 1 / 64
    assert said[:3] == ["0", "32", "64"]
    assert len(said) == np.ceil(600 / (64 * PAUSE_S))


def test_progress_says_how_many_there_are(fake_bundle: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(fake_bundle), "--images", str(photos)]) == 0
    assert "running the pictures: 0 of 7" in capfd.readouterr().err


def test_what_is_passed_over_is_said_and_returned(fake_bundle: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (photos / "._0.png").write_bytes(b"\0\5\26\7")
    (photos / "notes.txt").write_text("seven pictures")
    assert run(["verify", str(fake_bundle), str(fake_bundle), "--images", str(photos), "--json"]) == 0
    captured = capfd.readouterr()
    assert captured.err.count("2 files passed over: ._0.png (hidden), notes.txt (no picture)\n") == 1
    for result in json.loads(captured.out):
        assert result["passed_over"] == [{"file": "._0.png", "why": "hidden"}, {"file": "notes.txt", "why": "no picture"}]
        assert len(result["top5"]) == 7
    assert [item.file for item in api.verify(fake_bundle, images=photos).passed_over] == ["._0.png", "notes.txt"]
    assert run(["verify", str(fake_bundle), "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)[0]["passed_over"] == []
    assert "passed over" not in captured.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "no picture in it, only a.jpg (no picture)"),
        (b"P6 60000 60000 255\n", "no picture in it, only a.jpg (more than 268435456 pixels"),
        (b"P6 48 48 255\n" + bytes(99), "no picture in it, only a.jpg (damaged, cannot be read as a picture"),
        (b"Pf 4 4 -1.0\n" + bytes(64), "no picture in it, only a.jpg (nothing says how pixels of mode F become 8-bit RGB)"),
    ],
    ids=["a program", "a claim", "cut off", "floats"],
)
def test_a_folder_with_one_bad_picture_is_one_line_and_exit_2(
    fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck, content: bytes, said: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(content)
    assert said in expect_error(2, "verify", fake_bundle, "--images", tmp_path / "photos")


@pytest.mark.parametrize("crop", [[32, 32], [64, 96], [4096, 4096]])
def test_a_manifest_with_another_crop_is_refused_before_anything_is_decoded(
    fake_bundle: Path, photos: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch, crop: list[int]
) -> None:
    counts = decoded_at_once(monkeypatch)
    edit_manifest(fake_bundle, lambda document: document["preprocess"].update(crop=crop, resize=crop))
    said = f"crops to {crop[0]} x {crop[1]}, and its model takes another size"
    assert said in expect_error(2, "verify", fake_bundle, "--images", photos)
    assert counts == []


def test_a_manifest_with_a_huge_resize_costs_nothing(fake_bundle: Path, photos: Path) -> None:
    """The region that its crop keeps is a pixel or two, enlarged."""
    edit_manifest(fake_bundle, lambda document: document["preprocess"].update(resize=[8192, 8192]))
    top5 = api.verify(fake_bundle, images=photos).top5
    assert top5 is not None
    assert len(top5) == 7


@pytest.fixture
def labelled_bundle(fake_target: None, tmp_path: Path) -> Path:
    """A trained network: its class names are in its file."""
    assert run(["fake", "--weights", str(WEIGHTS), "--output", str(tmp_path / "trained")]) == 0
    return tmp_path / "trained" / "fake-fp32"


def test_a_tree_is_run_and_counted_by_the_names_of_its_classes(
    labelled_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = write_pictures(tmp_path / "val", "val", 6)
    (tree / "bag" / "0000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tree / "bag" / ".DS_Store").write_bytes(b"\0")
    capfd.readouterr()
    assert run(["verify", str(labelled_bundle), "--images", str(tree), "--json"]) == 0
    captured = capfd.readouterr()
    (document,) = json.loads(captured.out)
    assert set(document["top5"]) == {path.relative_to(tree).as_posix() for path in tree.rglob("[0-9]*.png")} - {"bag/0000.png"}
    right = sum(ranking[0][0] == name.partition("/")[0] for name, ranking in document["top5"].items())
    assert document["right"] == right
    assert 45 <= right <= 60, "the network is right on 89 % of such pictures, and by chance on 6"
    assert f"{labelled_bundle}: {right} of 60 pictures have the class of their folder first\n" in captured.err
    assert {item["file"] for item in document["passed_over"]} == {"bag/0000.png", "bag/.DS_Store"}
    assert "2 files passed over: bag/.DS_Store (hidden), bag/0000.png (" in captured.err


def test_classes_that_are_not_the_bundles_are_not_counted(
    labelled_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = write_pictures(tmp_path / "val", "val", 1)
    (tree / "bag").rename(tree / "handbag")
    assert api.verify(labelled_bundle, images=tree).right is None
    run(["verify", str(labelled_bundle), "--images", str(tree)])
    assert "the classes of the folder are not those of the bundle by name, so it is not counted" in capfd.readouterr().err
    (tree / "handbag").rename(tree / "bag")
    assert api.verify(labelled_bundle, images=tree).right is not None


def test_strict_names_a_broken_picture_of_a_tree(labelled_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    tree = write_pictures(tmp_path / "val", "val", 1)
    assert run(["verify", str(labelled_bundle), "--images", str(tree), "--strict"]) == 0
    path = next((tree / "coat").iterdir())
    path.write_bytes(path.read_bytes()[:-30])
    message = expect_error(2, "verify", labelled_bundle, "--images", tree, "--strict")
    assert f"--strict: 1 file of {tree} would be passed over: coat/{path.name} (damaged" in message


def test_a_folder_with_pictures_and_subfolders_is_flat(fake_bundle: Path, photos: Path) -> None:
    (photos / "deeper").mkdir()
    save(photos / "deeper" / "8.png", gradient(8, 8))
    result = api.verify(fake_bundle, images=photos)
    assert len(result.top5 or ()) == 7
    assert [item.file for item in result.passed_over] == ["deeper"]
