"""Files in int8 of a trained network: integers where they should be, the errors of their emulation, the same bytes again."""

import hashlib

import numpy as np
import onnx
import pytest

from edgevit_deploy.errors import UsageError
from export.onnx import OnnxOptions
from runtimes.onnx import OnnxRuntimeSession
from tests.helpers.onnx import SMALL
from tests.helpers.onnx_int8 import EXPORTER, OPERATORS, report, wrong


def test_a_file_is_as_good_as_its_emulation(bench, u8):
    judged = report(bench, u8, u8.artifact.path)
    assert judged.status == "passed"
    assert [diff.probes for diff in judged.diffs] == [2, 256]
    assert judged.worst.sqnr_db > 25, "of 8 bits more is expected"
    assert wrong(u8, u8.artifact.path) == []


def test_every_operator_is_an_integer_one_in_the_file_and_at_run_time(u8):
    facts = u8.artifact.facts
    assert sum(facts["rounded_operators"].values()) == OPERATORS
    assert facts["float_products"] == {"MatMul": 14}, "two products of attention in each of 7 blocks"
    assert facts["kernels"]["QLinearConv"] == facts["rounded_operators"]["Conv"]
    assert u8.artifact.path.stat().st_size < 0.3 * 4 * sum(weights.values.size for weights in u8.expected.weights)


def test_the_profile_of_the_runtime_shows_the_kernels_that_the_file_states(u8):
    artifact = u8.artifact
    feeds = {"input": np.zeros(artifact.inputs[0].shape, np.float32)}
    with OnnxRuntimeSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1) as session:
        kinds = [op.kind for op in session.profile(feeds, runs=1)]
    assert {kind: kinds.count(kind) for kind in artifact.facts["kernels"]} == artifact.facts["kernels"]


def test_the_same_ranges_give_the_same_bytes(bench, u8):
    again = bench.build(u8.plan).path
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(u8.artifact.path.read_bytes()).digest()


def test_s8_is_written_where_it_is_asked_for(bench):
    artifact = bench.build(EXPORTER.plan(bench.model.spec, precision="int8", options=OnnxOptions(activations="s8")))
    graph = onnx.load(artifact.path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"} == {onnx.TensorProto.INT8}
    assert artifact.facts["activations"] == "s8"
    assert artifact.facts["kernels"]["QLinearConv"] == artifact.facts["rounded_operators"]["Conv"]


@pytest.mark.slow
def test_a_free_batch_and_an_image_as_input(bench):
    plan = EXPORTER.plan(bench.model.spec, precision="int8", batch="dynamic", takes="image", options=OnnxOptions(opset=17))
    artifact = bench.build(plan)
    assert bench.judge(artifact, bench.truths(plan)).status == "passed"


def test_s8_without_int8_is_refused():
    with pytest.raises(UsageError, match="--activations s8 is how int8 rounds them; add --precision int8"):
        EXPORTER.refuse(SMALL.plan_of(options=OnnxOptions(activations="s8")))
