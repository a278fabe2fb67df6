"""The Core AI runtimes: the reference evaluation of a saved asset, the packaged runtime, and Core AI itself over a stand-in."""

import platform
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.process.session_child import isolated
from edgevit_deploy.spec import TensorSpec
from runtimes.coreai import CoreAICPUSession, CoreAIGPUSession, CoreAINeuralEngineSession
from runtimes.coreai.evaluation.operators import OPERATORS
from runtimes.coreai.packaged import PackagedCoreAISession
from runtimes.coreai.reference import CoreAIReferenceSession
from tests.helpers.coreai import SMALL, changed, declare_another_epsilon, operations
from tests.helpers.targets import images


@pytest.fixture(scope="module")
def plain() -> Artifact:
    return SMALL.shared()


def run(artifact: Artifact, path: Path, session: Any = CoreAIReferenceSession) -> np.ndarray:
    with session(path, inputs=artifact.inputs, outputs=artifact.outputs) as opened:
        return opened.run({"input": images(1)})["logits"]


def test_the_reports_call_it_a_reference_evaluation_and_nobody_times_it() -> None:
    assert CoreAIReferenceSession.name == "Core AI reference evaluation"
    assert not CoreAIReferenceSession.executes_target
    assert not PackagedCoreAISession.executes_target
    assert CoreAICPUSession.executes_target


def test_the_packaged_runtime_works_within_a_limit_of_memory(plain: Artifact) -> None:
    session = isolated(PackagedCoreAISession, "runtimes.coreai.packaged:PackagedCoreAISession")
    assert session.memory_limited
    np.testing.assert_array_equal(run(plain, plain.path, session), run(plain, plain.path, PackagedCoreAISession))


def test_both_readings_of_a_saved_file_agree(plain: Artifact) -> None:
    np.testing.assert_allclose(run(plain, plain.path), run(plain, plain.path, PackagedCoreAISession), atol=2e-5)


def test_a_composite_that_is_declared_otherwise_is_refused(plain: Artifact, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"declared to be layer_norm .*eps = 0\.001.* and computes something else"):
        run(plain, changed(plain.path, tmp_path, declare_another_epsilon))


def test_an_operator_outside_the_table_is_refused(plain: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OPERATORS, "gelu")
    with pytest.raises(RunError, match="operator gelu is not known to the reference evaluation; known: blockwise_shift_scale"):
        run(plain, plain.path)


def test_another_mode_of_an_operator_is_refused(plain: Artifact, tmp_path: Path) -> None:
    def reflect(module: Any) -> None:
        from coreai._compiler.ir import Attribute

        operations(module, "pad")[0].attributes["padding_mode"] = Attribute.parse("#coreai.padding_mode<reflect>")

    with pytest.raises(RunError, match=r"Core AI operator pad: padding_mode=.*<reflect>' is not implemented"):
        run(plain, changed(plain.path, tmp_path, reflect))


@pytest.mark.parametrize("session", [CoreAIReferenceSession, PackagedCoreAISession])
def test_another_input_than_the_manifests_is_an_error(plain: Artifact, session: Any) -> None:
    other = (TensorSpec(name="input", shape=(1, 3, 64, 64), dtype="uint8"),)
    with pytest.raises(RunError, match="its manifest says"), session(plain.path, inputs=other, outputs=plain.outputs):
        pass


SCALE, ZERO, AXIS = torch.tensor(0.5), torch.tensor(0, dtype=torch.int8), torch.tensor(0)


@pytest.mark.parametrize(
    ("kind", "operands", "attributes", "expected"),
    [
        ("slice", ([[0, 1, 2, 3]], [0, 1], [1, -1], [1, 2]), {}, [[1]]),
        ("pad", ([[1.0]], [0, 1, 2, 0], 7.0), {"padding_mode": "#coreai.padding_mode<constant>"}, [[7, 7, 1], [7, 7, 7]]),
        ("reduce_mean", ([[1.0, 3.0]], [1]), {}, [[2.0]]),
        ("sum_pool_2d", ([[[[1.0, 2.0], [3.0, 4.0]]]], [2, 2], [1, 1], [1, 1]), {}, [[[[10.0]]]]),
        ("max_pool_2d", ([[[[1.0, 2.0], [3.0, 4.0]]]], [2, 2], [1, 1], [1, 1], False), {}, [[[[4.0]]]]),
        ("softmax", ([[0.0, 0.0]], -1), {}, [[0.5, 0.5]]),
        ("broadcast_shapes", ([3, 1, 5], [4, 5]), {}, [3, 4, 5]),
        ("shrink_dims", ([[[1.0]]], [0, -1]), {}, [1.0]),
        ("expand_dims", ([1.0], [0, 2]), {}, [[[1.0]]]),
        ("rsqrt", ([4.0],), {}, [0.5]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_do_what_their_documentation_says(kind: str, operands: Any, attributes: Any, expected: Any) -> None:
    found = OPERATORS[kind](*map(torch.tensor, operands), **attributes)
    torch.testing.assert_close(found, torch.tensor(expected), check_dtype=False)


def test_operators_that_round() -> None:
    x = torch.tensor([0.25, 0.75, -100.0, 1.0])
    steps = OPERATORS["quantize"](x, SCALE, ZERO, torch.tensor(0.0), AXIS)
    assert steps.tolist() == [0, 2, -128, 2]  # half to even, and what lies beyond as the type's end
    assert OPERATORS["dequantize"](steps.to(torch.int8), SCALE, ZERO, torch.tensor(0.0), AXIS).tolist() == [0, 1, -64, 1]
    data, scales = torch.tensor([[2, -4], [6, 8]], dtype=torch.int8), torch.tensor([[0.5], [0.25]])
    found = OPERATORS["blockwise_shift_scale"](data, scales, torch.zeros(2, 1, dtype=torch.int8), torch.zeros(2, 1))
    assert found.tolist() == [[1, -2], [1.5, 2]]
    table = torch.arange(256.0).reshape(1, 1, 256, 1)
    assert OPERATORS["lut_to_dense"](torch.tensor([[3, 255]], dtype=torch.uint8), table, AXIS).tolist() == [[3, 255]]
    with pytest.raises(RunError, match="shape of lut"):
        OPERATORS["lut_to_dense"](torch.tensor([[3]], dtype=torch.uint8), table[:, :, :16], AXIS)


class FakeArray:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def numpy(self) -> np.ndarray:
        return self.data


class FakeFunction:
    """Means over the picture, in place of a network; `desc` says what the manifest is compared with."""

    input_names, output_names = ("input",), ("logits",)

    @property
    def desc(self) -> "FakeFunction":
        return self

    def input_descriptor(self, name: str) -> Any:
        return types.SimpleNamespace(dtype="float32")

    async def __call__(self, inputs: dict[str, FakeArray]) -> dict[str, FakeArray]:
        return {"logits": FakeArray(np.repeat(inputs["input"].data.mean(axis=(1, 2, 3))[:, None], 10, axis=1))}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Core AI's Python interface as its type stubs have it, on a Mac with macOS 27; remembers what was asked of it."""
    asked: list[str] = []

    class Opened:
        async def __aenter__(self) -> Any:
            return types.SimpleNamespace(load_function=lambda name: asked.append(name) or FakeFunction())

        async def __aexit__(self, *_: object) -> None:
            asked.append("closed")

    class Asset:
        @staticmethod
        def load(path: Path) -> Any:
            return types.SimpleNamespace(executable=lambda options: asked.append(options) or Opened())

    class Options:
        cpu_only = staticmethod(lambda: "cpu only")
        from_preferred_compute_unit_kind = staticmethod(lambda kind: f"prefers {kind}")

    kinds = types.SimpleNamespace(gpu=lambda: "gpu", neural_engine=lambda: "neural engine")
    runtime = types.SimpleNamespace(NDArray=FakeArray, SpecializationOptions=Options, ComputeUnitKind=kinds)
    monkeypatch.setitem(sys.modules, "coreai.runtime", runtime)  # type: ignore[arg-type]
    monkeypatch.setattr("runtimes.coreai.import_coreai", lambda: types.SimpleNamespace(AIModelAsset=Asset))
    monkeypatch.setattr("runtimes.coreai.check_asset", lambda path: {})
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("27.1", ("", "", ""), "arm64"))
    return asked


@pytest.mark.parametrize(
    ("session", "options"),
    [
        (CoreAICPUSession, "cpu only"),
        (CoreAIGPUSession, "prefers gpu"),
        (CoreAINeuralEngineSession, "prefers neural engine"),
    ],
)
def test_each_compute_unit_is_asked_for(library: list[str], session: Any, options: str, tmp_path: Path) -> None:
    inputs = (TensorSpec(name="input", shape=("batch", 3, 64, 64), dtype="float32"),)
    outputs = (TensorSpec(name="logits", shape=("batch", 10), dtype="float32"),)
    assert session.probe().ok
    assert not PackagedCoreAISession.probe().ok
    with session(tmp_path, inputs=inputs, outputs=outputs) as opened:
        found = opened.run({"input": images(2)})["logits"]
        np.testing.assert_allclose(found[:, 0], images(2).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert library == [options, "main", "closed"]
    wrong = (TensorSpec(name="input", shape=("batch", 3, 64, 64), dtype="uint8"),)
    with pytest.raises(RunError, match="its manifest says"), session(tmp_path, inputs=wrong, outputs=outputs):
        pass


@pytest.mark.parametrize(("system", "version"), [("Linux", ""), ("Darwin", "26.4"), ("Darwin", "")])
def test_elsewhere_it_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, system: str, version: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "mac_ver", lambda: (version, ("", "", ""), ""))
    for session in (CoreAICPUSession, CoreAIGPUSession, CoreAINeuralEngineSession):
        found = session.probe()
        assert (found.ok, found.detail) == (False, "Core AI needs macOS 27 or later")
        assert "verify BUNDLE" in found.fix
