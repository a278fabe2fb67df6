"""ncnn in a child process: what it computes, what it answers, and what is refused before it sees a file."""

import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import runtimes.ncnn as running
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.ncnn import PARAM_NAME, ask_for_bf16_storage
from edgevit_deploy.parity.gate import ParityReport, check_session
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.session import Session
from edgevit_deploy.spec import TensorSpec
from export.ncnn import NcnnExporter
from runtimes.ncnn import NcnnSession
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.ncnn import FLOAT16_TAG, FLOAT32_TAG, SMALL, write_handwritten
from tests.helpers.small import SMALL_SIZE, ends, truth_and_noise
from tests.helpers.targets import NETWORK, images

K = bound_of("ncnn", "fp32").k


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return SMALL.shared()


def session(artifact: Artifact, path: Path | None = None) -> Session:
    return registered("ncnn")(path or artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def error_of(artifact: Artifact, path: Path | None = None) -> float:
    exact, _ = truth_and_noise(NETWORK, images())
    with session(artifact, path) as opened:
        return float(np.abs(opened.run({"input": images()})["logits"] - exact).max())


def changed(artifact: Artifact, folder: Path, old: str, new: str) -> Path:
    """A copy of the model with the first `old` of its param file replaced."""
    path = Path(shutil.copytree(artifact.path, folder / "model.ncnn"))
    text = (path / PARAM_NAME).read_text()
    assert old in text
    (path / PARAM_NAME).write_text(text.replace(old, new, 1))
    return path


def test_it_computes_what_float64_does(artifact: Artifact) -> None:
    assert error_of(artifact) <= K * truth_and_noise(NETWORK, images())[1]


def test_a_half_precision_file_has_the_error_of_half_precision() -> None:
    half = SMALL.shared(precision="fp16")
    _, noise = truth_and_noise(NETWORK, images())
    assert 100 * noise < error_of(half) < 1e-2 * float(np.abs(truth_and_noise(NETWORK, images())[0]).max())


def in_bf16() -> Artifact:
    """The small network in ncnn's own form."""
    return SMALL.shared(precision="bf16", form=NcnnExporter.form)


def judge_bf16(opened: Session) -> ParityReport:
    probes = make_probes(SMALL_SIZE, NETWORK.spec.preprocess, "tensor", seed=0)
    truth = Reference(NETWORK, NETWORK.spec.preprocess).truth(probes, ends("tensor", "logits"), "bf16")
    return check_session(opened, [truth], bound_of("ncnn", "bf16"), [1])


def test_a_bf16_file_passes_and_is_not_float32_in_disguise() -> None:
    """The gate through the child; what this ncnn was built with decides what is expected."""
    with session(in_bf16()) as opened:
        report = judge_bf16(opened)
    if registered("ncnn").executes("bf16"):
        assert report.status == "passed"
        assert report.worst is not None
        assert report.worst.noise_ratio > 0.2
    else:
        assert report.status == "built, not run"


def test_what_this_ncnn_computes_wrongly_in_bfloat16_fails() -> None:
    """Pixel shuffles, which ncnn's own form has not: all outputs are NaN (1.0.20261020)."""
    if registered("ncnn").executes("bf16"):
        with session(SMALL.shared(precision="bf16")) as opened:
            assert judge_bf16(opened).status == "failed"


def test_an_ncnn_without_bfloat16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this one is: it is made to store what a convolution returns in 32 bits."""
    monkeypatch.setattr(running, "_bits_of_activations", lambda **_: 32)
    artifact = in_bf16()
    assert not NcnnSession.executes("bf16")
    with NcnnSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1) as opened:
        report = judge_bf16(opened)
        with pytest.raises(RunError, match="not timed: this ncnn stores nothing in bfloat16"):
            opened.time_runs({"input": images()}, 1)
    assert (report.status, report.ok) == ("built, not run", False)
    assert report.instead.startswith("this ncnn stores nothing in bfloat16, so model.ncnn was run in float32: ")


def test_what_is_stored_is_asked_for_one_convolution() -> None:
    """Negative control: without the option it has 32 bits."""
    assert running._bits_of_activations(bf16_storage=False) == 32
    assert NcnnSession.executes("fp32")


def test_a_fault_in_the_weights_is_seen(tmp_path: Path) -> None:
    """One attention's values, 5 % off."""
    module = SMALL.module_for()
    with torch.no_grad():
        next(parameter for name, parameter in module.named_parameters() if name.endswith(".v.weight")).mul_(1.05)
    faulty = SMALL.build(SMALL.plan_of(), tmp_path, module)
    assert error_of(faulty) > 2 * K * truth_and_noise(NETWORK, images())[1]


def test_a_fault_in_the_param_file_is_seen(artifact: Artifact, tmp_path: Path) -> None:
    """PyTorch's default LayerNorm epsilon for the published one."""
    path = changed(artifact, tmp_path, "1=1.000000e-6", "1=1.000000e-5")
    assert error_of(artifact, path) > 2 * K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("GELU  ", "Evil  ", "could not load model.ncnn: model.param has a layer 'Evil'"),
        ("0=10 1=1 2=2880", "0=20 1=1 2=2870", r"could not load model\.ncnn: load_param answered -1 for model\.param"),
        ("0=36 1=16", "0=36 1=100000", r"could not run model\.ncnn: its process was killed by SIG"),
        ("out0 0=10", "out1 0=10", r"could not load model\.ncnn: it has the inputs and outputs .*'out1'"),
    ],
)
def test_a_bad_model_is_one_line(artifact: Artifact, tmp_path: Path, old: str, new: str, message: str) -> None:
    """The second is wrong in a way that only ncnn sees; the third crashes it."""
    path = changed(artifact, tmp_path, old, new)
    with pytest.raises(RunError, match=message) as caught, session(artifact, path) as opened:
        opened.run({"input": images()})
    assert "\n" not in str(caught.value)


def test_it_times_runs_inside_the_child(artifact: Artifact) -> None:
    with session(artifact) as opened:
        latencies_ms = opened.time_runs({"input": images()}, 5)
        peak_bytes = opened.peak_memory_bytes()
    assert len(latencies_ms) == 5
    assert all(0 < latency < 5000 for latency in latencies_ms)
    if sys.platform == "linux":
        assert peak_bytes is not None
        assert 20e6 < peak_bytes < 1e9


def handwritten(folder: Path, batch: int = 1, session_type: type[Session] | None = None, dtype: str = "float32") -> Any:
    """A session of the model written by hand; its outputs are not those of a classifier."""
    return (session_type or registered("ncnn"))(
        write_handwritten(folder),
        inputs=(TensorSpec(name="x", shape=(batch, 3, 4, 4), dtype=dtype),),
        outputs=(TensorSpec(name="y", shape=(batch, 2, 4, 4), dtype="float32"),),
    )


def test_a_model_written_by_hand_is_computed_right(tmp_path: Path) -> None:
    """2 (W x + b), with W = 0..5 and b = 6, 7."""
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    with handwritten(tmp_path) as opened:
        y = opened.run({"x": x})["y"]
    weight, bias = np.arange(6, dtype=np.float64).reshape(2, 3), np.array([6.0, 7.0])
    exact = 2 * (np.einsum("oc,bchw->bohw", weight, x) + bias[None, :, None, None])
    np.testing.assert_allclose(y, exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "float64"])
def test_what_is_no_float32_never_reaches_its_layers(tmp_path: Path, dtype: str) -> None:
    with (
        pytest.raises(RunError, match=f"takes float32, the manifest says {dtype}; convert again"),
        handwritten(tmp_path, dtype=dtype),
    ):
        raise AssertionError("it was opened")


def test_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="ncnn has no batch axis"), handwritten(tmp_path, batch=2):
        pass


class FakeNet:
    """Stands in for ncnn.Net; answers what the test says, and must not be used after a load that failed."""

    answers: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.opt = types.SimpleNamespace()

    def load_param(self, _: str) -> int:
        return self.answers.get("load_param", 0)

    def load_model(self, _: str) -> int:
        return self.answers.get("load_model", 0)

    def create_extractor(self) -> Any:
        assert not {"load_param", "load_model"} & set(self.answers)
        return types.SimpleNamespace(
            input=lambda _name, _mat: self.answers.get("input", 0),
            extract=lambda _name: (self.answers.get("extract", 0), np.zeros((2, 4, 4), np.float32)),
        )


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def answer(**answers: int) -> None:
        monkeypatch.setattr(FakeNet, "answers", answers)
        fake = types.ModuleType("ncnn")
        fake.Net, fake.Mat = FakeNet, lambda array: array  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ncnn", fake)

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"load_param": -1}, r"load_param answered -1 for model\.param"),
        ({"load_model": -1}, r"load_model answered -1 for model\.bin"),
        ({"input": -1}, "answered -1 to its input"),
        ({"extract": -100}, "answered -100 when it was run"),
    ],
)
def test_every_answer_but_0_is_an_error(
    answering: Callable[..., None], tmp_path: Path, answer: dict[str, int], message: str
) -> None:
    answering(**answer)
    with pytest.raises(RunError, match=message), handwritten(tmp_path, session_type=NcnnSession) as opened:
        opened.run({"x": np.zeros((1, 3, 4, 4), np.float32)})


@pytest.mark.parametrize(
    ("tag", "half", "brain"), [(FLOAT32_TAG, False, False), (FLOAT16_TAG, True, False), (FLOAT32_TAG, False, True)]
)
def test_nothing_is_left_to_ncnns_own_defaults(
    answering: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: bytes, half: bool, brain: bool
) -> None:
    """By default all three fp16 options are on, whatever the file holds."""
    answering()
    monkeypatch.setattr(running, "_bits_of_activations", lambda **_: 16)
    opened = handwritten(tmp_path, session_type=NcnnSession)
    write_handwritten(tmp_path, tag=tag)
    if brain:
        ask_for_bf16_storage(tmp_path / PARAM_NAME)
    with opened:
        assert vars(opened._net.opt) == {
            "use_fp16_packed": half,
            "use_fp16_storage": half,
            "use_fp16_arithmetic": False,
            "use_bf16_packed": False,
            "use_bf16_storage": brain,
            "use_vulkan_compute": False,
        }


def test_answers_of_0_are_good(answering: Callable[..., None], tmp_path: Path) -> None:
    """Negative control of the fake."""
    answering()
    with handwritten(tmp_path, session_type=NcnnSession) as opened:
        assert opened.run({"x": np.zeros((1, 3, 4, 4), np.float32)})["y"].shape == (1, 2, 4, 4)
