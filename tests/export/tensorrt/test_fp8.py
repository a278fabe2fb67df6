"""Engines in fp8: built here from explicit roundings to E4M3; of the source everything is read back and judged."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.deploy.e4m3 import E4M3WeightRounding
from edgevit_deploy.deploy.quantised import chosen, stored
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.every_target import plans_of
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.request import FileRequest
from export import TARGETS
from export.tensorrt import SourceExporter, TensorRTExporter, TensorRTOptions, plan_of_source
from tests.helpers.onnx import rewritten
from tests.helpers.rounding_faults import ROUNDING_FAULTS, hit
from tests.helpers.trained import WEIGHTS

EXPORTER = TensorRTExporter()


@pytest.fixture(scope="module")
def plan(bench):
    options = TensorRTOptions(flavor="tensorrt-rtx")
    return bench.rounded.calibrated(EXPORTER.plan(bench.model.spec, precision="fp8", options=options))


@pytest.fixture(scope="module")
def source_plan(plan):
    return plan_of_source(plan)


@pytest.fixture(scope="module")
def source(bench, source_plan, tmp_path_factory):
    return SourceExporter().export(bench.module(source_plan), source_plan, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def expected(bench, plan):
    return stored(bench.rounded.emulation(plan))


def test_an_engine_is_built_from_numbers_of_eight_bits(bench, plan, expected):
    engine = bench.build(plan)  # which compares what it is built from with the emulation
    kinds, source = engine.facts["network_layer_types"], engine.facts["source"]
    operators = sum(source["rounded_operators"].values())
    assert kinds["CONSTANT FP8"] == operators == len(expected.weights), "weights are stored as E4M3"
    assert kinds["DEQUANTIZE FLOAT"] == kinds["QUANTIZE FP8"] + operators, "of weights, and of every rounded activation"
    assert engine.facts["network_inputs"][0]["dtype"] == engine.facts["network_outputs"][0]["dtype"] == "float32"
    assert any("compute capability 8.9 and later" in note for note in engine.notes)


def test_what_has_few_channels_stays_in_floating_point(bench, plan):
    """The first convolution takes 3, the head gives 10, and a depthwise convolution multiplies each by itself."""
    paths = [path for path, _ in chosen(bench.network(plan.graph, plan.form), plan.scheme)]
    assert 0 < len(paths) < 84
    assert not [path for path in paths if path.startswith(("patch_embed1", "head")) or path.endswith(("attn", "pos_embed.body"))]


def test_its_source_states_what_the_emulation_rounds_by(source, expected):
    assert source.facts["simplification"] != "off", "it is written as that of an engine is"
    found = SourceExporter().stored(source)
    assert {zero_point for _, zero_point in found.activations} == {0}
    assert differences(found, expected) == []


def one_bit_fewer(module):
    """One channel of a weight has numbers of two bits of mantissa."""
    operator = hit(module)
    assert isinstance(operator.round_weight, E4M3WeightRounding)
    numbers = operator.round_weight.integers(operator.operator.weight)[0] & ~1
    values = numbers.view(torch.float8_e4m3fn).float() * operator.round_weight.scales[0]
    with torch.no_grad():
        operator.operator.weight[0] = values.view_as(operator.operator.weight[0])


FAULTS = {name: ROUNDING_FAULTS[name] for name in ("scale doubled", "channels swapped", "left float")} | {
    "one bit fewer in one channel": one_bit_fewer
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_read_back(bench, source_plan, expected, tmp_path, fault):
    module = bench.module(source_plan)
    FAULTS[fault](module)
    faulty = SourceExporter().export(module, source_plan, tmp_path)
    assert differences(SourceExporter().stored(faulty), expected)


def test_integers_among_the_numbers_are_refused(source, tmp_path):
    """Steps of 1/448 of a range, read as integers, would cover a quarter of it; the scales alone do not tell."""

    def as_integer(model):
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
        constants[node.input[2]].data_type = onnx.TensorProto.INT8

    path = rewritten(source, tmp_path, as_integer)
    with pytest.raises(RunError, match="rounds to float8_e4m3fn and int8 at once"):
        SourceExporter().stored(replace(source, path=path))


def test_the_same_ranges_give_the_same_bytes(bench, source, source_plan, tmp_path):
    again = SourceExporter().export(bench.module(source_plan), source_plan, tmp_path)
    assert again.path.read_bytes() == source.path.read_bytes()


def test_an_older_opset_has_no_such_type(bench):
    plan = EXPORTER.plan(bench.model.spec, precision="fp8", options=TensorRTOptions(opset=18))
    with pytest.raises(UsageError, match="--opset 18 has no FP8; use --opset 19 or later"):
        EXPORTER.refuse(plan)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"tensorrt"}))
def test_other_targets_say_who_has_it(bench, target):
    exporter = THIS_HOST.find_exporter(target)
    with pytest.raises(UsageError, match=f"{target} has no precision 'fp8' .*only TensorRT.*; use --precision fp32"):
        exporter.refuse(exporter.plan(bench.model.spec, precision="fp8"))


def test_of_all_targets_one_is_converted_to_it(bench):
    assert [plan.target for plan in plans_of(bench.model, FileRequest(precision="fp8"))] == ["tensorrt"]


@pytest.mark.slow
def test_a_bundle_is_judged_by_its_source_and_verifies(bench, tmp_path, capfd):
    tokens = [
        "tensorrt",
        "--weights",
        str(WEIGHTS),
        "--precision",
        "fp8",
        "--calibration",
        "synthetic",
        "--flavor",
        "tensorrt-rtx",
    ]
    assert run([*tokens, "--output", str(tmp_path)]) == 0
    manifest = read_manifest(tmp_path / "tensorrt-fp8")
    assert {diff.tolerance.measure for diff in manifest.parity.diffs} == {"rms"}
    assert all(diff.ok for diff in manifest.parity.diffs)
    assert run(["verify", str(tmp_path / "tensorrt-fp8")]) == (0 if THIS_HOST.find_session("tensorrt") else 3)
    assert "error" not in capfd.readouterr().err.splitlines()[-1].split(":")[0]


@pytest.mark.slow
def test_channels_that_are_swapped_show_in_numbers(bench, plan, source, tmp_path):
    """In the file, that is: to round by another scale and go back by the same costs floating point little."""

    def swap(model):
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        weights = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
        place = constants[weights[0].input[1]]
        scales = numpy_helper.to_array(place).copy()
        order = np.argsort(scales)
        scales[order[[0, -1]]] = scales[order[[-1, 0]]]
        place.CopyFrom(numpy_helper.from_array(scales, place.name))

    truths, bound = bench.truths(plan), EXPORTER.bound("fp8")
    faulty = replace(source, path=rewritten(source, tmp_path, swap))
    assert [bench.judge(file, truths, bound).status for file in (source, faulty)] == ["passed", "failed"]
