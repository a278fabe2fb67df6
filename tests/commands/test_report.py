"""The report page: what it shows of a bundle, never kinder than the recorded numbers."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgevit_deploy.bundle.manifest import FileRecord, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.commands.report.axis import Axis
from edgevit_deploy.spec import INPUTS, InputKind
from tests.helpers.bundles import edit_manifest
from tests.helpers.report_page import Page, badges, report
from tests.helpers.small import tiny_weights


def test_the_page_shows_what_the_manifest_says(fake_bundle: Path) -> None:
    manifest = json.loads((fake_bundle / "manifest.json").read_text())
    page = Page(report(fake_bundle))
    expected = [
        "1 bundle: 1 passed",
        "edgevit_xxs",
        "random, from seed 0: it classifies nothing",
        "a fake target",
        "edgevit-deploy verify fake-fp32 --seed 0",
        "bicubic, antialiased, cover 73 x 73",
        "fake runtime",
        manifest["parity"]["diffs"][0]["tolerance"]["reason"],
        *manifest["tools"].values(),
        *(record["sha256"] for record in manifest["files"]),
    ]
    for text in expected:
        assert text in page.text, text


def test_the_size_of_a_model_that_is_a_folder_is_that_of_its_files(fake_bundle: Path) -> None:
    sizes = {"model.kit": 1, "model.kit/net": 20, "model.kit/data/weights": 300, "model.kit2": 4000, "labels.txt": 50000}
    files = tuple(FileRecord(path=path, sha256="", bytes=size) for path, size in sizes.items())
    manifest = replace(read_manifest(fake_bundle), path="model.kit", files=files)
    assert manifest.model_bytes == 321
    assert replace(manifest, path="labels.txt").model_bytes == 50000


def test_both_colour_schemes_and_narrow_screens(fake_bundle: Path) -> None:
    text = report(fake_bundle)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text
    assert "@media (max-width" in text


def test_a_failed_bundle_is_exit_1_and_says_so(fake_bundle: Path) -> None:
    def change(document: dict) -> None:
        document["parity"]["status"] = "failed"
        document["parity"]["diffs"][0]["max_abs"] = 1.0

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle, expected=1)
    assert badges(page) == ["bad", "bad"]
    assert "exceeded its bound" in page
    assert 'class="error bad"' in page


@pytest.mark.parametrize("lie", ["error over the bound", "no comparison"])
def test_a_pass_that_the_numbers_do_not_bear_out_is_a_failure(fake_bundle: Path, lie: str) -> None:
    def change(document: dict) -> None:
        if lie == "no comparison":
            document["parity"]["diffs"] = []
        else:
            document["parity"]["diffs"][0]["max_abs"] = 1.0

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle, expected=1)
    assert badges(page) == ["bad", "bad"]
    assert "do not trust this bundle" in page


def test_not_run_is_not_passed_and_borrows_no_figures(fake_bundle: Path) -> None:
    def change(document: dict) -> None:
        document["parity"].update(status="built, not run", runtime="none on this host", instead="source.onnx, which passed")

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle)
    assert badges(page) == ["open", "open"]
    assert page.count('class="number">-</td>') == 4
    text = Page(page).text
    assert "Checked instead: source.onnx, which passed." in text
    assert "These comparisons are of what was checked instead, not of model.fake." in text


def test_the_axis_is_logarithmic_and_bounded() -> None:
    axis = Axis(low=-6, high=-2)
    assert [axis.position(value) for value in (1e-6, 1e-5, 1e-4, 1e-2)] == [0, 25, 50, 100]
    assert [axis.position(value) for value in (0.0, -1.0, 1e-30, 1.0, float("inf"))] == [0, 0, 0, 100, 100]


def test_several_bundles_share_one_axis_and_short_names(fake_bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(fake_bundle, tmp_path / "more" / "fake-fp32"))

    def change(document: dict) -> None:
        document["parity"]["diffs"][0]["max_abs"] = 0.5
        document["parity"]["status"] = "failed"

    edit_manifest(other, change)
    page = report(fake_bundle, other, expected=1)
    assert "2 bundles: 1 passed; 1 failed" in page
    assert 'href="#bundle-1">out/fake-fp32<' in page
    assert 'href="#bundle-2">more/fake-fp32<' in page
    axes = re.findall(r'<div class="axis">(.*?)</div>', page, flags=re.DOTALL)
    assert len(axes) == 4, "each bundle has one for its probes and one for the noisiest pictures near them"
    assert len(set(axes)) == 1
    assert "1e0" in axes[0]


@pytest.mark.parametrize("takes", INPUTS)
def test_what_an_app_is_to_feed_is_said_in_its_type(fake_target: None, tmp_path: Path, takes: InputKind) -> None:
    tokens = ["fake", "--weights", str(tiny_weights()), "--image-size", "32", "--input", takes, "--output", str(tmp_path)]
    assert run(tokens) == 0
    manifest = json.loads((tmp_path / "fake-fp32" / "manifest.json").read_text())
    text = Page(report(tmp_path / "fake-fp32")).text
    said = re.search(r"feed (\S+) , (\S+) \(2, 3, 32, 32\), and compare with golden/output.f32 , float32 \(2, 10\)", text)
    assert said is not None
    assert said.groups() == (manifest["golden"]["input"]["path"], manifest["inputs"][0]["dtype"])
    assert said[2] == ("uint8" if takes == "uint8" else "float32")
