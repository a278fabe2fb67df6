"""MNN in a child process: what it computes, in what, and what is refused before it sees a file."""

import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.mnn import read_mnn
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.outside.flat_table import FlatTable
from edgevit_deploy.parity.gate import Truth, check_session
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision, TensorSpec
from edgevit_deploy.workbench import Workbench
from export.mnn.gelu import ABOVE
from runtimes.mnn import MnnSession
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.mnn import SMALL, handwritten
from tests.helpers.small import SMALL_SIZE, truth_and_noise
from tests.helpers.targets import NETWORK, SEED, images

K = bound_of("mnn", "fp32").k
X = TensorSpec(name="x", shape=(1, 3, 4, 4), dtype="float32")
Y = TensorSpec(name="y", shape=(1, 2, 4, 4), dtype="float32")


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return SMALL.shared()


def session(artifact: Artifact, path: Path | None = None) -> Session:
    return registered("mnn")(path or artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def error_of(artifact: Artifact, path: Path | None = None, inputs: np.ndarray | None = None) -> float:
    """The largest error, over PyTorch's own noise on these pictures."""
    x = images() if inputs is None else inputs
    exact, noise = truth_and_noise(NETWORK, x)
    with session(artifact, path) as opened:
        return float(np.abs(opened.run({"input": x})["logits"] - exact).max()) / noise


def test_it_computes_what_float64_does(artifact: Artifact) -> None:
    assert error_of(artifact) <= K


def test_a_half_precision_file_has_the_error_of_half_precision() -> None:
    half = SMALL.shared(precision="fp16")
    exact, noise = truth_and_noise(NETWORK, images())
    assert 100 < error_of(half) < 1e-2 * float(np.abs(exact).max()) / noise


def test_free_axes_are_planned_again_for_each_shape() -> None:
    free = SMALL.shared(dynamic_batch=True, dynamic_size=True)
    with session(free) as opened:
        for batch, height, width in ((1, 64, 64), (3, 64, 64), (2, 96, 160), (1, 64, 64)):
            x = images(batch, height, width)
            exact, noise = truth_and_noise(NETWORK, x)
            assert np.abs(opened.run({"input": x})["logits"] - exact).max() <= K * noise, x.shape


@pytest.mark.slow
def test_a_fault_in_the_weights_is_seen(tmp_path: Path) -> None:
    """One attention's values, 5 % off."""
    module = SMALL.module_for()
    with torch.no_grad():
        next(parameter for name, parameter in module.named_parameters() if name.endswith(".v.weight")).mul_(1.05)
    assert error_of(SMALL.build(SMALL.plan_of(), tmp_path, module)) > 2 * K


@pytest.mark.parametrize("kind", ["epsilon", "weight"])
def test_a_saved_file_with_another_number_is_seen(artifact: Artifact, tmp_path: Path, kind: str) -> None:
    """PyTorch's default LayerNorm epsilon for the published one; a weight with another sign."""
    content = bytearray(artifact.path.read_bytes())
    if kind == "epsilon":
        old, new = np.float32(1e-6).tobytes(), np.float32(1e-5).tobytes()
        assert content.count(old) >= 14
        content = content.replace(old, new)
    else:
        place = content.index(_first_weights(artifact).tobytes())
        content[place + 3] ^= 0x80
    path = tmp_path / "model.mnn"
    path.write_bytes(content)
    assert error_of(artifact, path) > 2 * K


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("every", [True, False])
def test_a_gelu_by_a_tanh_is_not_run(tmp_path: Path, precision: Precision, every: bool) -> None:
    """All of them, or one."""
    file = SMALL.shared(precision=precision, graph="original")
    path = tmp_path / "model.mnn"
    path.write_bytes(_with_gelus_by_tanh(bytearray(file.path.read_bytes()), 12 if every else 1))
    with pytest.raises(RunError, match="is a GELU by a tanh"), session(file, path):
        pass


@pytest.fixture(scope="module")
def half_truths(tmp_path_factory: pytest.TempPathFactory) -> list[Truth]:
    model = load_model(ModelOrigin(model="edgevit_xxs", num_classes=10, image_size=SMALL_SIZE, seed=SEED))
    return Workbench(model, THIS_HOST, tmp_path_factory.mktemp("bench")).truths(SMALL.plan_of(precision="fp16"))


@pytest.mark.parametrize("kind", ["nothing", "epsilon", "bias", "weight", "gelu"])
def test_a_saved_file_of_halves_with_another_number_is_seen(half_truths: list[Truth], tmp_path: Path, kind: str) -> None:
    """Epsilons ten thousandfold, two lists of biases zeroed, a weight with another sign, a coefficient 2 % off."""
    file = SMALL.shared(precision="fp16")
    content = bytearray(file.path.read_bytes())
    convolutions = [op.child(2) for op in FlatTable.root(bytes(content)).children(3) if op.number(1) & 0xFF == 9]
    if kind == "epsilon":
        content = content.replace(np.float32(1e-6).tobytes(), np.float32(1e-2).tobytes())
    elif kind == "bias":
        for convolution in convolutions[4:6]:
            place = convolution.raw.Vector(convolution.raw.Offset(8))
            content[place : place + 4 * len(convolution.array(2, "<f4"))] = bytes(4 * len(convolution.array(2, "<f4")))
    elif kind == "gelu":
        first = np.float32(ABOVE[0])
        assert content.count(first.tobytes()) > 1000
        content = content.replace(first.tobytes(), (np.float32(1.02) * first).tobytes())
    elif kind == "weight":
        halves = _first_weights(file)
        content[content.index(halves.tobytes()) + 2 * int(np.abs(halves).argmax()) + 1] ^= 0x80
    path = tmp_path / "model.mnn"
    path.write_bytes(content)
    with session(file, path) as opened:
        report = check_session(opened, half_truths, bound_of("mnn", "fp16"), [1])
    ratios = [diff.max_abs / diff.tolerance.noise for diff in report.diffs]
    assert report.status == ("passed" if kind == "nothing" else "failed"), ratios
    if kind == "nothing":
        assert min(ratios) > 0.9, "the emulation computes what the file does"


def _first_weights(artifact: Artifact) -> np.ndarray:
    return next(op.constant.values for op in read_mnn(artifact.path).weights if op.constant is not None)


def _with_gelus_by_tanh(content: bytearray, most: int) -> bytearray:
    for op in FlatTable.root(bytes(content)).children(3):
        if op.number(5) & 0xFFFF == 101:
            parameters = op.child(2).raw
            place = parameters.Pos + parameters.Offset(4)
            if content[place] == 33 and most:
                content[place], most = 32, most - 1
    return content


@pytest.mark.parametrize("damage", ["cut", "another operator", "another size"])
def test_a_bad_file_is_one_line(artifact: Artifact, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.mnn"
    if damage == "cut":
        path.write_bytes(artifact.path.read_bytes()[:-1000])
    elif damage == "another operator":
        path.write_bytes(handwritten(kind=512))
    else:
        path.write_bytes(handwritten())
    with pytest.raises(RunError, match=r"could not load model\.mnn: ") as caught, session(artifact, path) as opened:
        opened.run({"input": images()})
    assert "\n" not in str(caught.value)


def test_it_profiles_every_operator_by_its_path(artifact: Artifact) -> None:
    with session(artifact) as opened:
        ops = opened.profile({"input": images()}, 3)
    assert ops is not None
    assert sum(op.time_ms for op in ops) > 0
    quotients = [op for op in ops if op.kind == "BinaryOp" and op.name.endswith("/quotient")]
    assert len(quotients) == 12
    assert {name for op in ops for name in ("blocks1", "blocks4", "patch_embed2") if name in op.name} == {
        "blocks1",
        "blocks4",
        "patch_embed2",
    }


def test_it_times_runs_inside_the_child(artifact: Artifact) -> None:
    with session(artifact) as opened:
        latencies_ms = opened.time_runs({"input": images()}, 5)
        peak_bytes = opened.peak_memory_bytes()
    assert len(latencies_ms) == 5
    assert all(0 < latency < 5000 for latency in latencies_ms)
    if sys.platform == "linux":
        assert peak_bytes is not None
        assert 20e6 < peak_bytes < 1e9


def test_a_file_written_by_hand_is_computed_right(tmp_path: Path) -> None:
    """W x + b, with W = 0..5 and b = 6, 7."""
    path = tmp_path / "model.mnn"
    path.write_bytes(handwritten())
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    with registered("mnn")(path, inputs=(X,), outputs=(Y,)) as opened:
        y = opened.run({"x": x})["y"]
    weight, bias = np.arange(6, dtype=np.float64).reshape(2, 3), np.array([6.0, 7.0])
    np.testing.assert_allclose(y, np.einsum("oc,bchw->bohw", weight, x) + bias[None, :, None, None], atol=1e-5, rtol=0)


class FakeInterpreter:
    """Stands in for MNN.Interpreter: keeps what it was told, and answers what the test says."""

    told: ClassVar[dict[str, Any]] = {}
    status: ClassVar[int] = 0

    def __init__(self, path: str) -> None:
        if "broken" in path:
            raise Exception("createFromFile failed. Invalid model file")

    def createSession(self, config: dict[str, Any]) -> str:
        type(self).told = config
        return "session"

    def getSessionInput(self, _session: str, _name: str) -> Any:
        return types.SimpleNamespace(getShape=lambda: (1, 3, 4, 4), copyFrom=lambda _: None)

    def runSession(self, _session: str) -> int:
        return self.status


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeInterpreter]:
    module = types.ModuleType("MNN")
    module.Interpreter = FakeInterpreter  # type: ignore[attr-defined]
    module.Tensor = lambda *_: None  # type: ignore[attr-defined]
    for name in ("Halide_Type_Float", "Halide_Type_Uint8", "Tensor_DimensionType_Caffe"):
        setattr(module, name, name)
    monkeypatch.setitem(sys.modules, "MNN", module)
    return FakeInterpreter


@pytest.mark.parametrize("threads", [None, 2])
def test_precision_is_not_left_to_mnns_own_default(fake: type[FakeInterpreter], tmp_path: Path, threads: int | None) -> None:
    """1 is high, 0 normal memory; without a number of threads MNN has its own."""
    path = tmp_path / "model.mnn"
    path.write_bytes(handwritten())
    with MnnSession(path, inputs=(X,), outputs=(Y,), threads=threads):
        asked = {"backend": "CPU", "precision": 1, "memory": 0}
        assert fake.told == (asked if threads is None else {**asked, "numThread": threads})


def test_every_answer_but_0_is_an_error(fake: type[FakeInterpreter], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, broken = tmp_path / "model.mnn", tmp_path / "broken.mnn"
    for place in (path, broken):
        place.write_bytes(handwritten())
    monkeypatch.setattr(fake, "status", 3)
    with MnnSession(path, inputs=(X,), outputs=(Y,)) as opened, pytest.raises(RunError, match="MNN answered 3 when it was run"):
        opened.run({"x": np.zeros((1, 3, 4, 4), np.float32)})
    with (
        pytest.raises(RunError, match=r"does not load broken\.mnn: createFromFile failed"),
        MnnSession(broken, inputs=(X,), outputs=(Y,)),
    ):
        pass
