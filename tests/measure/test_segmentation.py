"""mIoU, pixel accuracy and their intervals, of bundles and of their network on the same pixels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from edgevit_deploy.cli import run
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.parity import segments as of
from edgevit_deploy.parity.segments import PixelCounts
from tests.helpers.dense import segmenter
from tests.helpers.fakes import FakeSession
from tests.helpers.shapes import save_mask, write_shapes

ErrorCheck = Callable[..., str]


def counted(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> PixelCounts:
    counts = PixelCounts(classes=classes)
    for said, mask in pairs:
        counts.add(said.astype(np.int64), mask.astype(np.uint8))
    return counts


def iou_by_hand(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> list[float | None]:
    """Pixel by pixel, from the definition."""
    found = []
    for each in range(classes):
        both = either = 0
        for said, mask in pairs:
            for own, right in zip(said.flat, mask.flat, strict=True):
                if right != 255:
                    both += own == right == each
                    either += own == each or right == each
        found.append(both / either if either else None)
    return found


def test_iou_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(-1, 3, (6, 7)), rng.choice([0, 1, 2, 255], (6, 7))) for _ in range(4)]
    expected = iou_by_hand(pairs, 5)
    counts = counted(pairs, 5)
    assert [None if np.isnan(value) else float(value) for value in of.value_of(lambda w: of.ious(counts, w), 4)] == pytest.approx(
        expected
    )
    there = [value for value in expected if value is not None]
    assert len(there) == 3, "a class that is nowhere has no part in the mean"
    assert of.value_of(lambda w: of.mean_iou(counts, w), 4) == pytest.approx(np.mean(there))
    right = sum(int((said[mask != 255] == mask[mask != 255]).sum()) for said, mask in pairs)
    judged = sum(int((mask != 255).sum()) for _, mask in pairs)
    assert of.value_of(lambda w: of.pixel_accuracy(counts, w), 4) == pytest.approx(right / judged)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """60 samples of 40 pictures whose accuracies vary around a known mean: 95 % of intervals are to hold it.

    And they are as wide as that scatter makes them: of a picture's share, and of its 64 pixels around it.
    """
    rng, held, samples, widths = np.random.default_rng(1), 0, 60, []
    for _ in range(samples):
        shares = np.clip(rng.normal(0.8, 0.1, 40), 0, 1)
        counts = counted([((rng.random((8, 8)) > share).astype(int), np.zeros((8, 8))) for share in shares], 2)
        low, high = of.interval_of(lambda w, c=counts: of.pixel_accuracy(c, w), 40)
        held += low <= 0.8 <= high
        widths.append(high - low)
    assert 0.85 * samples <= held
    wide = 2 * 1.96 * np.sqrt((0.1**2 + 0.8 * 0.2 / 64) / 40)
    assert np.mean(widths) == pytest.approx(wide, rel=0.2), "an interval of everything would hold the truth too"


@pytest.fixture
def made(fake_target: None, tmp_path: Path) -> Path:
    """A bundle, its weights, and a folder whose masks are what the network itself says."""
    model = segmenter(num_classes=4)
    save_file(model.network.state_dict(), tmp_path / "weights.safetensors")
    data = write_shapes(tmp_path / "data", 4)
    for path in sorted((data / "images").iterdir()):
        inputs = normalise(read_pixels(path, model.spec.preprocess)[None], model.spec.preprocess, "tensor")
        with torch.no_grad():
            said = model.network(torch.from_numpy(inputs))[0].argmax(0).numpy()
        save_mask(data / "masks" / path.name, said)
    command = ["fake", "--task", "segment", "--weights", str(tmp_path / "weights.safetensors"), "--image-size", "64"]
    assert run([*command, "--output", str(tmp_path)]) == 0
    return tmp_path


def evaluated(made: Path, capfd: Any, *more: str) -> dict[str, Any]:
    capfd.readouterr()
    tokens = ["evaluate", str(made / "fake-fp32"), "--data", str(made / "data"), "--json", *more]
    assert run([*tokens, "--weights", str(made / "weights.safetensors")]) == 0
    return json.loads(capfd.readouterr().out)


def test_a_bundle_is_compared_with_its_network(made: Path, capfd: pytest.CaptureFixture[str], expect_error: ErrorCheck) -> None:
    document = evaluated(made, capfd)
    network, bundle = document["rows"]
    assert (network["kind"], network["runtime"], bundle["runtime"]) == ("network", "PyTorch fp32", "fake runtime")
    assert network["miou"]["value"] == network["pixel_accuracy"]["value"] == 1, "the masks are its own answers"
    assert bundle["miou"]["value"] > 0.999
    assert bundle["pairing"]["agreement"]["value"] > 0.999
    assert abs(bundle["pairing"]["drop"]["value"]) < 1e-3
    for row in document["rows"]:
        assert row["miou"]["low"] <= row["miou"]["value"] <= row["miou"]["high"]
        assert sum(score["pixels"] for score in row["classes"]) == 4 * 64 * 64
    masks = sorted((made / "data" / "masks").iterdir())
    own = {path: np.asarray(Image.open(path)) for path in masks}
    for name, fault in {
        "by one pixel": lambda mask: np.roll(mask, 1, axis=1),
        "by one class": lambda mask: (mask + 1) % 4,
        "two classes swapped": lambda mask: np.array([0, 2, 1, 3])[mask],
    }.items():
        for path, mask in own.items():
            save_mask(path, fault(mask))
        assert evaluated(made, capfd)["rows"][0]["miou"]["value"] < 0.97, f"masks that are off {name} are seen"
    save_mask(masks[0], np.full((64, 64), 255))
    save_mask(masks[1], np.full((64, 64), 9))
    document = evaluated(made, capfd)
    assert [item["file"] for item in document["broken"]] == ["images/0001.png"], "a class that the network has not"
    assert sum(score["pixels"] for score in document["rows"][0]["classes"]) == 2 * 64 * 64, "ignored pixels are in no figure"
    flags = ("evaluate", made / "fake-fp32", "--data", made / "data")
    assert "--strict: " in expect_error(2, *flags, "--strict")
    assert "--record is for bundles that classify pictures" in expect_error(2, *flags, "--record")
    assert "no folder 'images' in it" in expect_error(2, *flags[:3], made)
    assert evaluated(made, capfd, "--limit", "1")["used"] == 1


def test_a_spoilt_bundle_agrees_less_and_loses(made: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """Two classes of it are swapped: it is wrong about each of their pixels and right about all others."""
    masks = np.concatenate([np.asarray(Image.open(path)).ravel() for path in (made / "data" / "masks").iterdir()])
    shares = np.bincount(masks, minlength=4) / len(masks)
    one, other = np.argsort(shares)[-2:]
    assert shares[one] > 0.05, "else the test says little"
    places = list(range(4))
    places[one], places[other] = other, one
    right = FakeSession._run
    monkeypatch.setattr(
        FakeSession, "_run", lambda self, feeds: {name: array[:, places] for name, array in right(self, feeds).items()}
    )
    network, bundle = evaluated(made, capfd)["rows"]
    agreement, drop = bundle["pairing"]["agreement"], bundle["pairing"]["drop"]
    assert agreement["value"] == pytest.approx(1 - shares[one] - shares[other], abs=1e-3)
    assert drop["value"] == pytest.approx(2 / np.count_nonzero(shares), abs=1e-2), "two classes are lost, of all that there are"
    assert drop["value"] == pytest.approx(network["miou"]["value"] - bundle["miou"]["value"])
    for each in (agreement, drop):
        assert each["low"] <= each["value"] <= each["high"]
        assert each["low"] < each["high"]
