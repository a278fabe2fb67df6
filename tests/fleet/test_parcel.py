"""A bundle by value: packed and unpacked it is the same, and nothing that its manifest does not vouch for is written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.fleet.parcel import Parcel, pack, publish, unpack
from tests.helpers.fleet import contents


def test_what_arrives_is_what_was_sent(fake_bundle: Path, tmp_path: Path) -> None:
    place, manifest = publish(pack(fake_bundle), tmp_path / "there" / "fake-fp32", "worker x")
    assert contents(place) == contents(fake_bundle)
    assert manifest.target == "fake"
    assert [path.name for path in place.parent.iterdir()] == ["fake-fp32"]


def test_a_failed_bundle_is_kept_apart(fake_bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((fake_bundle / "manifest.json").read_text())
    manifest["parity"]["status"] = "failed"
    (fake_bundle / "manifest.json").write_text(json.dumps(manifest))
    place, _ = publish(pack(fake_bundle), tmp_path / "there" / "fake-fp32", "worker x")
    assert place.name == "fake-fp32.failed"


def flip(files: dict[str, bytes]) -> None:
    files["model.fake"] = files["model.fake"][:-1] + bytes([files["model.fake"][-1] ^ 1])


def shorten(files: dict[str, bytes]) -> None:
    files["labels.txt"] = files["labels.txt"][:-1]


def climb(files: dict[str, bytes]) -> None:
    files["../evil"] = b"x"


def absolute(files: dict[str, bytes]) -> None:
    files["/tmp/evil"] = b"x"


def drop(files: dict[str, bytes]) -> None:
    del files["golden/input.f32"]


def no_manifest(files: dict[str, bytes]) -> None:
    del files["manifest.json"]


def record_a_climb(files: dict[str, bytes]) -> None:
    manifest = json.loads(files["manifest.json"])
    record = {"path": "../evil", "sha256": manifest["files"][0]["sha256"], "bytes": manifest["files"][0]["bytes"]}
    manifest["files"].append(record)
    files["manifest.json"] = json.dumps(manifest).encode()
    files["../evil"] = files[manifest["files"][0]["path"]]


@pytest.mark.parametrize("change", [flip, shorten, climb, absolute, drop, no_manifest, record_a_climb])
def test_what_was_changed_on_its_way_is_refused_before_anything_is_written(
    fake_bundle: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    files = dict(pack(fake_bundle).files)
    change(files)
    there = tmp_path / "a" / "b"
    for write in (publish, unpack):
        with pytest.raises(BundleError, match=r"what worker x sent is not a bundle as its manifest says .*nothing was written"):
            write(Parcel(files=files), there / "fake-fp32", "worker x")
    assert not (tmp_path / "a").exists()


def test_a_place_that_holds_something_else_is_refused(fake_bundle: Path, tmp_path: Path) -> None:
    there = tmp_path / "there" / "fake-fp32"
    there.mkdir(parents=True)
    (there / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        publish(pack(fake_bundle), there, "worker x")
    assert contents(there) == {"mine.txt": b"x"}


def test_a_damaged_bundle_is_not_sent(fake_bundle: Path) -> None:
    (fake_bundle / "labels.txt").write_text("other")
    with pytest.raises(BundleError, match=r"labels\.txt: changed"):
        pack(fake_bundle)
