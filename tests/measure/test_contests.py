"""`bench --against peers`: which bundles share their peers, what those are called, and the ratios of a contest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle.manifest import Manifest, QuantisationRecord, read_manifest
from edgevit_deploy.commands.bench.contests import contest_document, contest_lines, contest_table
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.baselines import Baseline
from edgevit_deploy.measure.contests import Contest
from edgevit_deploy.measure.make_contests import make_contests
from edgevit_deploy.measure.result import REGIMES, Benchmark
from edgevit_deploy.measure.subjects import Ready
from edgevit_deploy.spec import Precision
from edgevit_deploy.workbench import quiet
from tests.helpers.fakes import FakeExporter, FakeSession
from tests.measure.test_result import result

INT8 = FakeExporter.quantised["int8"].scheme


def subject(manifest: Manifest, label: str, precision: Precision, scheme: Scheme | None) -> Ready:
    rounded = QuantisationRecord(scheme=scheme, calibration="calibration.json", sqnr_db={}) if scheme else None
    manifest = replace(manifest, precision=precision, quantisation=rounded)
    artifact = Artifact(target="fake", path=Path(label), inputs=manifest.inputs, outputs=manifest.outputs, tools={})
    return Ready(bundle=Path(label), manifest=manifest, artifact=artifact, session_type=FakeSession, label=label)


def baseline(label: str) -> Baseline:
    artifact = Artifact(target="fake", path=Path(label), inputs=(), outputs=(), tools={})
    return Baseline(label=label, given="", artifact=artifact, noise_ratio=1.0)


@pytest.mark.parametrize(
    ("schemes", "names"),
    [
        ((INT8, INT8), {"MobileNetV2": INT8}),
        (
            (INT8, replace(INT8, activations="s8"), INT8),
            {
                "MobileNetV2 (fake int8, activations u8)": INT8,
                "MobileNetV2 (fake int8, activations s8)": replace(INT8, activations="s8"),
            },
        ),
        (
            (replace(INT8, floating=("head",)), INT8),
            {
                "MobileNetV2 (fake int8, floating [head])": replace(INT8, floating=("head",)),
                "MobileNetV2 (fake int8, floating [])": INT8,
            },
        ),
        ((None, INT8, None), {"MobileNetV2 (fake fp32)": None, "MobileNetV2 (fake int8)": INT8}),
    ],
)
def test_peers_are_shared_by_bundles_that_are_rounded_alike(
    fake_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schemes: tuple[Scheme | None, ...],
    names: dict[str, Scheme | None],
) -> None:
    made: list[Scheme | None] = []

    def peers(_: Any, plan: Any, names: Any) -> list[Baseline]:
        made.append(plan.scheme)
        return [baseline(name) for name in names]

    monkeypatch.setattr("edgevit_deploy.measure.make_contests.peers", peers)
    manifest = read_manifest(fake_bundle)
    subjects = [subject(manifest, str(n), "int8" if scheme else "fp32", scheme) for n, scheme in enumerate(schemes)]
    contests = make_contests(subjects, "peers", None, "MobileNetV2", 1, THIS_HOST, tmp_path, quiet)
    labels = [entry.label for contest in contests for entry in contest.baselines]
    assert dict(zip(labels, made, strict=True)) == names
    assert len(labels) == len(names)
    assert [s.label for contest in contests for s in contest.subjects if contest is contests[0]][:1] == ["0"]


@pytest.mark.parametrize("cpu_ms", [3.0, None])
def test_a_contest_has_ratios_of_cpu_time_too(fake_bundle: Path, cpu_ms: float | None) -> None:
    one = subject(read_manifest(fake_bundle), "ours", "fp32", None)
    contest = Contest(against="peers", subjects=(one,), baselines=(baseline("MobileNetV2"),), rejected=())
    ours = replace(result([10.0] * 20, label="ours"), cpu_ms=cpu_ms)
    results = (ours, replace(result([5.0] * 20, label="MobileNetV2"), cpu_ms=2.0))
    benchmark = Benchmark(regime=REGIMES["mixed"], seed=0, results=results, control=replace(ours, label="ours again"))
    standings: Any = contest_document(contest, benchmark)["standings"]
    ratio = None if cpu_ms is None else 1.5
    assert {entry["label"]: entry["cpu_ratio"] for entry in standings} == {"MobileNetV2": 1.0, "ours": ratio}
    table = contest_table(contest, benchmark)
    column = list(table.columns).index("by CPU time")
    assert {str(row[0]): str(row[column]) for row in table.rows} == {
        "MobileNetV2": "",
        "ours": "1.500" if cpu_ms else "-",
    }
    assert any("differs by 0.0% in it" in line for line in contest_lines(contest, benchmark)) is (cpu_ms is not None)
