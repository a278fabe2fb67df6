"""`calibration.json`: read back as it was written, and refused if anything in it was changed or is of something else."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgevit_deploy.calibration.record import Calibration, calibration_bytes, check_fits, read_calibration
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.ranges import OperatorRanges, Range
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.spec import IMAGENET_224

RECORD = ModelRecord(
    variant="edgevit_xxs",
    depths=(1, 1, 3, 2),
    channels=(36, 72, 144, 288),
    head_dim=36,
    num_classes=10,
    parameters=4_000_000,
    norm_eps=1e-6,
    inner_norm_eps=1e-5,
    head_bias=True,
    image_size=(224, 224),
    weights_sha256="ab" * 32,
    random_seed=None,
    dialect="saic-fi",
)
RANGES = {"head": OperatorRanges(input=Range(low=-1.5, high=2.0), output=Range(low=-9.0, high=12.0))}


def written(path: Path, calibration: Calibration) -> Path:
    path.write_bytes(calibration_bytes(calibration))
    return path


@pytest.fixture
def calibration() -> Calibration:
    return Calibration(
        model=RECORD,
        preprocess=IMAGENET_224,
        form=Form(position="kept").choices(),
        source="pictures",
        pictures=("00" * 32,),
        count=1,
        percentile=None,
        ranges=RANGES,
    ).sealed()


def test_it_is_read_as_it_was_written(calibration: Calibration, tmp_path: Path) -> None:
    assert read_calibration(written(tmp_path / "a.json", calibration)) == calibration


def as_it_was(calibration: Calibration) -> dict[str, Any]:
    """Return the document of a version that knew neither blocks nor heads, nor values without their mean."""
    document: dict[str, Any] = json.loads(calibration_bytes(calibration))
    del document["model"]["block"], document["model"]["head"], document["form"]["values"]
    document["seal"] = ""
    sealed = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return {**document, "seal": hashlib.sha256(sealed).hexdigest()}


def test_a_file_of_an_older_version_is_read_and_fits(calibration: Calibration, tmp_path: Path) -> None:
    path, document = tmp_path / "a.json", as_it_was(calibration)
    path.write_text(json.dumps(document))
    old = read_calibration(path)
    check_fits(old, RECORD, IMAGENET_224, calibration.form, path)
    with pytest.raises(UsageError, match="here it has values centred"):
        check_fits(old, RECORD, IMAGENET_224, {**calibration.form, "values": "centred"}, path)


@pytest.mark.parametrize("added", [{"block": {"sampler": "center"}}, {"head": {"kind": "retinanet"}}], ids=["a block", "a head"])
def test_what_an_older_version_did_not_know_cannot_be_added_to_it(
    calibration: Calibration, tmp_path: Path, added: dict[str, Any]
) -> None:
    path, document = tmp_path / "a.json", as_it_was(calibration)
    document["model"].update(added)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="its seal does not fit"):
        read_calibration(path)


def planted(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def plant(document: dict[str, Any]) -> None:
        document["ranges"]["head"]["input"][key] = value

    return plant


@pytest.mark.parametrize(
    "change",
    [
        planted("high", 2.5),
        planted("low", 3.0),
        planted("high", 1e31),
        lambda document: document["model"].update(weights_sha256="cd" * 32),
        lambda document: document.update(count=0),
        lambda document: document["ranges"].clear(),
        lambda document: document.update(seal="00" * 32),
    ],
    ids=["a number", "upside down", "too large", "other weights", "of no picture", "no ranges", "the seal"],
)
def test_a_change_by_hand_is_refused(calibration: Calibration, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = written(tmp_path / "a.json", calibration)
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"--calibration DIR"):
        read_calibration(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"schema_version": 2}',
        '{"ranges": NaN}',
        "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=r"--ranges .*: no calibration\.json"):
        read_calibration(tmp_path / "a.json")


def test_nan_in_a_range_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", calibration)
    path.write_text(path.read_text().replace("2.0", "NaN", 1))
    with pytest.raises(UsageError, match=r"no calibration\.json"):
        read_calibration(path)


def test_a_folder_or_nothing_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_calibration(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": replace(RECORD, weights_sha256="cd" * 32)}, "other weights"),
        ({"model": replace(RECORD, image_size=(64, 64))}, "another image size"),
        ({"preprocess": replace(IMAGENET_224, mean=(0.5, 0.5, 0.5))}, "prepared in another way"),
        ({"form": Form().choices()}, r"another form \(here it has position folded\)"),
    ],
)
def test_ranges_of_something_else_are_refused(calibration: Calibration, change: dict[str, Any], words: str) -> None:
    fitting = {"model": RECORD, "preprocess": IMAGENET_224, "form": Form(position="kept").choices()}
    check_fits(calibration, **fitting, where="x")
    with pytest.raises(UsageError, match=words):
        check_fits(calibration, **{**fitting, **change}, where="x")
