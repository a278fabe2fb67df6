"""`evaluate` on detectors: average precision in COCO's layout, paired with the network; and what is refused.

The detector has random weights, so the annotations are what it finds itself above a score: a file that computes what the network
does then finds all of it, and one that does not loses some.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import edgevit_deploy
from edgevit_deploy.apps.samples import find_sample
from edgevit_deploy.apps.write import check_suits
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.data.boxes import decode
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.session import Array
from edgevit_deploy.spec import output_specs
from edgevit_deploy.spec.detection import decoding_of
from tests.helpers.bundles import edit_manifest
from tests.helpers.detectors import detector_weights
from tests.helpers.fakes import FakeSession, register_fake
from tests.helpers.shared import made_once

pytest.importorskip("pycocotools")

NAMES = ("cat", "dog", "cup", "bus", "tie")
NUMBERS = {name: 10 * place + 3 for place, name in enumerate(sorted(NAMES))}
"""Categories in another order than the classes."""

SIZES = ((64, 90), (100, 60), (48, 48), (33, 80), (70, 71), (128, 50))
ABOVE = 0.9
Capture = pytest.CaptureFixture[str]


def names_file() -> Path:
    def make(folder: Path) -> None:
        (folder / "names.txt").write_text("".join(f"{name}\n" for name in NAMES))

    return made_once("detector-names", make) / "names.txt"


def bundle() -> Path:
    """The tiny detector as a bundle of the fake target."""

    def make(folder: Path) -> None:
        flags = ["--weights", str(detector_weights()), "--image-size", "64", "--labels", str(names_file())]
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            assert run(["fake", "--task", "detect", *flags, "--output", str(folder)]) == 0

    return made_once("fake-detector", make) / "fake-fp32"


def pictures() -> Path:
    """Noisy pictures of several sizes, annotated with what the network finds in them; a loop of its own."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        model = load_model(ModelOrigin(weights=detector_weights(), image_size=(64, 64), task="detect"))
        (folder / "images").mkdir()
        images, boxes = [], []
        for number, (height, width) in enumerate(SIZES, start=1):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height))
            coarse.save(folder / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
            pixels = read_pixels(folder / "images" / f"{number}.png", model.spec.preprocess)[None]
            outputs = model.network(torch.from_numpy(normalise(pixels, model.spec.preprocess, "tensor")))
            specs = output_specs(model.spec, "detections", batch=1, size=(64, 64))
            values = {spec.name: output.numpy() for spec, output in zip(specs, outputs, strict=True)}
            resized = (64 * height // max(height, width), 64 * width // max(height, width))
            (found,) = decode(values, decoding_of("torchvision", (64, 64)), [(0, 0, resized[1], resized[0])])
            scale = width / resized[1], height / resized[0]
            for box, score, label in zip(found.boxes, found.scores, found.classes, strict=True):
                left, top, right, bottom = box * (*scale, *scale)
                if score > ABOVE:
                    bbox = [left, top, right - left, bottom - top]
                    boxes.append({"image_id": number, "category_id": NUMBERS[NAMES[label]], "bbox": bbox, "iscrowd": 0})
        categories = [{"id": number, "name": name} for name, number in NUMBERS.items()]
        document = {"images": images, "annotations": boxes, "categories": categories}
        (folder / "annotations.json").write_text(json.dumps(document, default=float))

    return made_once("detector-pictures", make)


def many() -> Path:
    """The same pictures, each six times in the annotations: as many as an interval wants."""

    def make(folder: Path) -> None:
        (folder / "images").symlink_to(pictures() / "images")
        document = json.loads((pictures() / "annotations.json").read_text())
        for part, key in (("images", "id"), ("annotations", "image_id")):
            document[part] = [each | {key: each[key] + 100 * copy} for copy in range(6) for each in document[part]]
        (folder / "annotations.json").write_text(json.dumps(document))

    return made_once("detector-many-pictures", make)


def evaluate(capfd: Capture, *tokens: object, expected: int = 0) -> tuple[dict[str, Any], str]:
    capfd.readouterr()
    assert run(["evaluate", *map(str, tokens), "--json"]) == expected
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, Array], Array]], None]:
    """Let the fake runtime change each output by its name."""
    right = FakeSession._run

    def change(of: Callable[[str, Array], Array]) -> None:
        def wrong(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
            return {name: np.ascontiguousarray(of(name, array)) for name, array in right(self, feeds).items()}

        monkeypatch.setattr(FakeSession, "_run", wrong)

    return change


def test_a_file_that_computes_what_the_network_does_finds_all(fake_target: None, capfd: Capture, tmp_path: Path) -> None:
    document, said = evaluate(
        capfd, bundle(), "--data", many(), "--weights", detector_weights(), "--max-drop", "0.01", "--output", tmp_path / "out"
    )
    network, row = document["rows"]
    assert (network["label"], network["kind"], row["kind"]) == ("network", "network", "bundle")
    for each in (network, row):
        assert each["figures"]["ap"] == pytest.approx(1, abs=1e-3)
        assert each["interval"] == pytest.approx([1, 1], abs=1e-3)
        assert each["status"] == "ran"
    assert row["drop"]["value"] == pytest.approx(0, abs=1e-3)
    assert document["ok"] is True
    data = document["data"]
    assert (data["pictures"], data["used"], data["categories"]) == (6 * len(SIZES), 6 * len(SIZES), sorted(NAMES))
    assert data["boxes"] > 20, "else the test says little"
    assert "average precision (COCO), with 95 % intervals, on 36 pictures" in said
    assert "pictures are few" not in said
    assert "is within --max-drop 0.01" in said
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == document


@pytest.mark.parametrize(
    ("fault", "worst"),
    [
        (lambda name, y: y[..., [1, 0, 3, 2]] if name.startswith("deltas") else y, 0.7),
        (lambda name, y: np.roll(y, 1, axis=2) if name.startswith("logits") else y, 0.5),
        (lambda name, y: y * 0 - 20 if name.startswith("logits") else y, 0.0),
    ],
    ids=["x and y swapped", "classes off by one", "nothing found"],
)
def test_a_wrong_file_loses_average_precision(
    fake_target: None, changed: Callable[[Any], None], capfd: Capture, fault: Any, worst: float
) -> None:
    changed(fault)
    document, said = evaluate(
        capfd, bundle(), "--data", many(), "--weights", detector_weights(), "--max-drop", "0.05", expected=1
    )
    network, row = document["rows"]
    assert network["figures"]["ap"] == pytest.approx(1, abs=1e-3)
    assert row["figures"]["ap"] <= worst
    drop = row["drop"]
    assert drop["value"] == pytest.approx(network["figures"]["ap"] - row["figures"]["ap"])
    assert drop["interval"][0] <= drop["value"] <= drop["interval"][1]
    assert "is above --max-drop 0.05" in said
    assert document["ok"] is False


def test_the_network_is_decoded_as_the_bundle_it_is_compared_with(fake_target: None, capfd: Capture, tmp_path: Path) -> None:
    """A bundle that keeps one box of a picture has lost that of another, and nothing against its network decoded alike."""
    few = Path(shutil.copytree(bundle(), tmp_path / "few"))
    edit_manifest(few, lambda document: document["decoding"].update(most=1))
    flags = ("--data", many(), "--weights", detector_weights(), "--max-drop", "0.01")
    network, row = evaluate(capfd, few, *flags)[0]["rows"]
    assert network["boxes"] == row["boxes"] == len(SIZES) * 6
    assert row["drop"]["value"] == pytest.approx(0, abs=1e-3)
    assert network["figures"]["ap"] < 0.9, "one box a picture is not all"
    document, _ = evaluate(capfd, few, bundle(), *flags)
    assert [each["label"] for each in document["rows"][:2]] == ["network 1", "network 2"]
    first, second = document["rows"][2:]
    assert first["figures"]["ap"] < second["figures"]["ap"]
    for each in (first, second):
        assert each["drop"]["value"] == pytest.approx(0, abs=1e-3)


def test_without_weights_there_is_one_row_and_a_sample_is_seeded(fake_target: None) -> None:
    found = edgevit_deploy.evaluate_detection(bundle(), data=pictures(), limit=3, seed=4)
    (row,) = found.rows
    assert row.drop is None
    assert (found.data.used, found.data.seed) == (3, 4)
    assert row.figures.ap == pytest.approx(1, abs=1e-3)
    again = edgevit_deploy.evaluate_detection(bundle(), data=pictures(), limit=3, seed=4)
    assert again.rows[0].figures == row.figures


def test_pictures_that_do_not_fit_their_annotations_are_left_out_and_named(
    fake_target: None, capfd: Capture, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for picture in (pictures() / "images").iterdir():
        (tmp_path / "images" / picture.name).write_bytes(picture.read_bytes())
    Image.new("RGB", (10, 10)).save(tmp_path / "images" / "2.png")
    (tmp_path / "images" / "3.png").write_text("no picture")
    whole = (tmp_path / "images" / "4.png").read_bytes()
    (tmp_path / "images" / "4.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "annotations.json").write_bytes((pictures() / "annotations.json").read_bytes())
    document, said = evaluate(capfd, bundle(), "--data", tmp_path)
    assert document["data"]["used"] == 3
    assert [item["file"] for item in document["broken"]] == ["2.png", "3.png", "4.png"]
    assert "10 x 10 pixels, annotated as 60 x 100" in said
    assert document["rows"][0]["figures"]["ap"] == pytest.approx(1, abs=1e-3)
    assert run(["evaluate", str(bundle()), "--data", str(tmp_path), "--strict"]) == 2


REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "agreement": (("--weights", "W", "--min-agreement", "0.9"), "--min-agreement is not for detectors; drop it"),
    "record": (("--record",), "--record is not for detectors; drop it"),
    "a drop from nothing": (("--max-drop", "0.1"), "--max-drop compares with the network; add --weights FILE"),
    "no share": (("--weights", "W", "--max-drop", "1.5"), "a share between 0 and 1"),
    "nothing": (("--limit", "0"), "expected 1 picture or more"),
    "twice": (("BUNDLE",), "is given twice; give it once"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str, fake_target: None, expect_error: Any) -> None:
    tokens, message = REFUSED[case]
    given = [{"W": detector_weights(), "BUNDLE": bundle()}.get(str(token), token) for token in tokens]
    assert message in expect_error(2, "evaluate", bundle(), *given, "--data", pictures())


def test_output_that_cannot_be_is_refused_before_any_work(
    fake_target: None, expect_error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document in a bundle would break it, and in a folder's place nothing could be written in the end."""
    monkeypatch.setattr("edgevit_deploy.api.evaluate_detection", lambda *_, **__: pytest.fail("ran before it was refused"))
    annotations, file = tmp_path / "evaluation.json", tmp_path / "file"
    for path in (annotations, file):
        path.write_bytes((pictures() / "annotations.json").read_bytes())
    for place in (bundle(), bundle() / "new", pictures(), pictures() / "new"):
        said = expect_error(2, "evaluate", bundle(), "--data", pictures(), "--output", place)
        assert "put it beside" in said
        assert not (place / "evaluation.json").exists()
    assert "is a file; name a folder" in expect_error(2, "evaluate", bundle(), "--data", pictures(), "--output", file)
    said = expect_error(2, "evaluate", bundle(), "--data", annotations, "--output", tmp_path)
    assert "evaluation.json there is what is read; name another folder" in said


def test_other_weights_and_other_names_are_refused(fake_target: None, expect_error: Any, tmp_path: Path) -> None:
    from tests.helpers.detectors import as_torchvision, saved, tiny_detector

    other = saved(as_torchvision(tiny_detector(9)), tmp_path / "other.safetensors")
    said = expect_error(2, "evaluate", bundle(), "--data", pictures(), "--weights", other)
    assert "these are not the bundle's weights" in said
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["cat", "dog", "cup", "bus", "hat"]))
    said = expect_error(2, "evaluate", bundle(), "--data", pictures(), "--labels", names)
    assert "no class of the network is called 'tie'" in said


def test_what_shows_or_times_whole_classifiers_refuses_a_detector(fake_target: None, expect_error: Any) -> None:
    folder = pictures() / "images"
    assert "this bundle returns detections; drop --images" in expect_error(2, "verify", bundle(), "--images", folder)
    said = expect_error(2, "bench", bundle(), "--against", "peers")
    assert "has a retinanet on its feature maps, and the peers have none" in said
    manifest = replace(read_manifest(bundle()), target="onnx")
    with pytest.raises(UsageError, match="is for --task detect, and a sample shows the classes of a picture"):
        check_suits(find_sample("cpp"), manifest, bundle())


def test_photographs_join_the_probes_of_a_detector_and_no_classes_are_shown(
    fake_target: None, capfd: Capture, tmp_path: Path
) -> None:
    flags = ("--weights", detector_weights(), "--image-size", "64", "--images", pictures() / "images", "--output", tmp_path)
    assert run(["fake", "--task", "detect", *map(str, flags), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["top5"] == {}
    assert read_manifest(tmp_path / "fake-fp32").probes.photographs == len(SIZES)
