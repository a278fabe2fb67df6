"""`tune`: which choices win, which are rejected, what is saved; with a fake target and mostly fake latencies."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.deploy.form import CHOICES, Form, read_form
from edgevit_deploy.errors import ExportError
from edgevit_deploy.measure.benchmark import Candidate
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from tests.helpers import fakes
from tests.helpers.small import tiny_weights


def latencies(by_form: Callable[[Form], float], built: dict[Path, Form]) -> Callable[..., Benchmark]:
    """A benchmark without a clock: the latency of a file is what `by_form` says of its form, within 0.1 %."""

    def timed(candidates: Sequence[Candidate], **_: Any) -> Benchmark:
        rng = np.random.default_rng(0)

        def result(candidate: Candidate) -> BenchmarkResult:
            median_ms = by_form(built[candidate.path])
            return BenchmarkResult(
                label=candidate.label,
                runtime="fake",
                threads=1,
                batch=1,
                image_size=(32, 32),
                load_ms=1.0,
                first_ms=1.0,
                raw_ms=tuple((median_ms * (1 + 0.001 * rng.random(40))).tolist()),
                calls_per_block=4,
                sittings=4,
                cpu_ms=None,
                size_bytes=1,
                peak_memory_bytes=None,
                own_process=False,
            )

        return Benchmark(regime=REGIMES["steady"], seed=0, results=tuple(map(result, candidates)), control=result(candidates[0]))

    return timed


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, fake_target: None) -> dict[Path, Form]:
    """Which form each file that the fake exporter wrote has."""
    recorded: dict[Path, Form] = {}
    export = fakes.FakeExporter.export

    def recording(self: Any, module: Any, plan: Any, folder: Path) -> Any:
        artifact = export(self, module, plan, folder)
        recorded[artifact.path] = plan.form
        return artifact

    monkeypatch.setattr(fakes.FakeExporter, "export", recording)
    return recorded


def only(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """Leave the other parts of a form as they are: each choice is a conversion."""
    monkeypatch.setattr("edgevit_deploy.measure.alternatives.CHOICES", {part: CHOICES[part] for part in CHOICES if part in parts})


def network() -> tuple[str, ...]:
    return ("--weights", str(tiny_weights()), "--image-size", "32")


def tune(tmp_path: Path, *more: str) -> dict[str, Any]:
    assert run(["tune", "fake", *network(), "--output", str(tmp_path), *more]) == 0
    return json.loads((tmp_path / "fake.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_choices_that_are_faster_win_even_when_they_depend_on_each_other(
    monkeypatch: pytest.MonkeyPatch, built: dict[Path, Form], tmp_path: Path
) -> None:
    """The slice pays at once, the tile only with convolved norms: it takes a second pass."""

    def by_form(form: Form) -> float:
        slow = 10.0 - (form.sampler == "slice") - (form.norm == "convolutions")
        return slow - (form.local_prop == "tile" and form.norm == "convolutions")

    only(monkeypatch, "local_prop", "sampler", "norm")
    monkeypatch.setattr("edgevit_deploy.measure.tune.benchmark", latencies(by_form, built))
    document = tune(tmp_path)
    assert document["differences_from_default"] == {"sampler": "slice", "norm": "convolutions", "local_prop": "tile"}
    assert read_form(tmp_path / "fake.toml").form == Form(sampler="slice", norm="convolutions", local_prop="tile")
    chosen = [(trial["pass_number"], trial["choice"]) for trial in document["trials"] if trial["chosen"]]
    assert chosen == [(1, "slice"), (1, "convolutions"), (2, "tile")]


@pytest.mark.slow
def test_nothing_wins_within_the_noise(monkeypatch: pytest.MonkeyPatch, built: dict[Path, Form], tmp_path: Path) -> None:
    monkeypatch.setattr("edgevit_deploy.measure.tune.benchmark", latencies(lambda form: 10.0, built))
    document = tune(tmp_path)
    assert document["differences_from_default"] == {}
    assert {trial["verdict"] for trial in document["trials"]} == {"no difference"}
    assert len(document["trials"]) == sum(len(choices) - 1 for choices in CHOICES.values())


@pytest.mark.slow
def test_what_fails_parity_or_cannot_be_converted_is_rejected_however_fast(
    monkeypatch: pytest.MonkeyPatch, built: dict[Path, Form], tmp_path: Path
) -> None:
    recording = fakes.FakeExporter.export

    def faulty(self: Any, module: Any, plan: Any, folder: Path) -> Any:
        if plan.form.sampler == "slice":
            raise ExportError("no slices here")
        if plan.form.norm == "mean":
            plan = dataclasses.replace(plan, options=fakes.FakeOptions(fault="bias"))
        return recording(self, module, plan, folder)

    only(monkeypatch, "sampler", "norm")
    monkeypatch.setattr(fakes.FakeExporter, "export", faulty)
    fast = latencies(lambda form: 1.0 if "slice" in form.choices().values() or form.norm == "mean" else 10.0, built)
    monkeypatch.setattr("edgevit_deploy.measure.tune.benchmark", fast)
    document = tune(tmp_path)
    assert document["differences_from_default"] == {}
    rejected = {trial["choice"]: trial["rejected"] for trial in document["trials"] if trial["rejected"]}
    assert set(rejected) == {"slice", "mean"}
    assert rejected["slice"] == "no slices here"
    assert rejected["mean"].startswith("parity failed")


@pytest.mark.slow
def test_the_winner_is_a_file_to_convert_by(monkeypatch: pytest.MonkeyPatch, built: dict[Path, Form], tmp_path: Path) -> None:
    only(monkeypatch, "attention")
    faster = latencies(lambda form: 9.0 if form.attention == "bmm" else 10.0, built)
    monkeypatch.setattr("edgevit_deploy.measure.tune.benchmark", faster)
    tune(tmp_path)
    winner = read_form(tmp_path / "fake.toml")
    assert winner.form == Form(attention="bmm")
    assert "convert.py tune fake" in winner.measured
    built.clear()
    assert run(["fake", *network(), "--form", str(tmp_path / "fake.toml"), "--output", str(tmp_path / "bundles")]) == 0
    assert list(built.values()) == [winner.form]


def test_update_is_refused_and_says_what_to_type_instead(
    fake_target: None, expect_error: Callable[..., str], tmp_path: Path
) -> None:
    message = expect_error(2, "tune", "fake", *network(), "--update", "--output", tmp_path)
    assert f"`convert.py fake --form {tmp_path / 'fake.toml'}`" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_really_times(monkeypatch: pytest.MonkeyPatch, fake_target: None, tmp_path: Path) -> None:
    """Without fakes in the clock: the figures are finite, every trial has a verdict."""
    only(monkeypatch, "sampler", "pool")
    document = tune(tmp_path, "--runs", "20")
    assert {trial["choice"] for trial in document["trials"]} >= {"slice", "depthwise", "two_axes"}
    assert all(trial["ratio"] > 0 and trial["verdict"] for trial in document["trials"])
    assert document["final"][-1]["label"] == "original graph"


@pytest.mark.parametrize(
    ("tokens", "code", "message"),
    [
        (("tune", "fakee"), 2, "no target 'fakee'"),
        (("tune", "fake", "--model", "edgevit_xxs", "--image-size", "dynamic"), 2, "tune times one shape"),
        (("tune", "fake", "--runs", "3"), 2, "--runs 20 or more"),
        (("tune", "fake", "--threads", "999"), 2, "this process may use"),
        (("tune", "coreml", "--model", "edgevit_xxs"), 3, "nothing here executes coreml files"),
    ],
)
def test_what_cannot_be_tuned(
    fake_target: None, expect_error: Callable[..., str], tokens: tuple[str, ...], code: int, message: str
) -> None:
    if "coreml" in tokens and __import__("sys").platform == "darwin":
        pytest.skip("Core ML runs here")
    assert message in expect_error(code, *tokens)
