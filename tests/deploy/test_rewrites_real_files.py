"""What the rewrites are for: a file without the operators that runtimes run badly."""

from pathlib import Path

import onnx
import pytest
import torch

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.ends import prepare
from export.onnx import OnnxExporter, OnnxOptions
from tests.helpers.small import plan_for, small_network


@pytest.mark.parametrize("form", [Form(), THIS_HOST.find_exporter("onnx").form], ids=["default", "of onnx"])
def test_the_onnx_file_has_no_operator_that_runtimes_run_badly(tmp_path: Path, form: Form) -> None:
    """No transposed convolution, no BatchNorm, no GELU in pieces, no tensor above rank 4."""
    original = small_network(seed=3)
    plan = plan_for(original.spec, OnnxOptions(), graph="deploy")
    module = prepare(to_deploy_form(original, form).network, original.spec.preprocess, "tensor", "logits", torch.float32)
    model = onnx.load(OnnxExporter().export(module, plan, tmp_path).path)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"ConvTranspose", "BatchNormalization", "Erf", "AveragePool"}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert max(len(value.type.tensor_type.shape.dim) for value in inferred.graph.value_info) == 4
