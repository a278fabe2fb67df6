"""The ONNX exporter against float64, at every opset, and free axes that are not free."""

import onnx
import pytest
import torch

from edgevit_deploy.errors import ExportError
from edgevit_deploy.model.edgevit import GlobalSparseAttn
from edgevit_deploy.model.variants import create_model
from export import onnx as target
from export.onnx import OPSETS
from export.onnx.simplify import largest_errors, make_dry_runs
from tests.helpers.bounds import bound_of
from tests.helpers.onnx import SECOND_SIZE, SMALL, baked_forward, error_and_bound, export, make_plan, operators, shared
from tests.helpers.small import SMALL_SIZE, prepared
from tests.helpers.targets import NETWORK


@pytest.mark.parametrize("simplify", [True, False])
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_computes_what_float64_does(reference, opset, simplify):
    artifact = shared(opset=opset, simplify=simplify)
    error, bound = error_and_bound(artifact, reference)
    assert error <= bound
    written = onnx.load(artifact.path)
    assert [(entry.domain, entry.version) for entry in written.opset_import] == [("", opset)]
    assert written.ir_version == (8 if opset < 19 else 9)  # onnx's table of versions
    assert operators(artifact)["Gelu"] == (12 if opset == 20 else 0)


def test_fixed_batch(reference):
    artifact = shared(batch=2)
    assert artifact.inputs[0].shape == (2, 3, 64, 64)
    assert artifact.outputs[0].shape == (2, 10)
    error, bound = error_and_bound(artifact, reference, batch=2)
    assert error <= bound


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [SMALL_SIZE, SECOND_SIZE, (32, 224)])
def test_free_axes_work_at_other_batches_and_sizes(free, reference, batch, size):
    assert free.inputs[0].shape == ("batch", 3, "height", "width")
    assert free.outputs[0].shape == ("batch", 10)
    error, bound = error_and_bound(free, reference, batch=batch, size=size)
    assert error <= bound


@pytest.mark.parametrize("simplify", [True, False])
def test_free_size_with_a_fixed_batch(reference, simplify):
    artifact = shared(dynamic_size=True, simplify=simplify)
    assert artifact.inputs[0].shape == (1, 3, "height", "width")
    assert artifact.outputs[0].shape == (1, 10)
    error, bound = error_and_bound(artifact, reference, size=SECOND_SIZE)
    assert error <= bound


def test_image_input(reference):
    artifact = shared(takes="image")
    error, bound = error_and_bound(artifact, reference, takes="image")
    assert error <= bound


def test_a_wrong_epsilon_fails_the_same_bound(reference, tmp_path):
    """The bound of these tests can fail: the file of a network that differs in one epsilon is outside it."""
    wrong = create_model("edgevit_xxs", num_classes=10, image_size=64, norm_eps=1e-4)
    wrong.load_state_dict(NETWORK.state_dict())
    error, bound = error_and_bound(export(tmp_path, prepared(wrong, torch.float32)), reference)
    assert error > 10 * bound


# Free axes that are not


def test_a_baked_in_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)
    with pytest.raises(ExportError, match=r"does not run at 1x3x96x160, which it declares"):
        export(tmp_path, dynamic_size=True)
    assert not list(tmp_path.iterdir())


def test_only_the_second_size_shows_a_baked_in_one(monkeypatch):
    """The old trap: declared free, valid for the checker, right at the traced size."""
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)
    plan = make_plan(dynamic_size=True)
    module = SMALL.module_for()
    graph = target.trace(module, plan)
    onnx.checker.check_model(graph, full_check=True)
    assert [dim.dim_param for dim in graph.graph.input[0].type.tensor_type.shape.dim] == ["", "", "height", "width"]
    first, second = make_dry_runs(module, plan, bound_of("onnx", "fp32"))
    (error,) = largest_errors(graph, (first,))
    assert error <= first.atol[0]
    with pytest.raises(ExportError, match="does not run"):
        largest_errors(graph, (second,))


def test_a_baked_in_batch_is_refused(tmp_path, monkeypatch):
    attend = GlobalSparseAttn.attend
    monkeypatch.setattr(GlobalSparseAttn, "attend", lambda self, tokens: attend(self, tokens).reshape(1, -1, tokens.shape[2]))
    with pytest.raises(ExportError, match=r"does not run at 3x3x64x64"):
        export(tmp_path, dynamic_batch=True)
