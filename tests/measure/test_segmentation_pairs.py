"""Which masks `evaluate` of segmenters judges by, which network it pairs a bundle with, and how many pictures a run has."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgevit_deploy.cli import run
from edgevit_deploy.data.masks import absent
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.session import Array
from tests.commands.test_evaluate_demanded import segmenter_bundle
from tests.helpers.dense import segmenter
from tests.helpers.fakes import FakeSession
from tests.helpers.shapes import save_mask, write_shapes

ErrorCheck = Callable[..., str]
Capture = pytest.CaptureFixture[str]


def evaluated(capfd: Capture, *tokens: object) -> tuple[dict[str, Any], str]:
    capfd.readouterr()
    assert run(["evaluate", *map(str, tokens), "--json"]) == 0
    captured = capfd.readouterr()
    return json.loads(captured.out), " ".join(captured.err.split())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_shapes(tmp_path / "data", 3)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The inputs of every run of a fake file."""
    seen, right = list[np.ndarray](), FakeSession._run

    def counted(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        seen.append(feeds["input"])
        return right(self, feeds)

    monkeypatch.setattr(FakeSession, "_run", counted)
    return seen


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_classes_that_no_mask_has_are_named(fake_target: None, data: Path, capfd: Capture) -> None:
    """Masks of two classes that are saved as 0 and 255: whoever never says class 0 of anything else is right everywhere."""
    for path in (data / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        save_mask(path, np.where(mask > 0, 255, 0))
    document, said = evaluated(capfd, segmenter_bundle(), "--data", data)
    expected = "no mask has the classes 'class 1', 'class 2', 'class 3'; 255 is for pixels of none"
    assert document["absent"] == expected
    assert expected in said
    assert [score["accuracy"] is None for score in document["rows"][0]["classes"]] == [False, True, True, True]


def test_nothing_is_said_of_masks_that_have_all_classes(fake_target: None, data: Path, capfd: Capture) -> None:
    document, said = evaluated(capfd, segmenter_bundle(), "--data", data)
    assert document["absent"] == ""
    assert "no mask has" not in said


def test_absent_classes_in_words() -> None:
    assert absent([1, 0], ["ground", "road"]) == "no mask has the class 'road'; 255 is for pixels of none"
    assert absent([0] * 4, list("abcd"), shown=2).startswith("no mask has the classes 'a', 'b' and 2 more;")
    assert absent([3, 1], ["ground", "road"]) == ""


def test_masks_without_any_class_are_refused_before_anything_runs(
    fake_target: None, data: Path, expect_error: ErrorCheck, runs: list[np.ndarray]
) -> None:
    for path in (data / "masks").iterdir():
        save_mask(path, np.full((64, 64), 255))
    said = expect_error(2, "evaluate", segmenter_bundle(), "--data", data)
    assert "no pixel that is judged has a class; 255 is for pixels of none, so number the classes from 0" in said
    assert not runs


def test_so_are_masks_whose_classes_are_all_cut_off(data: Path, tmp_path: Path, fake_target: None, expect_error: Any) -> None:
    flags = ["--task", "segment", "--model", "edgevit_xxs", "--num-classes", "4", "--image-size", "64", "--resize-mode", "cover"]
    segmenter()
    assert run(["fake", *flags, "--output", str(tmp_path)]) == 0
    for path in (data / "masks").iterdir():
        mask = np.full((64, 200), 255)
        mask[:, 0] = 1
        save_mask(path, mask)
        Image.new("RGB", (200, 64)).save(data / "images" / path.name)
    assert "no pixel that is judged has a class" in expect_error(2, "evaluate", tmp_path / "fake-fp32", "--data", data)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_link_that_leads_nowhere_is_told_before_anything_runs(
    part: str, fake_target: None, data: Path, expect_error: ErrorCheck, runs: list[np.ndarray]
) -> None:
    broken = data / part / "0001.png"
    broken.unlink()
    broken.symlink_to(data / "gone.png")
    said = expect_error(2, "evaluate", segmenter_bundle(), "--data", data)
    assert f"{broken}: cannot be read (No such file or directory); put it back, or remove it with its partner" in said
    assert not runs


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_broken_file_is_named_once_and_without_its_folder(part: str, fake_target: None, data: Path, capfd: Capture) -> None:
    (data / part / "0001.png").write_bytes(b"no picture")
    document, said = evaluated(capfd, segmenter_bundle(), "--data", data)
    (broken,) = document["broken"]
    assert broken["file"] == "images/0001.png"
    assert str(data) not in json.dumps(document["broken"])
    assert str(data) not in said


def test_variants_with_the_same_tensors_are_each_paired_with_their_own(
    fake_target: None, data: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Bare tensors do not tell how tokens are sampled; each bundle's manifest does."""
    network = segmenter(num_classes=4).network
    assert isinstance(network, DenseNetwork)
    torch.save(network.state_dict(), tmp_path / "bare.pth")
    bundles = []
    for model in ("edgevit_xxs", "edgevit_xxs_center"):
        flags = ["--task", "segment", "--model", model, "--weights", str(tmp_path / "bare.pth"), "--image-size", "64"]
        assert run(["fake", *flags, "--output", str(tmp_path / model)]) == 0
        bundles.append(tmp_path / model / "fake-fp32")
    document, said = evaluated(capfd, *bundles, "--data", data, "--weights", tmp_path / "bare.pth")
    *networks, first, second = document["rows"]
    assert [row["label"] for row in networks] == ["network 1", "network 2"]
    assert {row["status"] for row in document["rows"]} == {"ran"}
    assert (first["network"], second["network"]) == ("network 1", "network 2")
    for row in (first, second):
        assert row["pairing"]["agreement"]["value"] > 0.999
    assert networks[0]["pixel_accuracy"] != networks[1]["pixel_accuracy"], "they are two networks"
    assert f"{bundles[1]}: compared with network 2" in said
    alone, _ = evaluated(capfd, bundles[1], "--data", data, "--weights", tmp_path / "bare.pth")
    assert [row["label"] for row in alone["rows"]] == ["network", str(bundles[1])]
    assert alone["rows"][1]["pairing"] == second["pairing"]


def test_a_run_has_as_many_pictures_as_it_takes(
    fake_target: None, tmp_path: Path, capfd: Capture, runs: list[np.ndarray]
) -> None:
    """Of one picture alone all but one place of a run would be copies of it, and pictures/s that much too low."""
    segmenter()
    flags = ["--task", "segment", "--model", "edgevit_xxs", "--num-classes", "4", "--image-size", "64", "--batch", "2"]
    assert run(["fake", *flags, "--output", str(tmp_path)]) == 0
    data = write_shapes(tmp_path / "data", 5)
    runs.clear()
    document, _ = evaluated(capfd, tmp_path / "fake-fp32", segmenter_bundle(), "--data", data)
    by_two = [inputs for inputs in runs if len(inputs) == 2]
    assert len(by_two) == 3
    assert len(runs) == 3 + 5, "the other file takes one a run"
    assert len({inputs[place].tobytes() for inputs in by_two for place in (0, 1)}) == 5
    first, second = document["rows"]
    assert first["miou"] == second["miou"], "the same network, whatever the number of pictures a run"
