"""`bench --against ablations`: what each network is, how it stands beside the published one, and what is not timed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy import create_model
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.commands.bench.ablations import ablation_columns, ablation_rows
from edgevit_deploy.commands.bench.contests import contest_lines, contest_table
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.ablations import UNABLATED, facts_of
from edgevit_deploy.measure.cost import network_cost
from edgevit_deploy.measure.make_contests import make_contests
from edgevit_deploy.measure.result import REGIMES, Benchmark
from edgevit_deploy.model.variants import ABLATIONS, BASELINE, find_variant
from edgevit_deploy.workbench import Passed, Refused, Workbench, quiet
from tests.commands.test_bench import result
from tests.helpers.bundles import change_model
from tests.helpers.fakes import FakeExporter
from tests.helpers.report_page import Page, report
from tests.measure.test_contests import subject

pytestmark = pytest.mark.usefixtures("no_process_for_memory")

AGAINST = ("--against", "ablations", "--runs", "5", "--regime", "mixed")
FEW = ("edgevit_xxs_lsa", "edgevit_xxs_without_la", "edgevit_xxs_center")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were three ablations only."""
    monkeypatch.setattr("edgevit_deploy.measure.ablations.ABLATIONS", FEW)


@pytest.mark.parametrize("name", [BASELINE.variant, *ABLATIONS])
def test_the_facts_are_the_networks_own(name: str) -> None:
    size = (64, 96)
    spec = replace(find_variant(name), num_classes=10).with_image_size(size)
    facts = facts_of(spec)
    network = create_model(name, num_classes=10, image_size=size)
    assert facts.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert facts.macs == network_cost(spec, size).macs, "the formula is another way to count them"
    assert (facts.variant, facts.depths) == (name, spec.depths)
    assert (facts.replaced == UNABLATED) is (name == BASELINE.variant)


def test_each_ablation_replaces_something_else() -> None:
    said = {name: facts_of(spec.with_image_size((32, 32))).replaced for name, spec in ABLATIONS.items()}
    assert len(set(said.values())) == len(ABLATIONS)
    for name, word in {"without_la": "w/o LA", "lsa": "LSA", "center": "center", "without_lp": "w/o LP", "avg": "avg"}.items():
        assert word in said[f"edgevit_xxs_{name}"]


@pytest.mark.slow
def test_one_that_is_refused_or_wrong_is_named_and_the_others_are_timed(
    fake_bundle: Path, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    export = FakeExporter.export

    def with_faults(self: FakeExporter, module: Any, plan: ExportPlan[Any], folder: Path) -> Artifact:
        if plan.spec.variant == "edgevit_xxs_lsa":
            raise ExportError("no operator for groups")
        if plan.spec.variant == "edgevit_xxs_without_la":
            plan = replace(plan, options=replace(plan.options, fault="bias"))
        return export(self, module, plan, folder)

    monkeypatch.setattr(FakeExporter, "export", with_faults)
    page = tmp_path / "bench"
    capfd.readouterr()
    assert run(["bench", str(fake_bundle), *AGAINST, "--output", str(page), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert [entry["label"] for entry in document["results"]] == [str(fake_bundle), "edgevit_xxs_center"]
    (contest,) = document["against"]
    assert (contest["against"], contest["base"]) == ("ablations", str(fake_bundle))
    rejected = {entry["label"]: entry["reason"] for entry in contest["rejected"]}
    assert rejected["edgevit_xxs_lsa"] == "no operator for groups"
    assert rejected["edgevit_xxs_without_la"].startswith("parity failed")
    assert "not timed: edgevit_xxs_lsa: no operator for groups" in captured.err
    assert set(contest["networks"]) == {str(fake_bundle), *FEW}
    for entry in contest["standings"]:
        median_ms = next(row["median_ms"] for row in document["results"] if row["label"] == entry["label"])
        assert entry["ms_a_gmac"] == pytest.approx(median_ms / (contest["networks"][entry["label"]]["macs"] / 1e9))
    assert "center sampler" in (page / "bench.md").read_text()
    assert ">edgevit_xxs_center</text>" in (page / "bench.svg").read_text()
    text = Page(report(fake_bundle, flags=("--bench", str(page)))).text
    assert f"Ablations beside {fake_bundle}" in text
    assert "center sampler" in text
    damaged = json.loads((page / "bench.json").read_text())
    damaged["against"][0]["base"] = "another"
    (page / "bench.json").write_text(json.dumps(damaged))
    assert run(["report", str(fake_bundle), "--bench", str(page), "--output", str(tmp_path / "page.html")]) == 2
    assert "which it has not timed" in capfd.readouterr().err


def test_a_row_has_what_a_network_takes_beside_the_published_one() -> None:
    networks = {"ours": facts_of(BASELINE), "edgevit_xxs_lsa": facts_of(ABLATIONS["edgevit_xxs_lsa"])}
    results = (result("ours", 10.0), result("edgevit_xxs_lsa", 8.0), result("a stranger", 1.0))
    benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=result("again", 10.0))
    lsa, ours = ablation_rows(networks, "ours", benchmark)
    columns = ablation_columns(networks, "ours")
    assert ours[0] == "edgevit_xxs"
    cells = dict(zip(columns, lsa, strict=True))
    ratio = "0.800 (0.800 to 0.800)"
    assert (cells["network"], cells["x edgevit_xxs (95 %)"], cells["verdict"]) == ("edgevit_xxs_lsa", ratio, "faster")
    assert cells["median ms (95 %)"] == "8.00 (8.00 to 8.00)"
    assert float(str(cells["ms a GMAC"])) == pytest.approx(8.0 / networks["edgevit_xxs_lsa"].macs * 1e9, abs=0.01)


@pytest.mark.parametrize("bundles", [1, 2])
def test_every_bundle_has_its_own(
    fake_bundle: Path, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundles: int
) -> None:
    """Each is converted as its bundle was; here nothing is converted, and one is refused."""
    plans: list[ExportPlan[Any]] = []

    def attempt(_: Workbench, plan: ExportPlan[Any]) -> Passed | Refused:
        plans.append(plan)
        if plan.spec.variant == "edgevit_xxs_lsa":
            return Refused(reason="no operator for groups")
        artifact = Artifact(target="fake", path=tmp_path, inputs=(), outputs=(), tools={})
        return Passed(artifact=artifact, worst=worst, widest=worst)

    manifest = read_manifest(fake_bundle)
    worst = manifest.parity.diffs[0]
    monkeypatch.setattr(Workbench, "attempt", attempt)
    subjects = [subject(manifest, f"bundle {number}", "fp32", None) for number in range(bundles)]
    contests = make_contests(subjects, "ablations", None, None, 1, THIS_HOST, tmp_path, quiet)
    assert [plan.spec.variant for plan in plans] == [*FEW] * bundles
    assert {(plan.target, plan.image_size, plan.spec.num_classes) for plan in plans} == {("fake", (64, 64), 10)}
    for contest, own in zip(contests, subjects, strict=True):
        suffix = f" ({own.label})" if bundles > 1 else ""
        timed = [f"edgevit_xxs_without_la{suffix}", f"edgevit_xxs_center{suffix}"]
        assert [entry.label for entry in contest.baselines] == timed
        assert set(contest.networks) == {own.label, f"edgevit_xxs_lsa{suffix}", *timed}
        results = (result(own.label, 10.0), result(timed[0], 8.0), result(timed[1], 10.0))
        benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=result("again", 10.0))
        assert contest.base(benchmark).label == own.label
        assert f"not timed: edgevit_xxs_lsa{suffix}: no operator for groups" in contest_lines(contest, benchmark)
        assert str(contest_table(contest, benchmark).rows[0][0]) == "edgevit_xxs_without_la"


def test_only_the_network_that_they_are_of_has_them(fake_bundle: Path, rounded: Path, expect_error: Callable[..., str]) -> None:
    message = expect_error(2, "bench", rounded, *AGAINST)
    assert "is int8, and the ablations have no ranges" in message
    assert "--weights is for --against original" in expect_error(2, "bench", fake_bundle, *AGAINST, "--weights", "w.pth")
    change_model(fake_bundle, variant="edgevit_c36_d1_1_1_1", depths=[1, 1, 1, 1])
    message = expect_error(2, "bench", fake_bundle, *AGAINST)
    assert "is edgevit_c36_d1_1_1_1, and the ablations are of the classifier edgevit_xxs; give a bundle of that" in message
