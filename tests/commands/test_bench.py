"""`bench` beyond bundles against each other: rivals in the same run, time by part, the paper's protocol, and what it writes."""

import dataclasses
import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.commands.bench.plot import svg_plot
from edgevit_deploy.errors import ExportError
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from edgevit_deploy.session import OpTime
from tests.helpers import fakes
from tests.helpers.bundles import change_model

pytestmark = pytest.mark.usefixtures("no_process_for_memory")

ErrorCheck = Callable[..., str]
QUICK = ("--runs", "5", "--regime", "mixed", "--json")


def bench(capfd: pytest.CaptureFixture[str], *tokens: object) -> tuple[dict[str, Any], str]:
    capfd.readouterr()
    assert run(["bench", *map(str, tokens), *QUICK]) == 0
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


def result(label: str, median_ms: float, runtime: str = "fake runtime") -> BenchmarkResult:
    """A result of 20 blocks without noise."""
    return BenchmarkResult(
        label=label,
        runtime=runtime,
        threads=1,
        batch=1,
        image_size=(64, 64),
        load_ms=1.0,
        first_ms=1.0,
        raw_ms=(median_ms,) * 80,
        calls_per_block=4,
        sittings=4,
        cpu_ms=None,
        size_bytes=1,
        peak_memory_bytes=None,
        own_process=False,
    )


class TestAgainstOriginal:
    @pytest.mark.slow
    def test_the_naive_export_runs_along(self, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        document, printed = bench(capfd, fake_bundle, "--against", "original")
        assert [entry["label"] for entry in document["results"]] == [str(fake_bundle), "plain conversion"]
        (contest,) = document["against"]
        assert contest["base"] == str(fake_bundle)
        assert {entry["label"] for entry in contest["standings"]} == {str(fake_bundle), "plain conversion"}
        assert contest["best_naive_over_bundle"]["label"] == "plain conversion"
        assert f"best naive export (plain conversion) / {fake_bundle} = " in printed
        assert "A/A" in printed

    @pytest.mark.slow
    def test_several_bundles_have_each_their_own(self, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        other = shutil.copytree(fake_bundle, fake_bundle.parent / "other")
        document, _ = bench(capfd, fake_bundle, other, "--against", "original")
        assert [contest["bundles"] for contest in document["against"]] == [[str(fake_bundle)], [str(other)]]
        assert len({entry["label"] for entry in document["results"]}) == 4

    @pytest.mark.slow
    def test_one_that_cannot_be_made_is_said_and_not_timed(
        self, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise ExportError("no such operator")

        monkeypatch.setattr(fakes.FakeExporter, "export", refuse)
        document, printed = bench(capfd, fake_bundle, "--against", "original")
        assert [entry["label"] for entry in document["results"]] == [str(fake_bundle)]
        (contest,) = document["against"]
        assert contest["best_naive_over_bundle"] is None
        assert contest["rejected"] == [{"label": "plain conversion", "reason": "no such operator"}]
        assert "not timed: plain conversion: no such operator" in printed

    def test_a_checkpoint_is_asked_for(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        change_model(fake_bundle, random_seed=None, weights_sha256="0" * 64)
        assert "add --weights FILE" in expect_error(2, "bench", fake_bundle, "--against", "original")

    def test_other_weights_are_refused(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        change_model(fake_bundle, norm_eps=1e-3)
        assert "these are not the bundle's weights" in expect_error(2, "bench", fake_bundle, "--against", "original")

    def test_weights_without_a_use_are_refused(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        assert "--weights is for --against original" in expect_error(2, "bench", fake_bundle, "--weights", "w.pth")

    def test_so_is_a_peer_and_one_that_there_is_not(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        assert "--peer is for --against peers" in expect_error(2, "bench", fake_bundle, "--peer", "MobileNetV2")
        message = expect_error(2, "bench", fake_bundle, "--against", "peers", "--peer", "MobileNetV1")
        assert "--peer MobileNetV1: no such network" in message


@pytest.mark.slow
def test_peers_stand_as_multiples_of_mobilenet_v2(
    fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevit_deploy.measure.make_contests.PEERS", ("MobileNetV2", "DeiT-Ti"))
    document, printed = bench(capfd, fake_bundle, "--against", "peers")
    (contest,) = document["against"]
    assert contest["base"] == "MobileNetV2"
    ratios = {entry["label"]: entry["ratio"] for entry in contest["standings"]}
    assert set(ratios) == {str(fake_bundle), "MobileNetV2", "DeiT-Ti"}
    assert ratios["MobileNetV2"] == 1
    medians_ms = {entry["label"]: np.median(entry["raw_ms"]) for entry in document["results"]}
    assert ratios["DeiT-Ti"] == pytest.approx(medians_ms["DeiT-Ti"] / medians_ms["MobileNetV2"])
    cpu_ms = {entry["label"]: entry["cpu_ms"] for entry in document["results"]}
    for entry in contest["standings"]:
        assert entry["cpu_ratio"] == pytest.approx(cpu_ms[entry["label"]] / cpu_ms["MobileNetV2"])
    assert "nobody rewrote their graphs" in printed


def test_comparisons_are_with_any_file_of_the_run() -> None:
    results = (result("a", 10.0), result("b", 20.0), result("c", 5.0))
    benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=result("a again", 10.0))
    comparison = benchmark.compare(results[2], results[1])
    assert (comparison.label, comparison.ratio, comparison.verdict) == ("c", 0.25, "faster")
    assert benchmark.compare(results[1], results[1]).verdict == "no difference"


class TestOps:
    @pytest.mark.slow
    def test_time_is_told_by_part(
        self, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ops = (
            OpTime(name="network.blocks1.0.LocalAgg.conv1", kind="Conv", time_ms=3.0),
            OpTime(name="x", kind="Add", time_ms=1.0),
        )
        monkeypatch.setattr(fakes.FakeSession, "profile", lambda *_: ops)
        document, printed = bench(capfd, fake_bundle, "--ops")
        parts = {part["part"]: part for part in document["profiles"][str(fake_bundle)]["parts"]}
        assert parts["LocalAgg"]["share"] == 0.75
        assert parts["LocalAgg"]["macs"] > 1e6
        assert 0 < parts["LocalAgg"]["peak_share"] < 1
        assert parts["between the parts"]["time_ms"] == 1.0
        assert [kind["kind"] for kind in document["profiles"][str(fake_bundle)]["kinds"]] == ["Conv", "Add"]
        assert "from the runtime's own profiler, in a run of its own" in printed
        assert "time by part" in printed
        assert "time by kind" in printed

    @pytest.mark.slow
    def test_a_runtime_says_how_it_takes_times(
        self, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fakes.FakeSession, "profile", lambda *_: (OpTime(name="x", kind="Add", time_ms=1.0),))
        monkeypatch.setattr(fakes.FakeSession, "profiler_note", "fake: by hourglass")
        _, printed = bench(capfd, fake_bundle, "--ops")
        assert "from the runtime's own profiler (fake: by hourglass), in a run of its own" in printed

    @pytest.mark.parametrize("others", [(), ("--energy",), ("--against", "original")])
    def test_a_network_of_no_published_depths_is_refused_before_anything_is_measured(
        self,
        fake_target: None,
        small_bundle: Path,
        expect_error: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
        others: tuple[str, ...],
    ) -> None:
        measured = []
        for name in ("make_contests", "benchmark", "measure_host_energy"):
            monkeypatch.setattr(f"edgevit_deploy.measure.bench.{name}", lambda *_, name=name, **__: measured.append(name))
        monkeypatch.setattr("edgevit_deploy.measure.bench.find_meters", lambda: ())
        line = expect_error(2, "bench", small_bundle, "--ops", *others)
        assert f"--ops cannot tell the parts of {small_bundle} (no model 'edgevit_c36_d1_1_1_1'" in line
        assert line.endswith("drop --ops, or that bundle")
        assert measured == []

    @pytest.mark.slow
    def test_a_runtime_without_a_profiler_says_so(self, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        document, printed = bench(capfd, fake_bundle, "--ops")
        assert document["profiles"] == {str(fake_bundle): None}
        assert "no profiler that Python reaches" in printed


class TestPaperProtocol:
    @pytest.mark.slow
    def test_it_is_50_passes(self, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fakes.FakeExporter, "paper_protocol", True)
        assert run(["bench", str(fake_bundle), "--protocol", "paper", "--json"]) == 0
        captured = capfd.readouterr()
        (only,) = json.loads(captured.out)["results"]
        assert len(only["raw_ms"]) == 50
        assert only["mean_ms"] == pytest.approx(np.mean(only["raw_ms"]))
        assert "the paper's figure, the mean of 50 passes" in captured.err

    def test_another_target_is_refused(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        message = expect_error(2, "bench", fake_bundle, "--protocol", "paper")
        assert "times TorchScript lite in float32 with batch 1" in message
        assert "use `convert.py torchscript`" in message

    @pytest.mark.parametrize("flags", [("--runs", "50"), ("--regime", "steady"), ("--threads", "2")])
    def test_flags_that_would_change_it_are_refused(
        self, fake_bundle: Path, expect_error: ErrorCheck, flags: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edgevit_deploy.measure.machine._cores_for_us", lambda: 2)
        message = expect_error(2, "bench", fake_bundle, "--protocol", "paper", *flags)
        assert "drop --runs, --regime and --threads" in message


class TestFiles:
    @pytest.mark.slow
    def test_a_page_a_document_and_a_plot(self, fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        output = tmp_path / "new" / "folder"
        document, printed = bench(capfd, fake_bundle, "--against", "original", "--output", output)
        assert sorted(path.name for path in output.iterdir()) == ["bench.json", "bench.md", "bench.svg"]
        assert json.loads((output / "bench.json").read_text()) == document
        page = (output / "bench.md").read_text()
        for text in (
            f"python convert.py bench {fake_bundle}",
            "--against original",
            "## cost",
            "plain conversion",
            "A/A control",
        ):
            assert text in page, text
        assert "saved: " in printed
        ElementTree.fromstring((output / "bench.svg").read_text())

    def test_not_into_a_bundle(self, fake_bundle: Path, expect_error: ErrorCheck) -> None:
        assert "would then no longer verify" in expect_error(2, "bench", fake_bundle, "--output", fake_bundle / "inside")
        assert not (fake_bundle / "inside").exists()

    def test_not_over_a_file(self, fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
        (tmp_path / "taken").write_text("mine")
        assert "is a file; name a folder" in expect_error(2, "bench", fake_bundle, "--output", tmp_path / "taken")
        assert (tmp_path / "taken").read_text() == "mine"

    def test_bars_are_as_long_as_their_medians(self) -> None:
        results = [result("one & <two>", 10.0), result("long", 20.0, runtime="another"), dataclasses.replace(result("half", 5.0))]
        root = ElementTree.fromstring(svg_plot(results, "batch 1"))
        bars = [float(bar.get("width", "")) for bar in root.iter() if bar.get("class") == "bar"]
        texts = [text.text for text in root.iter() if text.tag.endswith("text")]
        assert bars == [pytest.approx(2 * bars[1]), bars[1], pytest.approx(4 * bars[1])]  # grouped: one, half, long
        assert texts[:3] == ["fake runtime", "one & <two>", "10.00 ms"]
        assert "another" in texts
