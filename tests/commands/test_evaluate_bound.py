"""Which bound an evaluation holds differences against: the one that the file was proven within, and no wider than is allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from tests.helpers import trained
from tests.helpers.bundles import edit_manifest
from tests.helpers.evaluation import pictures

Capture = pytest.CaptureFixture[str]
FAILED = "it failed parity when it was made"


def evaluate(bundle: Path, capfd: Capture) -> tuple[dict[str, Any], str]:
    """Return the bundle's row, and what is said to people."""
    capfd.readouterr()
    assert run(["evaluate", str(bundle), "--data", str(pictures(1)), "--weights", str(trained.WEIGHTS), "--json"]) == 0
    captured = capfd.readouterr()
    row: dict[str, Any] = json.loads(captured.out)["rows"][1]
    return row, captured.err


def status(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["parity"].update(status=value)


def over_the_bound(document: dict[str, Any]) -> None:
    document["parity"]["diffs"][0]["max_abs"] = 1.0


def no_comparison(document: dict[str, Any]) -> None:
    document["parity"]["diffs"] = []


@pytest.mark.parametrize(
    ("change", "noted"),
    [(status("failed"), True), (over_the_bound, True), (no_comparison, True), (status("built, not run"), False)],
    ids=["failed", "over the bound", "no comparison", "not run"],
)
def test_a_file_that_was_not_proven_has_no_bound(
    classifier: Path, capfd: Capture, change: Callable[[dict[str, Any]], None], noted: bool
) -> None:
    row, said = evaluate(classifier, capfd)
    assert 0 < row["pairing"]["largest_difference"] < row["pairing"]["bound"], "the control"
    assert FAILED not in said
    edit_manifest(classifier, change)
    row, said = evaluate(classifier, capfd)
    assert [row["pairing"][name] for name in ("bound", "over_bound", "flips_within_bound")] == [None, None, None]
    assert (FAILED in said) == (FAILED in row["notes"]) == noted


def test_a_manifest_cannot_grant_itself_a_wide_bound(classifier: Path, capfd: Capture) -> None:
    before, _ = evaluate(classifier, capfd)

    def widen(document: dict[str, Any]) -> None:
        for diff in document["parity"]["diffs"]:
            diff["tolerance"]["atol"] = 1000.0

    edit_manifest(classifier, widen)
    after, _ = evaluate(classifier, capfd)
    assert before["pairing"]["bound"] <= after["pairing"]["bound"] < 0.1
