"""The ExecuTorch target: one delegate for its form, 46 for the original graph, and what was counted is what the file holds."""

import logging
import re
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.spec import Placement
from export.executorch import ExecuTorchExporter, Lowered, check_written, lower
from tests.helpers.bounds import bound_of
from tests.helpers.executorch import SMALL, OneConvolution
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images

K = bound_of("executorch", "fp32").k


@pytest.fixture(scope="module")
def deployed() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def original() -> Artifact:
    return SMALL.shared(graph="original")


@pytest.mark.slow
def test_the_form_is_one_delegate(deployed: Artifact) -> None:
    assert deployed.placements["XNNPACK"].partitions == 1
    assert deployed.placements["XNNPACK"].outside == {}
    operators = deployed.operators
    assert (operators["aten::gelu"], operators["aten::_softmax"], operators["aten::rsqrt"]) == (12, 7, 23)
    assert not set(operators) & {"aten::native_layer_norm", "aten::expand_copy", "aten::select_copy.int"}
    notes = " ".join(deployed.notes)
    assert "XNNPACK runs the whole network in one delegate" in notes
    assert "Batch 1 and 64 x 64 only" in notes
    assert "Float32 only" in notes


@pytest.mark.nightly
def test_the_original_graph_is_split_and_says_so(original: Artifact) -> None:
    """Negative control of the count."""
    assert original.placements["XNNPACK"].partitions == 46
    assert original.placements["XNNPACK"].outside == {
        "aten::expand_copy.out": 28,
        "aten::mean.out": 1,
        "aten::native_layer_norm.out": 23,
        "aten::select_copy.int_out": 21,
    }
    placed = Placement(partitions=46, outside=original.placements["XNNPACK"].outside)
    assert ExecuTorchExporter().placements(original) == {"XNNPACK": placed}
    assert "Outside XNNPACK (46 delegates) run 73 operators" in original.notes[0]
    assert "aten::native_layer_norm.out (23)" in original.notes[0]


def test_the_default_pool_costs_the_single_delegate() -> None:
    """Why the form has another: an average over one flattened axis stays outside."""
    pools = {
        "one_axis": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), Mean(-1)),
        "two_axes": nn.Sequential(nn.Conv2d(3, 4, 1), Mean((-1, -2))),
    }
    outside = {name: "aten::mean.dim" in lowered_outside(pool.eval().requires_grad_(False)) for name, pool in pools.items()}
    assert outside == {"one_axis": True, "two_axes": False}


class Mean(nn.Module):
    def __init__(self, axes: int | tuple[int, int]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(self.axes, keepdim=True)


def lowered_outside(module: nn.Module) -> set[str]:
    """Names of the operators outside, by ExecuTorch's own partitioned graph."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(module, (torch.zeros(1, 3, 8, 8),))
    graph = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).exported_program().graph
    return {node.target.name() for node in graph.nodes if hasattr(node.target, "_schema")}


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["deployed", pytest.param("original", marks=pytest.mark.nightly)])
def test_what_is_recorded_is_what_executorch_itself_reads(request: pytest.FixtureRequest, graph: str) -> None:
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import DelegateCall, KernelCall

    artifact: Artifact = request.getfixturevalue(graph)
    (plan,) = deserialize_pte_binary(artifact.path.read_bytes()).program.execution_plan
    arguments = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    assert sum(isinstance(call, DelegateCall) for call in arguments) == artifact.placements["XNNPACK"].partitions
    called = [plan.operators[call.op_index] for call in arguments if isinstance(call, KernelCall)]
    assert Counter(f"{operator.name}.{operator.overload}" for operator in called) == artifact.placements["XNNPACK"].outside
    assert {delegate.id for delegate in plan.delegates} == {"XnnpackBackend"}


@pytest.mark.slow
def test_another_number_of_delegates_is_refused(deployed: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\.pte has 1 delegates, its graph had 2"):
        check_written(deployed.path, Lowered(content=b"", delegates=2, operators={}), ((1, 10),))
    with pytest.raises(ExportError, match=r"outputs in the written file: \(\(1, 10\),\), asked for: \(\(1, 10\), \(1, 10\)\)"):
        check_written(deployed.path, Lowered(content=b"", delegates=1, operators={}), ((1, 10), (1, 10)))
    (tmp_path / "model.pte").write_bytes(deployed.path.read_bytes().replace(b"XnnpackBackend", b"AnotherBackend"))
    with pytest.raises(ExportError, match=r"could not be run: it has a delegate for 'AnotherBackend'"):
        check_written(tmp_path / "model.pte", Lowered(content=b"", delegates=1, operators={}), ((1, 10),))
    (tmp_path / "model.pte").write_bytes(b"no program")
    with pytest.raises(ExportError, match=r"wrote what it could not run: model\.pte is no ExecuTorch program"):
        check_written(tmp_path / "model.pte", Lowered(content=b"", delegates=1, operators={}), ((1, 10),))


class Undecided(nn.Module):
    """Control flow that depends on the pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ExecuTorch could not convert the model: \w+: .") as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, Undecided())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_converter_says_nothing_and_logging_is_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    disabled, filters = logging.root.manager.disable, list(warnings.filters)
    lower(OneConvolution(), torch.zeros(1, 3, 4, 4))
    assert capfd.readouterr() == ("", "")
    assert (logging.root.manager.disable, list(warnings.filters)) == (disabled, filters)


@pytest.mark.slow
def test_the_usage_snippet_runs(deployed: Artifact, tmp_path: Path) -> None:
    """The Python of the bundle's README, at this size, in a process of its own."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images().tobytes())
    shutil.copy(deployed.path, tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", ExecuTorchExporter.usage, flags=re.DOTALL)
    code = snippet.replace("224", "64") + "np.save('outputs.npy', outputs.numpy())\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300, capture_output=True)
    exact, noise = truth_and_noise(NETWORK, images())
    assert np.abs(np.load(tmp_path / "outputs.npy") - exact).max() <= K * noise


def test_the_command_line_refuses_by_name(expect_error: Callable[..., str], tmp_path: Path) -> None:
    common = ("executorch", "--model", "edgevit_xxs", "--output", tmp_path)
    assert expect_error(2, *common, "--batch", "dynamic").endswith("cannot have a dynamic batch; use --batch N")
    assert "use --image-size N or HxW" in expect_error(2, *common, "--image-size", "dynamic")
    assert "use --precision fp32" in expect_error(2, *common, "--precision", "fp16")
    assert list(tmp_path.iterdir()) == []


def test_without_executorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = ExecuTorchExporter.probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[executorch]'")
