"""The first class is told as a count of probes, not as a share that hides how few they are."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import Tolerance
from edgevit_deploy.parity.gate import OutputDiff, ParityReport
from edgevit_deploy.parity.noisiest import KEPT
from tests.helpers.fakes import FAKE_COMMAND

DIFF = OutputDiff(
    output="logits",
    batch=1,
    image_size=(32, 32),
    probes=108,
    max_abs=0.0,
    worst_probe="noise",
    tolerance=Tolerance(atol=1.0, k=4.0, noise=0.25, reason="a test"),
    top1_agreement=1.0,
    smallest_margin=0.5,
    sqnr_db=None,
    cosine=1.0,
)


@pytest.mark.parametrize("agreeing", [0, 1, 53, 107, 108])
def test_a_share_is_the_count_that_it_was_made_of(agreeing: int) -> None:
    assert replace(DIFF, top1_agreement=agreeing / 108).top1 == f"{agreeing} of 108"


def test_a_report_counts_all_comparisons() -> None:
    worse = replace(DIFF, probes=40, top1_agreement=39 / 40)
    none = replace(DIFF, top1_agreement=None)
    assert ParityReport(status="passed", runtime="x", diffs=(DIFF, worse, none)).top1 == "147 of 148"
    assert ParityReport(status="passed", runtime="x", diffs=(none,)).top1 == ""
    assert ParityReport(status="built, not run", runtime="x", diffs=()).top1 == ""


def test_probes_that_run_at_several_batch_sizes_are_counted_once() -> None:
    """At the batch size with the fewest; other probes, and those of another size, are counted too."""
    one, three = replace(DIFF, probes=8, top1_agreement=1.0), replace(DIFF, probes=8, batch=3, top1_agreement=6 / 8)
    noisiest = replace(DIFF.tolerance, atol=3.0, noise=0.75)
    near = [replace(diff, probes=2, tolerance=noisiest, top1_agreement=1.0) for diff in (one, three)]
    larger = [replace(diff, image_size=(64, 128)) for diff in (one, *near)]
    for diffs in ([one, three, *near], [three, one, *near]):
        assert ParityReport(status="passed", runtime="x", diffs=tuple(diffs)).top1 == "8 of 10"
        assert ParityReport(status="passed", runtime="x", diffs=(*diffs, *larger)).top1 == "18 of 20"


def test_a_free_batch_is_no_reason_to_count_twice(fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*FAKE_COMMAND, "--batch", "dynamic", "--output", str(tmp_path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"][0]["top1"] == f"{8 + KEPT} of {8 + KEPT}"


@pytest.mark.parametrize(("share", "said"), [(math.nan, "0 of 108"), (1e308, "108 of 108"), (-3.0, "0 of 108")])
def test_a_manifest_may_claim_any_number(share: float, said: str) -> None:
    assert replace(DIFF, top1_agreement=share).top1 == said


def test_a_conversion_its_bundle_and_its_page_tell_the_count(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counted = f"{8 + KEPT} of {8 + KEPT}"
    assert run([*FAKE_COMMAND, "--output", str(tmp_path), "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["rows"][0]["top1"] == counted
    assert counted in captured.err
    assert "100%" not in captured.err
    assert f"The first class is the truth's on {counted} probes." in (tmp_path / "fake-fp32" / "README.md").read_text()
    assert run(["report", str(tmp_path / "fake-fp32"), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert f'<td data-label="top-1 agrees" class="number">{counted}</td>' in page
