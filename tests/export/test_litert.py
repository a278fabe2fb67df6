"""The LiteRT target: what XNNPACK takes of a written file, what faults cost, and what a failing converter ends in."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import export.litert.convert as converting
from edgevit_deploy.deploy.attention_forms import BatchedAttention, EinsumAttention
from edgevit_deploy.deploy.chains import Attention
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import Placement, TensorSpec
from export.litert import LiteRTExporter, check_written
from export.litert.convert import Written, convert_in_child
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.litert import SMALL, changed
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images, left_in

K = bound_of("litert", "fp32").k
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return SMALL.shared()


def spec(*shape: int) -> TensorSpec:
    return TensorSpec(name="input", shape=shape, dtype="float32")


def written(module: nn.Module, folder: Path, *shape: int) -> Written:
    return convert_in_child(module.eval().requires_grad_(False), folder / "model.tflite", spec(*shape), ("logits",))


def error_of(artifact: Artifact, path: Path) -> float:
    exact, _ = truth_and_noise(NETWORK, images())
    with registered("litert")(path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1) as opened:
        return float(np.abs(opened.run({"input": images()})["logits"] - exact).max())


@pytest.mark.slow
def test_it_computes_what_float64_does(artifact: Artifact) -> None:
    assert error_of(artifact, artifact.path) <= K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.slow
def test_a_network_of_timm_is_converted(tmp_path: Path) -> None:
    """The child unpickles it, and so imports timm, which does not stand every torchvision: the paper's other networks."""
    make_torchvision_importable()
    from timm.layers import ConvNormAct

    found = written(nn.Sequential(ConvNormAct(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), tmp_path, 1, 3, 8, 8)
    assert found.operators["CONV_2D"] == 1


@pytest.mark.slow
def test_the_file_is_all_that_is_left(artifact: Artifact) -> None:
    assert [path.name for path in artifact.path.parent.rglob("*")] == ["model.tflite"]


@pytest.mark.slow
def test_xnnpack_takes_all_of_the_default_graph(artifact: Artifact) -> None:
    operators = artifact.operators
    assert isinstance(operators, dict)
    assert "TRANSPOSE_CONV" not in operators
    counts = {name: operators[name] for name in ("GELU", "SOFTMAX", "RSQRT", "BATCH_MATMUL", "FULLY_CONNECTED")}
    assert counts == {"GELU": 12, "SOFTMAX": 7, "RSQRT": 23, "BATCH_MATMUL": 14, "FULLY_CONNECTED": 1}
    assert artifact.placements == {"XNNPACK": Placement(partitions=1, outside={})}
    assert f"all {sum(operators.values())} operators as one partition" in " ".join(artifact.notes)


@pytest.mark.slow
def test_the_counts_are_those_of_the_file(artifact: Artifact) -> None:
    """Counted once more by the schema, without the interpreter."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.path.read_bytes()))
    (graph,) = model.subgraphs
    counted = Counter(names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in graph.operators)
    assert counted == artifact.operators


@pytest.mark.slow
def test_without_a_delegate_there_is_no_partition(artifact: Artifact) -> None:
    """Negative control of the count: it is the runtime's, not the file's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(artifact.path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    assert converting.DELEGATE not in {node["op_name"] for node in interpreter._get_ops_details()}


@pytest.mark.nightly
def test_the_original_graph_is_torn_apart() -> None:
    """One TRANSPOSE_CONV a channel of each LocalProp: 36 + 72 + 3 x 144; between the partitions are the samplers and others."""
    torn = SMALL.shared(graph="original")
    operators, outside = torn.operators, torn.placements["XNNPACK"].outside
    assert isinstance(operators, dict)
    assert isinstance(outside, dict)
    assert operators["TRANSPOSE_CONV"] == 540
    assert outside["AVERAGE_POOL_2D"] == 5
    assert torn.placements["XNNPACK"].partitions > 5
    placed = LiteRTExporter().placements(torn)["XNNPACK"]
    assert (placed.partitions, placed.outside) == (torn.placements["XNNPACK"].partitions, outside)
    assert re.search(r"in \d+ partitions .* own kernels run 5 AVERAGE_POOL_2D, ", " ".join(torn.notes))
    assert error_of(torn, torn.path) <= K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attention", "partitions", "outside"), [(EinsumAttention, 1, {}), (BatchedAttention, 2, {"FULLY_CONNECTED": 1})]
)
def test_one_head_needs_the_einsum(
    tmp_path: Path, attention: Callable[[Attention], nn.Module], partitions: int, outside: dict[str, int]
) -> None:
    """Without it the second product has computed weights, which XNNPACK leaves outside; the day this fails, the form can go."""
    module = attention(Attention(NETWORK.blocks1[0].SelfAttn.attn))
    counted = written(module, tmp_path, 1, 36, 4, 4)
    assert (counted.partitions, counted.outside) == (partitions, outside)


def head_weights(model: Any) -> Any:
    """Their buffer."""
    (graph,) = model.subgraphs
    (head,) = [tensor for tensor in graph.tensors if list(tensor.shape) == [10, 288]]
    return model.buffers[head.buffer]


@pytest.mark.slow
def test_a_fault_in_the_weights_is_seen(artifact: Artifact, tmp_path: Path) -> None:
    """The head's weights, 0.01 % off."""

    def scale(model: Any) -> None:
        weights = head_weights(model)
        weights.data = (weights.data.view(np.float32) * np.float32(1.0001)).view(np.uint8)

    faulty = changed(artifact.path, tmp_path / "model.tflite", scale)
    assert error_of(artifact, faulty) > 2 * K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.slow
def test_another_epsilon_is_seen(artifact: Artifact, tmp_path: Path) -> None:
    """PyTorch's default LayerNorm epsilon for the published one."""

    def enlarge(model: Any) -> None:
        found = [buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data) == 4]
        found = [buffer for buffer in found if buffer.data.view(np.float32)[0] == np.float32(1e-6)]
        assert found
        for buffer in found:
            buffer.data = np.array([1e-5], np.float32).view(np.uint8)

    faulty = changed(artifact.path, tmp_path / "model.tflite", enlarge)
    assert error_of(artifact, faulty) > 2 * K * truth_and_noise(NETWORK, images())[1]


@pytest.mark.slow
def test_a_file_written_again_unchanged_is_good(artifact: Artifact, tmp_path: Path) -> None:
    """Negative control of the two faults."""
    same = changed(artifact.path, tmp_path / "model.tflite", lambda model: None)
    assert error_of(artifact, same) == error_of(artifact, artifact.path)


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_what_was_not_asked_for_is_refused(what: str) -> None:
    good = {"inputs": (spec(1, 3, 64, 64),), "outputs": (spec(1, 10),)}
    told = Written(**{**good, what: (spec(1, 1),)}, operators={}, partitions=0, outside={})
    with pytest.raises(ExportError, match=rf"model\.tflite: {what} in the written file: .*, asked for: "):
        check_written(told, good["inputs"], good["outputs"])


class Spectrum(nn.Module):
    """The converter has no complex numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).real


@pytest.mark.slow
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"litert-torch could not convert the model: RuntimeError: .*complex") as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, Spectrum())
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(
            "import os, sys; print('bad pass', file=sys.stderr, flush=True); os.abort()",
            "litert-torch was killed by SIGABRT: bad pass$",
            marks=posix_only,
        ),
        ("import sys; sys.exit('no memory')", "litert-torch ended with status 1: no memory$"),
        ("pass", "litert-torch ended with status 0$"),
    ],
)
def test_a_child_that_fails_is_one_line(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        convert_in_child(nn.Identity(), tmp_path / "model.tflite", spec(1, 2), ("logits",), code)
    assert left_in(tmp_path) == []


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "CONVERT_TIMEOUT_S", 1.0)
    with pytest.raises(ExportError, match=r"litert-torch did not end within 1 s$"):
        convert_in_child(nn.Identity(), tmp_path / "model.tflite", spec(1, 2), ("logits",), "import time; time.sleep(60)")
    assert left_in(tmp_path) == []


@pytest.mark.slow
def test_its_metadata_say_how_pixels_are_normalised_and_that_it_is_planar(artifact: Artifact) -> None:
    said = LiteRTExporter().description(artifact)
    assert said is not None
    assert said.labels == (), "nobody gave any"
    assert said.normalisation is not None
    assert np.allclose(said.normalisation.mean, [123.675, 116.28, 103.53])
    assert np.allclose(said.normalisation.std, [58.395, 57.12, 57.375])


@pytest.mark.slow
def test_notes_name_the_limits(artifact: Artifact) -> None:
    notes = " ".join(artifact.notes)
    assert "image classes, and code that is generated from metadata, hand over interleaved pixels" in notes
    assert "No labels are in them" in notes
    assert "Batch 1 and 64 x 64 only" in notes
    assert "`serving_default` calls the input `input` and the output `logits`" in notes
    assert "A GPU or NPU delegate may round to half precision" in notes


@pytest.mark.slow
def test_the_usage_snippet_runs(artifact: Artifact, tmp_path: Path) -> None:
    """The Python of the bundle's README, at this size, in a process of its own."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images().tobytes())
    (tmp_path / "model.tflite").write_bytes(artifact.path.read_bytes())
    (snippet,) = re.findall(r"```python\n(.*?)```", LiteRTExporter.usage, flags=re.DOTALL)
    code = snippet.replace("224", "64") + "np.save('outputs.npy', outputs)\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    exact, noise = truth_and_noise(NETWORK, images())
    assert np.abs(np.load(tmp_path / "outputs.npy") - exact).max() <= K * noise


def test_the_command_line_refuses_by_name(expect_error: Callable[..., str], tmp_path: Path) -> None:
    common = ("litert", "--model", "edgevit_xxs", "--output", tmp_path)
    assert expect_error(2, *common, "--precision", "fp16").endswith(
        "has no precision 'fp16'; use --precision fp32 or int8 or int8-dynamic"
    )
    assert expect_error(2, *common, "--batch", "dynamic").endswith("cannot have a dynamic batch; use --batch N")
    assert "use --image-size N or HxW" in expect_error(2, *common, "--image-size", "dynamic")
    assert list(tmp_path.iterdir()) == []


def test_without_litert_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = LiteRTExporter.probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[litert]'")
