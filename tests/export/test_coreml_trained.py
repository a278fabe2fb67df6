"""Core ML in eight bits, the trained XXS: the gate passes what is right, and fails what rounds otherwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.calibration.choice import CalibrationChoice, JudgeChoice
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import Workbench, open_workbench
from tests.helpers.coreml_rounding import (
    copy_of,
    double_the_last_scale,
    halve_the_last_scale,
    round_to_seven_bits,
    tree,
    with_file,
)
from tests.helpers.tiers import slow_or_nightly
from tests.helpers.trained import WEIGHTS, write_pictures

OPERATORS = 84
"""Convolutions and linear maps of XXS, but for those that stand for other operators."""

EXPORTER = THIS_HOST.find_exporter("coreml")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    origin = ModelOrigin(model=None, weights=WEIGHTS, num_classes=None, image_size=None, labels=None, seed=None, preprocess=None)
    calibration = CalibrationChoice(pictures="synthetic")
    judge = JudgeChoice(pictures=write_pictures(tmp_path_factory.mktemp("judge"), "val", 2))
    with open_workbench(load_model(origin), THIS_HOST, calibration=calibration, judge=judge) as opened:
        yield opened


@pytest.fixture(scope="module")
def integers(bench: Workbench) -> Artifact:
    return bench.build(EXPORTER.plan(bench.model.spec, precision="int8"))


@pytest.mark.slow
def test_integers_pass_the_gate(bench: Workbench, integers: Artifact) -> None:
    assert integers.facts["rounded"] == {"weights_in_eight_bits": OPERATORS, "inputs_in_eight_bits": OPERATORS}
    report = bench.judge(integers, bench.truths(EXPORTER.plan(bench.model.spec, precision="int8")))
    assert report.verdict == "passed"
    assert [diff.tolerance.k for diff in report.diffs] == [2, 1.1]


@pytest.mark.slow
def test_decisions_are_judged_without_a_mac(bench: Workbench, integers: Artifact) -> None:
    """20 pictures show no 98 %, however many of them agree, and a network that classifies loses few of them."""
    decisions = bench.decide(integers, EXPORTER.plan(bench.model.spec, precision="int8"))
    assert decisions is not None
    assert decisions.sample is not None
    assert (decisions.pictures, decisions.sample.of) == (20, 20)
    assert decisions.agreeing >= 18
    assert not decisions.ok
    assert decisions.failed, "all pictures of the folder were judged, and more can be given"
    assert "by MIL reference evaluation" in decisions.sentence()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "shows"), [(halve_the_last_scale, True), (double_the_last_scale, False), (round_to_seven_bits, False)]
)
def test_the_error_shows_what_is_cut_off_and_what_is_stored_shows_every_fault(
    bench: Workbench, integers: Artifact, tmp_path: Path, fault: Any, shows: bool
) -> None:
    """Coarser steps at one of 84 operators add too little to the error of all: 1.02 becomes 1.07, cut off values make it 1.34."""
    plan = EXPORTER.plan(bench.model.spec, precision="int8")
    faulty = with_file(integers, copy_of(integers.path, tmp_path, fault))
    report = bench.judge(faulty, bench.truths(plan)[1:])
    assert (report.verdict == "failed") == shows
    with pytest.raises(ExportError, match="does not round as it should"):
        bench.rounded.check_stored(EXPORTER, faulty, bench.rounded.calibrated(plan))


@slow_or_nightly("coreml")
@pytest.mark.parametrize("precision", ["w8", "palette8"])
def test_rounded_weights_pass_the_gate(bench: Workbench, precision: Any) -> None:
    plan = EXPORTER.plan(bench.model.spec, precision=precision)
    artifact = bench.build(plan)
    assert artifact.facts["rounded"] == {"weights_in_eight_bits": OPERATORS, "inputs_in_eight_bits": 0}
    report = bench.judge(artifact, bench.truths(plan))
    assert report.verdict == "passed"
    assert report.diffs[-1].noise_ratio == pytest.approx(1, abs=0.05)


@slow_or_nightly("coreml")
def test_the_same_ranges_give_the_same_bytes(bench: Workbench, integers: Artifact) -> None:
    again = bench.build(EXPORTER.plan(bench.model.spec, precision="int8"))
    assert tree(again.path) == tree(integers.path)
