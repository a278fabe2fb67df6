"""Model files that do what no EdgeViT does: the child holds them, and the answer is one line in bounded time and memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevit_deploy.cli import run
from edgevit_deploy.errors import RunError
from edgevit_deploy.process.child import environment
from edgevit_deploy.process.session_child import ChildSession
from edgevit_deploy.process.worker import MEMORY_VARIABLE
from edgevit_deploy.spec import TensorSpec
from runtimes import RUNTIMES
from tests.helpers.bundles import rehash
from tests.helpers.hosts import registered
from tests.process.test_child import assert_gone

INPUTS = (TensorSpec(name="input", shape=(1, 4), dtype="float32"),)
OUTPUTS = (TensorSpec(name="logits", shape=(1, 4), dtype="float32"),)


def value(name: str, kind: int, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, kind: int, *numbers: int) -> onnx.NodeProto:
    dims = [len(numbers)] if len(numbers) != 1 else []
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, dims, numbers))


def save(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    graph = helper.make_graph(
        nodes, "hostile", [value("input", TensorProto.FLOAT, [1, 4])], [value("logits", TensorProto.FLOAT, [1, 4])]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def endless(path: Path) -> Path:
    """A loop of 2**62 turns: valid ONNX, and no shape is unknown."""
    body = helper.make_graph(
        [helper.make_node("Sin", ["state"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [value("turn", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("state", TensorProto.FLOAT, [1, 4])],
        [value("on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [1, 4])],
    )
    nodes = [constant("turns", TensorProto.INT64, 2**62), constant("yes", TensorProto.BOOL, 1)]
    return save(path, [*nodes, helper.make_node("Loop", ["turns", "yes", "input"], ["logits"], body=body)])


def greedy(path: Path) -> Path:
    """One operator that wants 32 GB: the input is expanded, and its largest value taken."""
    sizes = constant("sizes", TensorProto.INT64, 2**31, 4)
    nodes = [sizes, helper.make_node("Expand", ["input", "sizes"], ["large"])]
    return save(path, [*nodes, helper.make_node("ReduceMax", ["large"], ["logits"], axes=[0], keepdims=1)])


def bounded(timeout_s: float) -> type[ChildSession]:
    """ONNX Runtime as registered, with another limit of time."""
    session_type = registered("onnxruntime")
    assert issubclass(session_type, ChildSession)
    return type("Bounded", (session_type,), {"run_timeout_s": timeout_s, "image_timeout_s": 0.0})


def test_every_runtime_is_in_a_child() -> None:
    assert [name for name, line in RUNTIMES.items() if not line.isolated] == []
    assert all(issubclass(registered(name), ChildSession) for name in RUNTIMES)


def test_an_endless_loop_ends_with_its_time(tmp_path: Path) -> None:
    session = bounded(3.0)(endless(tmp_path / "model.onnx"), inputs=INPUTS, outputs=OUTPUTS)
    with session, pytest.raises(RunError, match=r"could not run model\.onnx: no answer within 3 s"):
        session.run({"input": np.ones((1, 4), np.float32)})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what is allocated")
def test_an_operator_gets_no_more_memory_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, "2")
    session_type = registered("onnxruntime")
    with session_type(greedy(tmp_path / "model.onnx"), inputs=INPUTS, outputs=OUTPUTS) as session:
        with pytest.raises(RunError, match="memory is limited to 2 GiB"):
            session.run({"input": np.ones((1, 4), np.float32)})
        assert (session.peak_memory_bytes() or 0) < 2 * 2**30


VERIFY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgevit_deploy.cli import main
main(["verify", sys.argv[1]])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_verify_of_an_endless_model_is_interrupted_at_once(small_onnx_bundle: Path, number: signal.Signals) -> None:
    """The file is an attacker's, hashes redone; the child is killed with everything in it."""
    command = [sys.executable, "-P", "-c", VERIFY, str(small_onnx_bundle)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "replaying the golden inputs" not in process.stderr.readline():
            pass
        children: list[int] = []
        while not children or not busy(children[0]):
            children = children_of(process.pid)
            time.sleep(0.05)
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(300) == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    for child in children:
        assert_gone(child)


def children_of(pid: int) -> list[int]:
    try:
        tasks = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    return [int(child) for line in tasks for child in line.split()]


def busy(pid: int) -> bool:
    """Whether a process has used a second of CPU: the model is running."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 1.5


@pytest.fixture
def small_onnx_bundle(tmp_path: Path) -> Path:
    """A bundle whose model is the endless one."""
    tokens = ["onnx", "--model", "edgevit_xxs", "--image-size", "32", "--num-classes", "4", "--output", str(tmp_path)]
    assert run(tokens) == 0
    bundle = tmp_path / "onnx-fp32"
    model = onnx.load(endless(bundle / "model.onnx"))
    nodes = list(model.graph.node)
    nodes[-1].input[2] = "four"  # of the loop: what goes round
    del model.graph.node[:]
    model.graph.input[0].CopyFrom(value("input", TensorProto.FLOAT, [1, 3, 32, 32]))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
            constant("pads", TensorProto.INT64, 0, 0, 0, 1),
            helper.make_node("Pad", ["mean", "pads"], ["four"]),
            *nodes,
        ]
    )
    onnx.save(model, bundle / "model.onnx")
    rehash(bundle)
    return bundle
