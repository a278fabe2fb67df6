"""The report page shows latency and size of float and eight bits side by side, from a benchmark that is read with distrust."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgevit_deploy.bundle.manifest import QuantisationRecord, read_manifest
from edgevit_deploy.commands.bench.view import document
from edgevit_deploy.commands.report.costs import cost_view
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.bench import BenchRun
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from edgevit_deploy.outside.text import json_bytes
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.report_page import Page, report

ErrorCheck = Callable[..., str]
MACHINE = Machine(
    system="", cpu="a fake CPU", cores=2, cores_for_us=2, governor=None, load_average_1min=None, python="", libraries={}
)


@pytest.fixture
def rounded(fake_bundle: Path) -> Path:
    """The same bundle as if its weights were of eight bits, in a fourth of the bytes."""
    bundle = Path(shutil.copytree(fake_bundle, fake_bundle.with_name("fake-w8")))
    content = (bundle / "model.fake").read_bytes()
    (bundle / "model.fake").write_bytes(content[: len(content) // 4])
    rehash(bundle)
    rounding = QuantisationRecord(scheme=Scheme(activations="none"), calibration=None, sqnr_db={})
    edit_manifest(bundle, lambda document: document.update(precision="w8", quantisation=msgspec.to_builtins(rounding)))
    return bundle


def timed(folder: Path, latencies_ms: dict[Path, float]) -> Path:
    """Write what `bench --output` would, had it measured these latencies, with every fifth run a tenth slower."""
    results = tuple(
        BenchmarkResult(
            label=str(bundle),
            runtime="fake runtime",
            threads=1,
            batch=1,
            image_size=(64, 64),
            load_ms=1.0,
            first_ms=1.0,
            raw_ms=tuple(latency_ms * (1.1 if run % 5 == 0 else 1) for run in range(80)),
            calls_per_block=4,
            sittings=4,
            cpu_ms=None,
            size_bytes=1,
            peak_memory_bytes=None,
            own_process=False,
        )
        for bundle, latency_ms in latencies_ms.items()
    )
    benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=replace(results[0], label="control"))
    run = BenchRun(
        machine=MACHINE,
        benchmark=benchmark,
        contests=(),
        profiler_notes=(),
        profiles={},
        skipped=(),
        bundles={str(bundle): identity_of(read_manifest(bundle)) for bundle in latencies_ms},
    )
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_bytes(json_bytes(document(run)))
    return folder


def bars(page: str) -> list[tuple[str, float]]:
    """Each bar of the charts: what it is called for people who cannot see it, and its length."""
    page_ = Page(page)
    labels = [value for tag, name, value in page_.attributes if (tag, name) == ("svg", "aria-label") if " of " in value]
    at = [place for place, entry in enumerate(page_.attributes) if entry[:2] == ("rect", "class") and "cost-bar" in entry[2]]
    lengths = [next(float(value) for _, name, value in page_.attributes[place:] if name == "width") for place in at]
    return list(zip(labels, lengths, strict=True))


def test_float_and_eight_bits_stand_side_by_side(fake_bundle: Path, rounded: Path, tmp_path: Path) -> None:
    bench = timed(tmp_path / "bench", {fake_bundle: 9.0, rounded: 4.0})
    page = report(fake_bundle, rounded, flags=("--bench", str(bench)))
    assert [(label.partition(":")[0], round(length, 1)) for label, length in bars(page)] == [
        ("Latency of fp32", 100.0),
        ("Latency of w8", 44.4),
        ("Size of fp32", 100.0),
        ("Size of w8", 25.0),
    ]
    text = Page(page).text
    for expected in (
        "fake, edgevit_xxs, 64 x 64",
        "9.00 ms",
        "2.25 x as fast as fp32 (2.25 to 2.25)",
        "0.25 x fp32",
        "a fake CPU",
    ):
        assert expected in text, expected
    assert page.replace(str(bench), "") == report(fake_bundle, rounded, flags=("--bench", str(bench / "bench.json")))
    moved = fake_bundle.rename(tmp_path / "moved")
    assert "2.25 x as fast as fp32" in Page(report(moved, rounded, flags=("--bench", str(bench)))).text, "known by its hash"


def test_what_was_not_timed_says_so(fake_bundle: Path, rounded: Path, tmp_path: Path) -> None:
    page = report(fake_bundle, rounded)
    assert [label.partition(":")[0] for label, _ in bars(page)] == ["Size of fp32", "Size of w8"]
    assert "bench fake-fp32 fake-w8 --output DIR` measures latencies" in Page(page).text
    bench = timed(tmp_path / "bench", {fake_bundle: 9.0})
    page = report(fake_bundle, rounded, flags=("--bench", str(bench)))
    assert bars(page)[1] == ("Latency of w8: not timed", 0.0)
    assert "x as fast" not in page


def test_a_lone_bundle_is_compared_with_nothing(fake_bundle: Path, tmp_path: Path) -> None:
    assert "Latency and size" not in report(fake_bundle)
    bench = timed(tmp_path / "bench", {fake_bundle: 9.0})
    assert "9.00 ms" in Page(report(fake_bundle, flags=("--bench", str(bench)))).text


def test_bundles_of_one_precision_are_told_apart(fake_bundle: Path) -> None:
    other = Path(shutil.copytree(fake_bundle, fake_bundle.with_name("tuned")))
    labels = [label for label, _ in bars(report(fake_bundle, other))]
    assert [label.partition(":")[0] for label in labels] == ["Size of fp32, fake-fp32", "Size of fp32, tuned"]


@pytest.mark.parametrize(
    ("asked", "title"), [({"takes": "image"}, "64 x 64, --input image"), ({"batch": "dynamic"}, "64 x 64, batch dynamic")]
)
def test_files_that_are_asked_for_otherwise_are_not_compared(fake_bundle: Path, asked: dict[str, str], title: str) -> None:
    """Two of each, since one alone has no chart."""
    named = {name: Path(shutil.copytree(fake_bundle, fake_bundle.with_name(name))) for name in ("twin", "other", "others-twin")}
    bundles = [(path.name, path.name, read_manifest(path)) for path in (fake_bundle, *named.values())]
    changed = [
        (anchor, label, replace(manifest, conversion=replace(manifest.conversion, **asked)) if "other" in label else manifest)
        for anchor, label, manifest in bundles
    ]
    view = cost_view(changed, None)
    assert view is not None
    assert [[bar.anchor for bar in group.size] for group in view.groups] == [["fake-fp32", "twin"], ["other", "others-twin"]]
    assert view.groups[0].title == "fake, edgevit_xxs, 64 x 64"
    assert view.groups[1].title.endswith(title)


@pytest.mark.parametrize("graphs", [("original", "deploy"), ("deploy", "original")])
def test_the_deploy_graph_is_what_others_are_compared_with(fake_bundle: Path, graphs: tuple[Any, Any]) -> None:
    manifest = read_manifest(fake_bundle)
    bundles = [(graph, graph, replace(manifest, conversion=replace(manifest.conversion, graph=graph))) for graph in graphs]
    view = cost_view(bundles, None)
    assert view is not None
    assert [bar.anchor for bar in view.groups[0].size if bar.base] == ["deploy"]


def test_a_difference_within_the_noise_is_none(fake_bundle: Path, rounded: Path, tmp_path: Path) -> None:
    bench = timed(tmp_path / "bench", {fake_bundle: 9.0, rounded: 9.0})
    assert (
        "1.00 x as fast as fp32 (1.00 to 1.00): no difference"
        in Page(report(fake_bundle, rounded, flags=("--bench", str(bench)))).text
    )


def _earlier(document: dict[str, Any]) -> None:
    del document["bundles"]


def _half_a_block(document: dict[str, Any]) -> None:
    document["results"][0]["raw_ms"] = [1.0] * 79


def _no_time(document: dict[str, Any]) -> None:
    document["results"][0]["raw_ms"][0] = 0


def _no_blocks(document: dict[str, Any]) -> None:
    document["control"]["calls_per_block"] = 0


def _nothing(document: dict[str, Any]) -> None:
    document["results"] = []


def _another(document: dict[str, Any]) -> None:
    document["bundles"] = dict.fromkeys(document["bundles"], "0" * 64)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_earlier, "no bench.json of this version"),
        (_half_a_block, "79 runs in blocks of 4"),
        (_no_time, "a run that took no time"),
        (_no_blocks, "80 runs in blocks of 0"),
        (_nothing, "0 results"),
        (_another, "none of these bundles was timed there"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(
    fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    path = timed(tmp_path / "bench", {fake_bundle: 9.0}) / "bench.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    assert says in expect_error(2, "report", fake_bundle, "--bench", path)
    assert not (fake_bundle.parent / "report.html").exists()


@pytest.mark.parametrize("place", ["nothing", "empty", "text.json"])
def test_no_benchmark_is_refused(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("[" * 5000)
    assert "bench BUNDLE... --output DIR` writes one" in expect_error(2, "report", fake_bundle, "--bench", tmp_path / place)
