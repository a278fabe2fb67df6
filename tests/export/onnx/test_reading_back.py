"""What the exporter reads back: a file that is not what was asked for is refused, and so is what is not on offer."""

import onnx
import pytest
import torch
from onnx import helper

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.model.edgevit import GlobalSparseAttn
from export import onnx as target
from export.onnx import OPSETS, OnnxExporter
from tests.helpers.onnx import export, make_plan, rewritten, shared


def set_opset(model):
    model.opset_import[0].version = 19


def set_ir_version(model):
    model.ir_version = 11


def add_domain(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def rename_output(model):
    model.graph.output[0].name = model.graph.node[-1].output[0] = "linear_28"


def free_the_batch(model):
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_opset, r"opset should be \{'': 20\}, the written file has \{'': 19\}"),
        (set_ir_version, "IR version should be 9, the written file has 11"),
        (add_domain, "opset should be"),
        (rename_output, "outputs should be .*logits.*linear_28"),
        (free_the_batch, "inputs should be .*'batch'"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for_is_refused(plain, tmp_path, change, message):
    plan = make_plan()
    path = rewritten(plain, tmp_path, change)
    with pytest.raises(ExportError, match=message):
        target.check_written(path, plan)


def test_another_opset_than_asked_is_refused():
    """What the newer exporter does: asked for 17, writes 18. The file is valid, so only reading it back shows it."""
    artifact = shared(opset=18)
    plan = make_plan(opset=17)
    with pytest.raises(ExportError, match=r"opset should be \{'': 17\}, the written file has \{'': 18\}"):
        target.check_written(artifact.path, plan)


def test_weights_outside_the_file_are_refused(plain, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(plain.path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    plan = make_plan()
    with pytest.raises(ExportError, match="weights outside the file should be"):
        target.check_written(path, plan)


@pytest.mark.parametrize("opset", [9, 16, 21])
def test_an_opset_not_on_offer_is_refused_with_the_flag_that_works(opset):
    with pytest.raises(UsageError, match=rf"no --opset {opset}; use --opset 17 to 20"):
        OnnxExporter().refuse(make_plan(opset=opset))


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_on_offer_is_accepted(opset):
    OnnxExporter().refuse(make_plan(opset=opset, dynamic_batch=True, dynamic_size=True, takes="image"))


def test_pytorchs_refusal_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "attend", lambda self, tokens: torch.linalg.svd(tokens, full_matrices=False)[0])
    with pytest.raises(ExportError, match=r"PyTorch could not export to ONNX opset 20: ") as caught:
        export(tmp_path)
    assert "\n" not in str(caught.value)
