"""What the commands that are of classifiers say of bundles for dense prediction, and whose bound `verify` names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.measure import bench as measure
from tests.commands.test_evaluate_demanded import segmenter_bundle
from tests.commands.test_evaluate_detection import bundle as detector_bundle
from tests.commands.test_evaluate_detection import evaluate, pictures

ErrorCheck = Callable[..., str]
Capture = pytest.CaptureFixture[str]

pytest.importorskip("pycocotools")
DENSE = pytest.mark.parametrize(("make", "task"), [(detector_bundle, "detect"), (segmenter_bundle, "segment")])


def flat(text: str) -> str:
    """A message without the terminal's line breaks."""
    return " ".join(text.split())


@DENSE
def test_a_front_is_of_classifiers(make: Any, task: str, fake_target: None, expect_error: ErrorCheck) -> None:
    said = expect_error(2, "pareto", make())
    assert f"a bundle of --task {task}; pareto's fronts are of top-1" in said
    assert "--record" not in said, "which such a bundle refuses"


def test_so_is_what_their_evaluations_are_refused_for(
    fake_target: None, fake_bundle: Path, tmp_path: Path, capfd: Capture, expect_error: ErrorCheck
) -> None:
    evaluate(capfd, detector_bundle(), "--data", pictures(), "--output", tmp_path / "detect")
    own = segmenter_bundle()
    document, _ = evaluate(capfd, own, "--data", own.parent / "data")
    (tmp_path / "segment.json").write_text(json.dumps(document))
    for place, task in ((tmp_path / "detect", "detect"), (tmp_path / "segment.json", "segment")):
        assert f"an evaluation of --task {task}; pareto's fronts are of top-1" in expect_error(2, "pareto", place)
    said = expect_error(2, "pareto", fake_bundle)
    assert "--record` puts one in" in said, "negative control: a classifier can have one"


@DENSE
def test_their_parts_are_refused_before_anything_is_timed(
    make: Any, task: str, fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "benchmark", lambda *_, **__: pytest.fail("timed before it was refused"))
    said = expect_error(2, "bench", make(), "--ops")
    assert "--ops tells the parts of a classifier" in said
    assert said.endswith("drop --ops, or that bundle")


def test_of_several_outputs_it_is_said_whose_bound_it_is(fake_target: None, capfd: Capture) -> None:
    manifest = read_manifest(detector_bundle())
    bounds: dict[str, float] = {}
    for diff in manifest.parity.diffs:
        bounds[diff.output] = max(bounds.get(diff.output, 0.0), diff.tolerance.atol)
    low, high = min(bounds, key=lambda name: bounds[name]), max(bounds, key=lambda name: bounds[name])
    assert bounds[high] > 10 * bounds[low], "one number for all would be no bound"
    capfd.readouterr()
    assert run(["verify", str(detector_bundle())]) == 0
    ends = f"from {bounds[low]:.2g} ({low}) to {bounds[high]:.2g} ({high})"
    said = flat(capfd.readouterr().err)
    assert f"on other pictures each output has a bound of its own, {ends}: they are in manifest.json" in said
    assert "the bound is" not in said
    ends = f"from {bounds[low]:.3g} ({low}) to {bounds[high]:.3g} ({high})"
    assert f"On other pictures each output has a bound of its own, {ends}" in (detector_bundle() / "README.md").read_text()


def test_of_one_output_the_bound_is_one(fake_target: None, capfd: Capture) -> None:
    own = segmenter_bundle()
    widest = max(diff.tolerance.atol for diff in read_manifest(own).parity.diffs)
    capfd.readouterr()
    assert run(["verify", str(own)]) == 0
    assert f"on other pictures the bound is {widest:.2g}." in flat(capfd.readouterr().err)
