"""`bench --against fp32`: what a bundle in another precision gains over float32, in speed and in size."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.errors import ExportError
from tests.helpers import fakes
from tests.helpers.bundles import change_model

pytestmark = pytest.mark.usefixtures("no_process_for_memory")

QUICK = ("--against", "fp32", "--runs", "5", "--regime", "mixed")


@pytest.fixture
def int8(rounded: Path, tmp_path: Path) -> Path:
    """A copy of a bundle in int8, for one test."""
    return Path(shutil.copytree(rounded, tmp_path / "out" / "fake-int8"))


@pytest.fixture
def w8(int8: Path) -> Path:
    """The same network's bundle in w8."""
    assert run([*fakes.SMALL_COMMAND, "--precision", "w8", "--output", str(int8.parent)]) == 0
    return int8.with_name("fake-w8")


@pytest.mark.nightly
def test_bundles_of_one_network_share_one_file_in_float32(
    int8: Path, w8: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "bench"
    capfd.readouterr()
    assert run(["bench", str(int8), str(w8), *QUICK, "--output", str(page), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    results = {entry["label"]: entry for entry in document["results"]}
    assert list(results) == [str(int8), str(w8), "fp32"]
    (contest,) = document["against"]
    assert (contest["against"], contest["base"]) == ("fp32", "fp32")
    assert {gain["label"] for gain in contest["gains"]} == {str(int8), str(w8)}
    for gain in contest["gains"]:
        own, single = results[gain["label"]], results["fp32"]
        assert gain["ratio"] == pytest.approx(np.median(single["raw_ms"]) / np.median(own["raw_ms"]))
        assert gain["interval"][0] <= gain["ratio"] <= gain["interval"][1]
        assert gain["cpu_ratio"] == pytest.approx(single["cpu_ms"] / own["cpu_ms"])
        assert gain["size_share"] == pytest.approx(own["size_bytes"] / single["size_bytes"])
        sentence = f"{gain['label']} is {gain['ratio']:.2f} times as fast as fp32 (95 %: "
        assert sentence in captured.err
        assert sentence in (page / "bench.md").read_text().replace("\\", "")
    assert "--against fp32" in (page / "bench.md").read_text()
    assert ">fp32</text>" in (page / "bench.svg").read_text()


@pytest.mark.nightly
def test_each_network_has_its_own(int8: Path, w8: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change_model(w8, random_seed=1)
    capfd.readouterr()
    assert run(["bench", str(int8), str(w8), *QUICK, "--json"]) == 0
    contests = json.loads(capfd.readouterr().out)["against"]
    assert [len(contest["gains"]) for contest in contests] == [1, 1]
    assert {contest["base"] for contest in contests} == {f"fp32 ({bundle})" for bundle in (int8, w8)}


@pytest.mark.nightly
def test_where_float32_cannot_be_converted_the_bundle_stands_alone(
    int8: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(fakes.FakeExporter, "export", refuse)
    capfd.readouterr()
    assert run(["bench", str(int8), *QUICK, "--json"]) == 0
    captured = capfd.readouterr()
    (contest,) = json.loads(captured.out)["against"]
    assert (contest["gains"], contest["base"]) == ([], str(int8))
    assert "not timed: fp32: no such operator" in captured.err


def test_what_has_no_such_ratio_is_told_what_to_type(int8: Path, fake_bundle: Path, expect_error: Callable[..., str]) -> None:
    message = expect_error(2, "bench", int8, "--against", "original")
    assert "is int8; use --against fp32" in message
    message = expect_error(2, "bench", fake_bundle, *QUICK)
    assert "has it already; leave that bundle out, or use --against original" in message


def test_a_checkpoint_is_asked_for_and_must_be_the_bundles(int8: Path, expect_error: Callable[..., str]) -> None:
    change_model(int8, norm_eps=1e-3)
    assert "these are not the bundle's weights" in expect_error(2, "bench", int8, *QUICK)
    change_model(int8, random_seed=None, weights_sha256="0" * 64)
    message = expect_error(2, "bench", int8, *QUICK)
    assert "--against fp32 needs it too: add --weights FILE" in message
