"""`tune` in eight bits: forms and roundings, by latency and by what they lose; conversions, errors and the clock are faked."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.commands.flags import ModelFlags, RangeFlags
from edgevit_deploy.deploy.form import CHOICES, read_form
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.parity.bounds import tolerance_for
from edgevit_deploy.parity.gate import OutputDiff
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.workbench import Passed, Refused, Workbench
from tests.helpers import fakes
from tests.measure.test_tune import latencies, only

SMALL = ("--model", "edgevit_xxs", "--image-size", "32")
SYNTHETIC = ("--calibration", "synthetic")
ROUNDED = {"activations", "outputs", "depthwise", "head"}
"""What the fake target lets be chosen of its rounding."""


@dataclass
class Files:
    """What a conversion comes to: `latency_ms` and `sqnr_db` of its plan, or the reason in `refused`."""

    latency_ms: Callable[[Any], float] = lambda plan: 10.0
    sqnr_db: Callable[[Any], float] = lambda plan: 30.0
    refused: Callable[[Any], str] = lambda plan: ""
    plans: dict[Path, Any] = field(default_factory=dict)

    def attempt(self, workbench: Workbench, plan: Any) -> Passed | Refused:
        if reason := self.refused(plan):
            return Refused(reason=reason)
        path = Path(str(len(self.plans)))
        self.plans[path] = plan
        few = OutputDiff(
            output="logits",
            batch=1,
            image_size=plan.image_size,
            probes=2,
            max_abs=0.1,
            worst_probe="any",
            tolerance=tolerance_for(GOLDEN, "int8", 1.0, 30.0),
            top1_agreement=1.0,
            smallest_margin=1.0,
            sqnr_db=99.0,
            cosine=1.0,
            rms=1.2,
        )
        many = replace(few, probes=32, rms=1.0, sqnr_db=self.sqnr_db(plan) if plan.scheme else 120.0)
        artifact = Artifact(target="fake", path=path, inputs=(plan.input_spec(),), outputs=plan.outputs, tools={})
        return Passed(artifact=artifact, worst=few, widest=many)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, fake_target: None) -> Files:
    files = Files()
    monkeypatch.setattr(Workbench, "attempt", lambda workbench, plan: files.attempt(workbench, plan))
    timed = latencies(lambda plan: files.latency_ms(plan), files.plans)
    monkeypatch.setattr("edgevit_deploy.measure.tune.benchmark", timed)
    only(monkeypatch, "position", "sampler")
    return files


def tune(tmp_path: Path, *more: str, precision: str = "int8") -> dict[str, Any]:
    flags = SYNTHETIC if precision == "int8" and "--ranges" not in more else ()
    assert run(["tune", "fake", *SMALL, "--precision", precision, *flags, "--output", str(tmp_path), *more]) == 0
    return json.loads((tmp_path / f"fake-{precision}.json").read_text())  # type: ignore[no-any-return]


def said_command(said: str, command: str) -> bool:
    return " ".join(said.split()).endswith(f"to convert by it: convert.py {command}")


def rejected(document: dict[str, Any]) -> dict[str, str]:
    return {f"{trial['part']} {trial['choice']}": trial["rejected"] for trial in document["trials"] if trial["rejected"]}


def test_a_rounding_that_is_faster_and_loses_little_wins(files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files.latency_ms = lambda p: 20.0 if p.scheme is None else 10.0 - p.scheme.leaves("head") - (not p.scheme.outputs)
    files.sqnr_db = lambda p: 29.7 + p.scheme.leaves("head")
    document = tune(tmp_path)
    assert document["rounding"] == {"outputs": False, "floating": ["head"]}
    chosen = read_form(tmp_path / "fake-int8.toml")
    assert chosen.rounding == {"outputs": False, "floating": ("head",)}
    assert chosen.form.position == "kept"
    assert "fp32 file / this form 2.50" in chosen.measured
    assert "SQNR 30.7 dB, 29.7 at the start, 32 pictures" in chosen.measured, "those on the most pictures"
    assert chosen.measured.endswith("--precision int8 --threads 1 --runs 200 --image-size 32 --calibration synthetic")
    said = capfd.readouterr().err
    assert "30.7 (+1.0)" in said
    assert {"[rounding]", "outputs = false"} <= set(said.splitlines()), "the file, line by line"
    assert said_command(said, f"fake --precision int8 --calibration synthetic --form {tmp_path / 'fake-int8.toml'}")
    header = (tmp_path / "fake-int8.toml").read_text().partition("measured =")[0]
    assert "`convert.py fake --precision int8 --calibration DIR --form FILE` converts by it" in header


@pytest.mark.parametrize(("more", "wins"), [((), False), (("--max-loss-db", "3"), True)])
def test_a_choice_that_loses_more_than_the_bound_does_not_win_however_fast(
    files: Files, tmp_path: Path, more: tuple[str, ...], wins: bool
) -> None:
    """A form as well as a rounding: in eight bits each form gives other numbers."""
    files.latency_ms = lambda p: 10.0 - (p.form.position == "folded") - (p.scheme is not None and not p.scheme.depthwise)
    files.sqnr_db = lambda p: 30.0 - 2.6 * (p.form.position == "folded") - 0.4 * (not p.scheme.depthwise)
    document = tune(tmp_path, *more)
    assert (document["form"]["position"] == "folded") is wins
    assert ("--max-loss-db 3.0" in document["measured"]) is wins
    assert document["rounding"] == {"depthwise": False}
    folded = next(trial for trial in document["trials"] if trial["choice"] == "folded")
    assert (folded["verdict"], folded["chosen"]) == ("faster", wins), "what it would gain is shown all the same"
    assert folded["rejected"] == ("" if wins else "loses 2.6 dB against the start, bound 0.5")


def test_losses_are_counted_from_the_start_and_do_not_add_up(files: Files, tmp_path: Path) -> None:
    files.latency_ms = lambda p: 10.0 if p.scheme is None else 8.0 + p.scheme.outputs + p.scheme.depthwise
    files.sqnr_db = lambda p: 30.0 - 0.4 * (not p.scheme.outputs) - 0.4 * (not p.scheme.depthwise)
    document = tune(tmp_path)
    assert document["rounding"] == {"outputs": False}, "each alone is within 0.5 dB, both are not"
    assert rejected(document)["depthwise false"] == "loses 0.8 dB against the start, bound 0.5"


def test_what_the_gate_refuses_is_a_trial_with_its_reason_and_nothing_faster_is_said(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files.refused = lambda p: "does not round as it should" if p.scheme and not p.scheme.outputs else ""
    document = tune(tmp_path)
    assert rejected(document) == {"outputs false": "does not round as it should"}
    assert document["rounding"] == {}
    assert {trial["part"] for trial in document["trials"]} == {"position", "sampler", *ROUNDED}
    assert "Nothing that was tried is faster and good enough" in " ".join(capfd.readouterr().err.split())
    assert "[rounding]" not in (tmp_path / "fake-int8.toml").read_text().split("measured =")[1]


def test_with_ranges_only_roundings_are_tried(files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ranges = tmp_path / "calibration.json"
    ranges.write_bytes(calibration_of_the_start())
    document = tune(tmp_path, "--ranges", str(ranges))
    assert {trial["part"] for trial in document["trials"]} == ROUNDED
    assert "--ranges are of one form" in " ".join(capfd.readouterr().err.split())
    assert "--ranges calibration.json" in document["measured"]


def test_the_command_that_is_said_has_what_was_typed(files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "of mine"
    folder.mkdir()
    (folder / "calibration.json").write_bytes(calibration_of_the_start())
    tune(folder, "--ranges", str(folder / "calibration.json"))
    ranges, form = folder / "calibration.json", folder / "fake-int8.toml"
    assert said_command(capfd.readouterr().err, f"fake --precision int8 --ranges '{ranges}' --form '{form}'")
    tune(tmp_path, "--percentile", "99.9")
    form = tmp_path / "fake-int8.toml"
    said = capfd.readouterr().err
    assert said_command(said, f"fake --precision int8 --calibration synthetic --percentile 99.9 --form {form}")
    tune(tmp_path, precision="w8")
    assert "--calibration" not in capfd.readouterr().err, "neither in the command nor in the file, which is printed"


def calibration_of_the_start() -> bytes:
    """Ranges that are sealed; whether they fit is asked of a conversion, which is faked here."""
    from edgevit_deploy.calibration.record import Calibration, calibration_bytes
    from edgevit_deploy.deploy.ranges import OperatorRanges, Range
    from edgevit_deploy.model.loading import ModelOrigin, load_model

    model = load_model(ModelOrigin(model="edgevit_xxs", image_size=(32, 32)))
    extent = Range(low=0.0, high=1.0)
    calibration = Calibration(
        model=model.record,
        preprocess=model.spec.preprocess,
        form={},
        source="synthetic",
        pictures=(),
        count=1,
        percentile=None,
        ranges={"head": OperatorRanges(input=extent, output=extent)},
    )
    return calibration_bytes(calibration.sealed())


def test_parts_that_are_named_are_tried_alone(files: Files, tmp_path: Path) -> None:
    document = tune(tmp_path, "--parts", "sampler,head", "outputs")
    assert {trial["part"] for trial in document["trials"]} == {"sampler", "head", "outputs"}
    assert document["measured"].endswith("--parts sampler,head,outputs")


def test_a_precision_with_one_way_to_round_has_its_forms_searched(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files.latency_ms = lambda plan: 9.0 if plan.form.sampler == "slice" else 10.0
    document = tune(tmp_path, precision="w8")
    assert {trial["part"] for trial in document["trials"]} == {"position", "sampler"}
    assert read_form(tmp_path / "fake-w8.toml").form.sampler == "slice"
    assert "Only forms were searched: fake w8 has one way to round" in " ".join(capfd.readouterr().err.split())


def test_ranges_with_nothing_to_choose_are_refused(
    files: Files, monkeypatch: pytest.MonkeyPatch, expect_error: Callable[..., str], tmp_path: Path
) -> None:
    int8 = replace(fakes.FakeExporter.quantised["int8"], choices={})
    monkeypatch.setattr(fakes.FakeExporter, "quantised", {"int8": int8})
    (tmp_path / "calibration.json").write_bytes(calibration_of_the_start())
    ranges = ("--ranges", tmp_path / "calibration.json")
    assert "has nothing else to choose" in expect_error(2, "tune", "fake", *SMALL, "--precision", "int8", *ranges)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("sampler", "--parts sampler: --ranges are of one form, and these parts change it"),
        ("head,sampler,norm", "--parts sampler,norm: --ranges are of one form, and these parts change it"),
        ("samplers", "--parts: fake int8 has no 'samplers' to choose"),
    ],
)
def test_with_ranges_no_part_of_a_form_can_be_named(
    files: Files, monkeypatch: pytest.MonkeyPatch, expect_error: Callable[..., str], tmp_path: Path, parts: str, message: str
) -> None:
    only(monkeypatch, "position", "sampler", "norm")
    (tmp_path / "calibration.json").write_bytes(calibration_of_the_start())
    flags = ("--precision", "int8", "--ranges", tmp_path / "calibration.json", "--parts", parts)
    assert message in expect_error(2, "tune", "fake", *SMALL, *flags)


@pytest.mark.parametrize(("activations", "code"), [("u8", 2), ("s8", 0)])
def test_parts_that_leave_nothing_to_try_are_refused(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, activations: Any, code: int
) -> None:
    int8 = fakes.FakeExporter.quantised["int8"]
    choices = {"symmetric": (False, True), "activations": ("u8", "s8")}
    changed = replace(int8, scheme=replace(int8.scheme, activations=activations), choices=choices)
    monkeypatch.setattr(fakes.FakeExporter, "quantised", {"int8": changed})
    flags = ("tune", "fake", *SMALL, "--precision", "int8", *SYNTHETIC, "--output", str(tmp_path))
    assert run([*flags, "--parts", "symmetric"]) == code
    assert run([*flags, "--parts", "symmetric,activations"]) == 0, "the other part makes room for it"


@pytest.mark.parametrize(
    ("tokens", "code", "message"),
    [
        (("fake", *SMALL, "--precision", "int8"), 2, "add --calibration DIR"),
        (("fake", *SMALL, *SYNTHETIC), 2, "fake fp32 needs no ranges; use --precision int8, or drop --calibration"),
        (("ncnn", *SMALL, *SYNTHETIC), 2, "ncnn fp32 needs no ranges; drop --calibration"),
        (("onnx", *SMALL, "--precision", "fp8", *SYNTHETIC), 2, "onnx has no precision 'fp8' (floating point of eight bits is"),
        (("ncnn", *SMALL, "--precision", "int8", *SYNTHETIC), 2, "ncnn has no precision 'int8' (files of our own ranges"),
        (("fake", *SMALL, "--parts", ""), 2, "--parts names no part"),
        (("fake", *SMALL, "--parts", ",", ""), 2, "--parts names no part"),
        (("fake", *SMALL, "--max-loss-db", "1"), 2, "add --precision int8"),
        (("fake", *SMALL, "--precision", "int8", *SYNTHETIC, "--max-loss-db", "-1"), 2, "expected 0 or more"),
        (("fake", *SMALL, "--parts", "outputs"), 2, "--parts: fake fp32 has no 'outputs' to choose"),
        (("fake", *SMALL, "--precision", "int8", *SYNTHETIC, "--parts", "heads"), 2, "did you mean 'head'"),
        (("coreml", *SMALL, "--precision", "w8"), 3, "nothing here executes coreml files"),
        (("coreml", *SMALL, "--precision", "int8", *SYNTHETIC), 3, "nothing here executes coreml files"),
    ],
)
def test_what_cannot_be_tuned_in_eight_bits(
    fake_target: None, expect_error: Callable[..., str], tmp_path: Path, tokens: tuple[str, ...], code: int, message: str
) -> None:
    if "coreml" in tokens and __import__("sys").platform == "darwin":
        pytest.skip("Core ML runs here")
    assert message in expect_error(code, "tune", *tokens, "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_it_really_converts_judges_and_times(monkeypatch: pytest.MonkeyPatch, fake_target: None, tmp_path: Path) -> None:
    """Nothing faked: every trial passed the gate, has a ratio, and a loss that its rounding explains."""
    monkeypatch.setattr("edgevit_deploy.measure.alternatives.CHOICES", {"position": CHOICES["position"]})
    monkeypatch.setattr("edgevit_deploy.measure.tune.MAX_PASSES", 1)
    document = tune(tmp_path, "--runs", "20")
    trials = {f"{trial['part']} {trial['choice']}": trial for trial in document["trials"]}
    assert set(trials) >= {"position folded", "activations s8", "outputs false", "depthwise false", "head float"}
    assert all(trial["ratio"] > 0 and trial["noise_ratio"] <= 2 and np.isfinite(trial["sqnr_db"]) for trial in trials.values())
    start = document["losses"]["start_db"]
    assert trials["outputs false"]["sqnr_db"] > start
    assert document["final"][-1]["label"] == "fp32 file"


def test_what_is_recorded_is_the_command(files: Files, tmp_path: Path) -> None:
    """Typed again it records the same."""
    said = ("--num-classes", "10", "--seed", "3", "--order-seed", "7", "--percentile", "99.99", "--max-loss-db", "1.5")
    first = tune(tmp_path, *said, "--parts", "sampler,head")["measured"]
    command = shlex.split(first.partition("convert.py ")[2])
    assert {*said, "sampler,head", "32", "synthetic", "int8"} <= set(command)
    (tmp_path / "fake-int8.json").unlink()
    assert run([*command, "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "fake-int8.json").read_text())["measured"] == first


def test_of_a_path_the_name_is_recorded_and_quoted_where_a_shell_needs_it() -> None:
    assert ModelFlags(weights=Path("/home/me/my model.pth"), seed=0).words() == " --weights 'my model.pth' --seed 0"
    assert RangeFlags(calibration=Path("/data/train"), percentile=99.9).words() == " --calibration train --percentile 99.9"
    assert ModelFlags().words() == RangeFlags().words() == ""
