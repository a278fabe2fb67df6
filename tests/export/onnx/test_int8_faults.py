"""Faults in int8 files: what a file states otherwise is read back, what computes otherwise shows in its mean square."""

import re
from dataclasses import replace

import numpy as np
import onnxsim
import pytest
from onnx import numpy_helper

from edgevit_deploy.deploy.quantised import rounded_operators
from edgevit_deploy.errors import ExportError, RunError
from export.onnx import check_rounded
from export.onnx.int8 import check_kernels
from tests.helpers.onnx import rewritten
from tests.helpers.onnx_int8 import EXPORTER, OPERATORS, report, wrong


def constant(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_constant(model, name, values):
    """Give a constant other values, and with them those nodes that read it by this name."""
    constant(model, name).CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def grid_of(model, operator):
    """Return the names of the scale and the zero point by which an operator's input is rounded."""
    makers = {node.output[0]: node for node in model.graph.node}
    node = next(node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm") and operator in node.name)
    return makers[node.input[0]].input[1:]


def change_grid(model, operator, scale=1.0, zero_point=0, kinds=("QuantizeLinear", "DequantizeLinear")):
    """Change the grid of one operator's input, in nodes of these kinds."""
    names = grid_of(model, operator)
    values = [numpy_helper.to_array(constant(model, name)) for name in names]
    changed = [values[0] * np.float32(scale), values[1] + np.array(zero_point, values[1].dtype)]
    new_names = ["changed_scale", "changed_zero_point"]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for value, name in zip(changed, new_names, strict=True))
    for node in model.graph.node:
        if node.op_type in kinds and list(node.input[1:]) == list(names):
            node.input[1:] = new_names


def weights_of(model, operator):
    """Return the DequantizeLinear of an operator's weights."""
    makers = {node.output[0]: node for node in model.graph.node}
    return next(makers[n.input[1]] for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm") and operator in n.name)


def double_a_scale(model):
    change_grid(model, "patch_embed1", scale=2)


def move_a_zero_point(model):
    change_grid(model, "patch_embed1", zero_point=1)


def swap_two_channels(model):
    name = weights_of(model, "patch_embed2").input[1]
    scales = numpy_helper.to_array(constant(model, name)).copy()
    order = np.argsort(scales)
    scales[order[[0, -1]]] = scales[order[[-1, 0]]]
    set_constant(model, name, scales)


def round_to_7_bits(model):
    name = weights_of(model, "patch_embed2").input[0]
    set_constant(model, name, (2 * np.rint(numpy_helper.to_array(constant(model, name)) / 2)).clip(-127, 127).astype(np.int8))


def move_a_weight(model):
    name = weights_of(model, "patch_embed2").input[0]
    values = numpy_helper.to_array(constant(model, name)).copy()
    values.flat[0] ^= 1
    set_constant(model, name, values)


def double_a_scale_on_the_way_back(model):
    """What a writer does that mixes up two grids: the integers of one are read with the step of another."""
    change_grid(model, "patch_embed1", scale=2, kinds=("DequantizeLinear",))


GRIDS = "1 of 144 grids of activations are missing .*, 1 are of none"
WEIGHTS = f"the weights of 1 of {OPERATORS} operators are missing, and of 1 there are others"


@pytest.mark.parametrize(
    ("fault", "says", "in_numbers"),
    [
        (double_a_scale, GRIDS, False),
        (double_a_scale_on_the_way_back, "0 of 144 grids of activations are missing, 1 are of none", True),
        (move_a_zero_point, GRIDS, False),
        (swap_two_channels, WEIGHTS, True),
        (round_to_7_bits, WEIGHTS, False),
        (move_a_weight, WEIGHTS, False),
    ],
)
def test_a_fault_in_a_file_is_read_back(bench, u8, tmp_path, fault, says, in_numbers):
    """A coarser grid by itself loses less than the gate of numbers sees: therefore everything is read back."""
    path = rewritten(u8.artifact, tmp_path, fault)
    (sentence,) = wrong(u8, path)
    assert re.search(says, sentence), sentence
    if in_numbers:
        assert report(bench, u8, path).status == "failed"


def test_an_operator_left_in_float_is_found(bench, u8, tmp_path):
    module = bench.module(u8.plan)
    path, operator = next((name, part) for name, part in module.named_modules() if part is rounded_operators(module)[7])
    module.set_submodule(path, operator.operator)
    artifact = EXPORTER.export(module, u8.plan, tmp_path)
    (*_, sentence) = wrong(u8, artifact.path)
    assert sentence == f"the weights of 1 of {OPERATORS} operators are missing, and of 0 there are others"


# What the exporter itself reads back


def bypass(model, kind, side):
    """Let what stands before or behind the first operator of a type go without rounding."""
    makers = {output: node for node in model.graph.node for output in node.output}
    readers = {name: node for node in model.graph.node for name in node.input}
    node = next(node for node in model.graph.node if node.op_type == kind and makers[node.input[1]].op_type == "DequantizeLinear")
    if side == "input":
        node.input[0] = makers[makers[node.input[0]].input[0]].input[0]
    else:
        quantise = readers[node.output[0]]
        dequantise = readers[quantise.output[0]]
        (after,) = (other for other in model.graph.node if dequantise.output[0] in other.input)
        after.input[:] = [node.output[0] if name == dequantise.output[0] else name for name in after.input]
        model.graph.node.remove(quantise)
        model.graph.node.remove(dequantise)


@pytest.mark.parametrize(
    ("side", "message"),
    [("input", "Conv .* has int8 weights and takes .*, which is not rounded"), ("output", "what it gives is not rounded")],
)
def test_a_float_end_of_an_operator_is_refused(u8, tmp_path, side, message):
    path = rewritten(u8.artifact, tmp_path, lambda model: bypass(model, "Conv", side))
    with pytest.raises(ExportError, match=message):
        check_rounded(path, u8.plan.scheme, OPERATORS)


def test_a_missing_operator_is_refused(u8):
    with pytest.raises(ExportError, match=f"{OPERATORS + 1} operators were rounded, {OPERATORS} have int8 weights in the file"):
        check_rounded(u8.artifact.path, u8.plan.scheme, OPERATORS + 1)


def test_another_type_of_activations_is_refused(u8):
    with pytest.raises(ExportError, match="activations should be s8"):
        check_rounded(u8.artifact.path, replace(u8.plan.scheme, activations="s8"), OPERATORS)


def test_operators_that_the_runtime_computes_in_float_are_refused(u8, tmp_path):
    """Without its rounded output ONNX Runtime has no integer convolution, whatever the file says."""
    path = rewritten(u8.artifact, tmp_path, lambda model: bypass(model, "Conv", "output"))
    with pytest.raises(ExportError, match="ONNX Runtime reads 1 of the int8 weights back to float32"):
        check_kernels(path, "u8")


def test_weights_with_a_zero_point_are_no_file_of_ours(u8, tmp_path):
    def move(model):
        name = weights_of(model, "patch_embed2").input[2]
        set_constant(model, name, np.ones_like(numpy_helper.to_array(constant(model, name))))

    path = rewritten(u8.artifact, tmp_path, move)
    with pytest.raises(RunError, match="not int8, or E4M3, with a scale for each channel and zero point 0"):
        wrong(u8, path)


def test_a_simplifier_that_takes_roundings_away_is_not_followed(bench, u8, tmp_path, monkeypatch):
    simplify = onnxsim.simplify

    def careless(model, **options):
        simplified, sound = simplify(model, **options)
        bypass(simplified, "Conv", "output")
        return simplified, sound

    monkeypatch.setattr(onnxsim, "simplify", careless)
    artifact = EXPORTER.export(bench.module(u8.plan), u8.plan, tmp_path)
    assert "it has other roundings to integers" in artifact.facts["simplification"]["reason"]
    assert wrong(u8, artifact.path) == []
