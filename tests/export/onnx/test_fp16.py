"""Half precision: as good as PyTorch's own, really half, and with its float32 islands."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from edgevit_deploy.errors import ExportError
from edgevit_deploy.model.variants import create_model
from export import onnx as target
from export.onnx import fp16 as onnx_fp16
from tests.helpers.onnx import SECOND_SIZE, error_and_bound, export, make_plan, operators, rewritten, run, shared
from tests.helpers.small import prepared
from tests.helpers.targets import NETWORK


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_half_is_as_good_as_pytorchs_own_and_really_half(reference, opset, takes):
    artifact = shared(precision="fp16", opset=opset, takes=takes)
    error, bound = error_and_bound(artifact, reference, takes=takes, precision="fp16")
    assert error <= bound
    full = error_and_bound(artifact, reference, takes=takes)
    assert error > 10 * full[1], "as exact as float32: it was not converted"


def test_half_with_free_axes(reference):
    artifact = shared(precision="fp16", dynamic_batch=True, dynamic_size=True)
    error, bound = error_and_bound(artifact, reference, batch=3, size=SECOND_SIZE, precision="fp16")
    assert error <= bound


def test_half_file_in_numbers(plain, half):
    assert half.facts["float32_islands"] == {"LayerNormalization": 23, "ReduceMean": 1, "Softmax": 7}
    # one cast into and one out of each island, one for the input, one for the output
    assert half.facts["casts"] == operators(half)["Cast"] == 2 * 31 + 2
    assert operators(half) - operators(plain) == {"Cast": 64}
    assert half.path.stat().st_size < 0.52 * plain.path.stat().st_size


def test_half_types_in_the_written_file(half):
    """Independent of the exporter's own reading: ONNX's inference says what each node takes."""
    model = onnx.shape_inference.infer_shapes(onnx.load(half.path), strict_mode=True)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        floats = {types[name] for name in node.input} - {TensorProto.INT64}
        if node.op_type in ("LayerNormalization", "Softmax", "ReduceMean"):
            assert floats == {TensorProto.FLOAT}
        elif node.op_type != "Cast":
            assert floats == {TensorProto.FLOAT16}, node.name
    assert types["input"] == types["logits"] == TensorProto.FLOAT
    casts = [(node.input[0], node.attribute[0].i) for node in graph.node if node.op_type == "Cast"]
    assert len(set(casts)) == len(casts)


def test_an_image_is_normalised_in_float32():
    artifact = shared(precision="fp16", takes="image")
    assert {"Sub": 1, "Div": 1}.items() <= artifact.facts["float32_islands"].items()
    assert any("normalisation of the image" in note for note in artifact.notes)


def test_a_float32_file_does_not_pass_for_half(plain):
    with pytest.raises(ExportError, match="should compute in FLOAT16, its inputs in the fp16 file are FLOAT"):
        onnx_fp16.check_precision(onnx.load(plain.path))


@pytest.mark.parametrize("operator", onnx_fp16.FLOAT32_OPERATORS)
def test_a_lost_island_is_refused(plain, monkeypatch, operator):
    others = tuple(name for name in onnx_fp16.FLOAT32_OPERATORS if name != operator)
    with monkeypatch.context() as patched:
        patched.setattr(onnx_fp16, "FLOAT32_OPERATORS", others)
        broken = onnx_fp16.to_half(onnx.load(plain.path))
    onnx.checker.check_model(broken, full_check=True)
    with pytest.raises(ExportError, match=rf"{operator} .* should compute in FLOAT, its inputs in the fp16 file are FLOAT16"):
        onnx_fp16.check_precision(broken)


@pytest.mark.parametrize(
    ("operator", "message"),
    [("Softmax", "should compute in FLOAT, its inputs in the fp16 file are FLOAT16"), ("MatMul", "is not valid ONNX")],
)
def test_a_lost_cast_is_refused(half, tmp_path, operator, message):
    """Into a Softmax the types still fit, so only our own reading shows it; out of one they do not, and onnx's check does."""

    def lose_a_cast(model):
        makers = {node.output[0]: node for node in model.graph.node}
        user = next(node for node in model.graph.node if node.op_type == operator and makers[node.input[0]].op_type == "Cast")
        user.input[0] = makers[user.input[0]].input[0]

    plan = make_plan(precision="fp16")
    with pytest.raises(ExportError, match=message):
        target.check_written(rewritten(half, tmp_path, lose_a_cast), plan)


def test_a_weight_too_large_for_half_is_refused(tmp_path):
    large = create_model("edgevit_xxs", num_classes=10, image_size=64)
    large.load_state_dict(NETWORK.state_dict())
    with torch.no_grad():
        large.head.bias[0] = 1e5
    with pytest.raises(ExportError, match=r"head\.bias reaches 1e\+05, float16 ends at 65504; use --precision fp32"):
        export(tmp_path, prepared(large, torch.float32), precision="fp16")


def test_a_weight_that_float32_and_half_share_is_kept_in_both(tmp_path):
    """One initialiser used by a LayerNormalization and a multiplication: each gets it in its own type."""
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 20]>
        shared (float[1, 2, 4, 4] input) => (float[1, 2, 4, 4] logits)
        <float[2, 2, 1, 1] kernel = {1, 0, 0, 1}, float[4] scale = {1, 2, 3, 4}> {
            features = Conv(input, kernel)
            normed = LayerNormalization(features, scale)
            logits = Mul(normed, scale)
        }"""
    )
    half = onnx_fp16.to_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert {tensor.name: tensor.data_type for tensor in half.graph.initializer} == {
        "scale": TensorProto.FLOAT,
        "kernel_fp16": TensorProto.FLOAT16,
        "scale_fp16": TensorProto.FLOAT16,
    }
    image = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    (full,), (rounded,) = (run(each.SerializeToString(), image) for each in (model, half))
    np.testing.assert_allclose(rounded, full, rtol=0, atol=8 * 2**-10)  # a few half roundings of values up to 8
