"""OpenVINO in a child process: what it computes, in what precision, and what is refused."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import runtimes.openvino as running
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.openvino import BIN_NAME, XML_NAME, load_openvino, other_arithmetic, read_ir, settings_for
from edgevit_deploy.parity.gate import ParityReport, check_session
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision
from runtimes.openvino import OpenVinoSession
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.openvino import SMALL, cpu_computes_in
from tests.helpers.small import SMALL_SIZE, ends, truth_and_noise
from tests.helpers.targets import NETWORK, images
from tests.helpers.timing import agrees_once

K = bound_of("openvino", "fp32").k


@pytest.fixture(scope="module")
def artifacts() -> dict[Precision, Artifact]:
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
    return {precision: SMALL.shared(precision=precision) for precision in precisions}


def open_with(session_type: type[Session], artifact: Artifact, path: Path | None = None) -> Session:
    return session_type(path or artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def error_of(artifact: Artifact, path: Path | None = None) -> float:
    exact, _ = truth_and_noise(NETWORK, images())
    with open_with(registered("openvino"), artifact, path) as opened:
        return float(np.abs(opened.run({"input": images()})["logits"] - exact).max())


def judge(session: Session, precision: Precision) -> ParityReport:
    probes = make_probes(SMALL_SIZE, NETWORK.spec.preprocess, "tensor", seed=0)
    truth = Reference(NETWORK, NETWORK.spec.preprocess).truth(probes, ends("tensor", "logits"), precision)
    return check_session(session, [truth], bound_of("openvino", precision), [1])


def changed(artifact: Artifact, folder: Path, old: str, new: str) -> Path:
    """A copy of the model with the first `old` of its XML replaced."""
    path = Path(shutil.copytree(artifact.path, folder / "model.openvino"))
    text = (path / XML_NAME).read_text()
    assert old in text
    (path / XML_NAME).write_text(text.replace(old, new, 1))
    return path


def test_it_computes_what_float64_does(artifacts: dict[Precision, Artifact]) -> None:
    assert error_of(artifacts["fp32"]) <= K * truth_and_noise(NETWORK, images())[1]


def test_a_free_batch_and_size(tmp_path: Path) -> None:
    artifact = SMALL.build(SMALL.plan_of(dynamic_batch=True, dynamic_size=True), tmp_path)
    assert any("multiples of 32" in note for note in artifact.notes)
    larger = np.random.default_rng(6).standard_normal((3, 3, 96, 64)).astype(np.float32)
    with open_with(registered("openvino"), artifact) as opened:
        for inputs in (images(), images(2), larger):
            exact, noise = truth_and_noise(NETWORK, inputs)
            assert np.abs(opened.run({"input": inputs})["logits"] - exact).max() <= K * noise


def test_a_planted_wrong_weight_fails_parity(tmp_path: Path) -> None:
    """One attention's values, 5 % off."""
    module = SMALL.module_for()
    with torch.no_grad():
        next(parameter for name, parameter in module.named_parameters() if name.endswith(".v.weight")).mul_(1.05)
    with open_with(OpenVinoSession, SMALL.build(SMALL.plan_of(), tmp_path, module)) as opened:
        assert judge(opened, "fp32").status == "failed"


def test_a_fault_in_the_xml_is_seen(artifacts: dict[Precision, Artifact], tmp_path: Path) -> None:
    """PyTorch's default LayerNorm epsilon for the published one."""
    path = changed(artifacts["fp32"], tmp_path, 'eps="9.9999999747524271e-07"', 'eps="1e-05"')
    assert error_of(artifacts["fp32"], path) > 2 * K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_passes_only_where_the_cpu_computes_in_it(artifacts: dict[Precision, Artifact], precision: Precision) -> None:
    """The gate through the child, on the CPU at hand; OpenVINO's own list of what the CPU can decides what is expected."""
    with open_with(registered("openvino"), artifacts[precision]) as opened:
        report, substitute = judge(opened, precision), opened.substitute
    if cpu_computes_in(precision):
        assert (report.status, substitute) == ("passed", "")
        assert report.worst is not None
        assert report.worst.noise_ratio > 0.2, "float32 in disguise"
    else:
        assert report.status == "built, not run"
        assert "so model.openvino was run in f32" in substitute
        assert report.instead == f"{substitute}: passed"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_session_says_what_the_cpu_computes_in(precision: Precision) -> None:
    """It asks a compiled model; OpenVINO's own list of what the CPU can, which it does not look at, decides what is expected."""
    assert registered("openvino").executes(precision) is cpu_computes_in(precision)


def test_a_precision_that_the_plugin_replaces_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the CPU at hand is: the plugin is asked for float32 where bfloat16 is meant."""
    monkeypatch.setattr(running, "settings_for", lambda _: settings_for("fp32"))
    assert not OpenVinoSession.executes("bf16")
    assert OpenVinoSession.executes("fp32")


class TestACpuWithoutBfloat16:
    """Whatever the CPU at hand is: the plugin is made to say at first what it says on a CPU that computes in float32."""

    @pytest.fixture
    def opened(self, artifacts, monkeypatch) -> Iterator[Session]:
        answers = iter(["this CPU computes in f32 when asked for bf16", ""])
        monkeypatch.setattr(running, "other_arithmetic", lambda *_: next(answers))
        with open_with(OpenVinoSession, artifacts["bf16"]) as opened:
            yield opened

    def test_it_does_not_pass(self, opened):
        report = judge(opened, "bf16")
        assert report.status == "built, not run"
        assert not report.ok
        assert report.instead == "this CPU computes in f32 when asked for bf16, so model.openvino was run in f32: passed"

    def test_it_is_really_run_in_float32(self, opened):
        exact, noise = truth_and_noise(NETWORK, images())
        assert np.abs(opened.run({"input": images()})["logits"] - exact).max() <= K * noise

    def test_its_speed_is_not_the_files(self, opened):
        with pytest.raises(RunError, match="not timed: this CPU computes in f32"):
            opened.time_runs({"input": images()}, 1)
        with pytest.raises(RunError, match="not profiled: this CPU computes in f32"):
            opened.profile({"input": images()}, 1)


@pytest.fixture(scope="module")
def single(artifacts: dict[Precision, Artifact]) -> Any:
    """The fp32 file, compiled as it asks to be."""
    core = load_openvino().Core()
    return core.compile_model(read_ir(core, artifacts["fp32"].path), "CPU", settings_for("fp32"))


class TestReadingThePrecisionBack:
    def test_control(self, single):
        assert other_arithmetic(single, "f32") == ""

    def test_float32_is_not_bfloat16(self, single):
        assert other_arithmetic(single, "bf16") == "this CPU computes in f32 when asked for bf16"

    def test_a_plugin_that_says_so_is_not_believed(self, single):
        """The layers that hold the weights are asked too."""
        bfloat16 = SimpleNamespace(get_type_name=lambda: "bf16")
        liar = SimpleNamespace(get_property=lambda _: bfloat16, get_runtime_model=single.get_runtime_model)
        assert "this CPU executes Convolution f32, FullyConnected f32, MatMul f32" in other_arithmetic(liar, "bf16")

    def test_no_layers_prove_nothing(self, single):
        empty = SimpleNamespace(get_ops=list)
        silent = SimpleNamespace(get_property=single.get_property, get_runtime_model=lambda: empty)
        assert "executes nothing that can be told" in other_arithmetic(silent, "f32")


BAD_XML = [
    ('type="Gelu" version="opset7"', 'type="Evil" version="opset7"', "doesn't contain the operation with type: Evil"),
    ('version="opset1"', 'version="extension"', "unsupported opset: extension"),
    ('strides="4, 4"', 'strides="3, 3"', "Argument shapes are inconsistent"),
    ('offset="0" size="6912"', 'offset="99999999999" size="6912"', "Incorrect weights in bin file"),
    ('<edge from-layer="', '<edge from-layer="99', "OpenVINO cannot read it"),
    ("<layers>", "<layers", "OpenVINO cannot read it: Error parsing"),
    ('names="input"', 'names="x"', r"it has the inputs and outputs \[\(\['x'\]"),
    ('value="f32"', 'value="i8"', "it asks for the settings .*'i8'.*, those of no precision"),
    ("<runtime_options>", "<runtime_options><!--", "OpenVINO cannot read it"),
    ("INFERENCE_PRECISION_HINT", "SOMETHING_ELSE", "it asks for the settings"),
    ('<?xml version="1.0"?>', '<!DOCTYPE net SYSTEM "/etc/passwd">', "does not start with <net>"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD_XML)
def test_a_bad_xml_is_one_line(artifacts: dict[Precision, Artifact], tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(artifacts["fp32"], tmp_path, old, new)
    with pytest.raises(RunError, match=rf"OpenVINO \(CPU\) could not load model\.openvino: .*{message}") as caught:
        open_with(registered("openvino"), artifacts["fp32"], path).__enter__()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"model\.bin is missing beside model\.xml; copy or convert it again"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "Incorrect weights in bin file"),
        (lambda path: path.write_bytes(b""), "Incorrect weights in bin file"),
    ],
)
def test_a_bad_bin_is_one_line(
    artifacts: dict[Precision, Artifact], tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = Path(shutil.copytree(artifacts["fp32"].path, tmp_path / "model.openvino"))
    damage(path / BIN_NAME)
    with pytest.raises(RunError, match=message):
        open_with(registered("openvino"), artifacts["fp32"], path).__enter__()


@pytest.mark.nightly
def test_its_counters_add_up(artifacts: dict[Precision, Artifact]) -> None:
    feeds = {"input": images()}

    def profile_and_latency_ms() -> tuple[float, float]:
        return sum(op.time_ms for op in opened.profile(feeds, 5) or ()), min(opened.time_runs(feeds, 20))

    with open_with(OpenVinoSession, artifacts["fp32"]) as opened:
        assert agrees_once(profile_and_latency_ms, 0.1, float("inf"))


def test_it_is_profiled_by_its_own_counters(artifacts: dict[Precision, Artifact]) -> None:
    with open_with(OpenVinoSession, artifacts["fp32"]) as opened:
        ops = opened.profile({"input": images()}, 5)
    assert ops is not None
    named = [op for op in ops if op.name.startswith("__module.network.")]
    assert any(op.name.startswith("__module.network.blocks4.1.SelfAttn.mlp.body.fc2/") for op in named)
    assert {"Convolution", "FullyConnected", "MatMul"} <= {op.kind for op in ops}
    assert all(op.time_ms > 0 for op in ops)
    assert len({op.name for op in ops}) == len(ops)
    assert sum(op.time_ms for op in named) > 0.5 * sum(op.time_ms for op in ops)


def test_threads_are_set(artifacts: dict[Precision, Artifact]) -> None:
    with open_with(OpenVinoSession, artifacts["fp32"]) as opened:
        assert opened._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1  # type: ignore[attr-defined]


def test_without_openvino_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = registered("openvino").probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[openvino]'")
