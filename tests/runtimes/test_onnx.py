"""The ONNX Runtime sessions: right numbers, no file read that was not given, nothing printed, nothing run elsewhere silently."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.model.anatomy import part_of
from edgevit_deploy.model.variants import create_model
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import TensorSpec
from runtimes.onnx import OnnxRuntimeCudaSession, OnnxRuntimeSession
from tests.helpers.bounds import bound_of
from tests.helpers.onnx import shared
from tests.helpers.small import ends
from tests.helpers.targets import NETWORK
from tests.helpers.timing import agrees_once

SIZE = (64, 64)


@pytest.fixture(scope="module")
def network():
    return NETWORK


@pytest.fixture(scope="module")
def free():
    return shared(dynamic_batch=True, dynamic_size=True)


def open_session(artifact, kind=OnnxRuntimeSession, **changes):
    settings = {"inputs": artifact.inputs, "outputs": artifact.outputs, "threads": 1, **changes}
    return kind(settings.pop("path", artifact.path), **settings)


def largest_error(session, network, batch):
    """Over the seeded probes: the session's largest error against float64, and what the project allows it."""
    probes = make_probes(SIZE, network.spec.preprocess, "tensor", seed=3)
    truth = Reference(network, network.spec.preprocess).truth(probes, ends("tensor", "logits"), "fp32")
    outputs = [session.run({"input": images})["logits"] for images in np.split(probes.inputs, len(probes.inputs) // batch)]
    return np.abs(np.concatenate(outputs) - truth.outputs["logits"]).max(), bound_of("onnx", "fp32").k * truth.noise["logits"]


@pytest.mark.parametrize("batch", [1, 4])
def test_computes_what_float64_does(free, network, batch):
    with open_session(free) as session:
        error, bound = largest_error(session, network, batch)
    assert error <= bound


def test_another_network_is_outside_the_bound(free, network):
    other = create_model("edgevit_xxs", num_classes=10, image_size=64, norm_eps=1e-4)
    other.load_state_dict(network.state_dict())
    with open_session(free) as session:
        error, bound = largest_error(session, other, 4)
    assert error > bound


def test_outputs_are_owned_and_the_session_can_be_opened_again(free):
    zeros, ones = (np.full((1, 3, *SIZE), value, np.float32) for value in (0, 1))
    session = open_session(free)
    before = dict(vars(session))
    with session:
        first = session.run({"input": zeros})["logits"]
        kept = first.copy()
        session.run({"input": ones})
        np.testing.assert_array_equal(first, kept)
        assert first.flags.owndata
    assert {**before, "_session": None} == vars(session)
    with session:
        np.testing.assert_array_equal(session.run({"input": zeros})["logits"], kept)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_settings_reach_onnx_runtime(free, threads):
    with open_session(free, threads=threads) as session:
        options = session._session.get_session_options()
        assert session._session.get_providers() == ["CPUExecutionProvider"]
    assert options.intra_op_num_threads == (threads or 0)
    assert options.inter_op_num_threads == 1
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if threads == 1:
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.intra_op.allow_spinning")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, r"expected the inputs image float32 .*, the file has input float32 "),
        (
            {"shape": (1, 3, 64, 64)},
            r"expected the inputs input float32 \(1, 3, 64, 64\), the file has .*'batch', 3, 'height', 'width'",
        ),
        ({"dtype": "float16"}, r"expected the inputs input float16 .*, the file has input float32 "),
    ],
)
def test_a_file_with_other_inputs_than_recorded_is_refused(free, changes, message):
    with pytest.raises(RunError, match=message), open_session(free, inputs=(replace(free.inputs[0], **changes),)):
        pass


def test_a_file_with_other_outputs_than_recorded_is_refused(free):
    wrong = (TensorSpec(name="probabilities", shape=("batch", 1000), dtype="float32"),)
    with pytest.raises(RunError, match=r"expected the outputs probabilities .*1000.*, the file has logits .*10\)"):
        open_session(free, outputs=wrong).__enter__()


def test_a_failed_load_leaves_the_session_closed(free):
    session = open_session(free, outputs=())
    with pytest.raises(RunError, match="expected the outputs"):
        session.__enter__()
    with pytest.raises(RunError, match="not open"):
        session.run({"input": np.zeros((1, 3, *SIZE), np.float32)})


# Bad files


def truncated(data):
    return data[: len(data) // 2]


def one_bit_off_in_the_structure(data):
    return bytes([data[0] ^ 0x80]) + data[1:]


@pytest.mark.parametrize("damage", [truncated, one_bit_off_in_the_structure, lambda data: b"", lambda data: b"not a model" * 99])
def test_a_corrupt_file_is_one_clear_line(free, tmp_path, capfd, damage):
    path = tmp_path / "model.onnx"
    path.write_bytes(damage(free.path.read_bytes()))
    message = r"(model\.onnx cannot be read|ONNX Runtime \(CPU\) cannot load model\.onnx) \(.*\); convert again"
    with pytest.raises(RunError, match=message) as caught:
        open_session(free, path=path).__enter__()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_one_clear_line(free, tmp_path):
    with pytest.raises(RunError, match=r"model\.onnx cannot be read .*No such file"):
        open_session(free, path=tmp_path / "model.onnx").__enter__()


def test_an_unknown_operator_is_refused_silently_on_stderr(free, tmp_path, capfd):
    model = onnx.load(free.path)
    next(node for node in model.graph.node if node.op_type == "Gelu").op_type = "GeluOfTomorrow"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(RunError, match="GeluOfTomorrow"):
        open_session(free, path=tmp_path / "model.onnx").__enter__()
    assert capfd.readouterr() == ("", "")


def test_a_failure_while_running_is_one_clear_line(free, capfd):
    """240 is no multiple of 32: ONNX Runtime fails inside, on a Reshape."""
    with open_session(free) as session:
        with pytest.raises(RunError, match=r"ONNX Runtime \(CPU\) failed on model\.onnx: .*Reshape") as caught:
            session.run({"input": np.zeros((1, 3, 240, 240), np.float32)})
        assert session.run({"input": np.zeros((1, 3, *SIZE), np.float32)})["logits"].shape == (1, 10)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


# Weights that lie elsewhere


def outside(tensor):
    """Point a tensor at a file outside the bundle."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("length", "40")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_an_initializer(model):
    outside(next(tensor for tensor in model.graph.initializer if tensor.name.endswith("head.bias")))


def in_a_constant_node(model):
    tensor = outside(numpy_helper.from_array(np.zeros(10, np.float32), "hidden"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=tensor))


def in_a_subgraph(model):
    weight = outside(numpy_helper.from_array(np.zeros(10, np.float32), "hidden"))
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [10])
    branch = helper.make_graph([helper.make_node("Identity", ["hidden"], ["result"])], "branch", [], [result], [weight])
    condition = numpy_helper.from_array(np.array(True), "condition")
    model.graph.initializer.append(condition)
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch))


def in_a_function(model):
    weight = outside(numpy_helper.from_array(np.zeros(10, np.float32), "hidden"))
    body = [helper.make_node("Constant", [], ["hidden"], value=weight)]
    model.functions.append(helper.make_function("own", "Hidden", [], ["hidden"], body, [helper.make_opsetid("", 20)]))


@pytest.mark.parametrize("hide", [in_an_initializer, in_a_constant_node, in_a_subgraph, in_a_function])
def test_weights_in_another_file_are_never_read(free, tmp_path, hide):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "secret").write_bytes(np.arange(10, dtype=np.float32).tobytes())
    model = onnx.load(free.path)
    hide(model)
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RunError, match=r"model\.onnx keeps '.*' in another file, which is never read; embed the weights"):
        open_session(free, path=bundle / "model.onnx").__enter__()


def test_weights_beside_the_file_are_refused_too(free, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(free.path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(RunError, match="in another file"):
        open_session(free, path=path).__enter__()


# CUDA


def test_probe_of_the_cpu_session():
    assert OnnxRuntimeSession.probe().ok


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA (onnxruntime-gpu)"
)
def test_cuda_on_a_cpu_build_names_the_package_and_does_not_run_elsewhere(free):
    verdict = OnnxRuntimeCudaSession.probe()
    assert not verdict.ok
    assert "onnxruntime-gpu" in verdict.fix
    with pytest.raises(MissingError, match="has no CUDAExecutionProvider"):
        open_session(free, OnnxRuntimeCudaSession).__enter__()


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_does_not_start_is_not_the_cpu_in_disguise(free, monkeypatch):
    """ONNX Runtime goes on with the CPU when a provider does not start; here one that only claims to be there."""
    if OnnxRuntimeCudaSession.probe().ok:
        pytest.skip("CUDA starts on this host")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    verdict = OnnxRuntimeCudaSession.probe()
    assert not verdict.ok
    assert "CUDAExecutionProvider did not start" in verdict.detail
    with pytest.raises(RunError, match="CUDAExecutionProvider did not start on this host, only CPUExecutionProvider"):
        open_session(free, OnnxRuntimeCudaSession).__enter__()


@pytest.mark.gpu
def test_cuda_computes_what_float64_does(free, network):
    if not OnnxRuntimeCudaSession.probe().ok:
        pytest.skip(OnnxRuntimeCudaSession.probe().detail)
    with open_session(free, OnnxRuntimeCudaSession) as session:
        error, bound = largest_error(session, network, 4)
    assert error <= bound


@pytest.mark.nightly
def test_the_profile_adds_up(free):
    feeds = {"input": np.zeros((1, 3, *SIZE), np.float32)}

    def profile_and_total_ms():
        return sum(op.time_ms for op in session.profile(feeds, 5)), min(session.time_runs(feeds, 20))

    with open_session(free) as session:
        assert agrees_once(profile_and_total_ms, 0.3, 3)


def test_the_profile_names_every_node(free):
    with open_session(free) as session:
        ops = session.profile({"input": np.zeros((1, 3, *SIZE), np.float32)}, 5)
    assert {"Conv", "Softmax", "LayerNormalization"} <= {op.kind for op in ops}
    assert {"LocalAgg", "LocalProp", "FFN", "norms"} <= {part_of(op.name) for op in ops}
