"""Files in int8 of a trained network: integers where they should be, the errors of their emulation, the same bytes again."""

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.peers import ClampedConvolution
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


class Twins(nn.Module):
    """Two convolutions of equal weights, one of them clamped."""

    def __init__(self):
        super().__init__()
        self.stem, self.second, self.head = nn.Conv2d(3, 8, 8, stride=8), nn.Conv2d(8, 8, 1), nn.Linear(8, 10)
        first = nn.Conv2d(8, 8, 1)
        first.load_state_dict(self.second.state_dict())
        self.first = ClampedConvolution.of(first, nn.ReLU6())

    def forward(self, x):
        """(batch, 3, 64, 64) -> (batch, 10)."""
        return self.head(self.second(self.first(self.stem(x))).mean((2, 3)))


def test_equal_weights_are_stored_once_and_a_clamp_is_part_of_its_operator(bench, u8):
    torch.manual_seed(0)
    network = Twins().eval().requires_grad_(False)
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    artifact = bench.build(replace(u8.plan, ranges=observe(network, lambda: [images])), network)
    assert sum(artifact.facts["rounded_operators"].values()) == 4
    assert artifact.facts["kernels"]["QLinearConv"] == 3
    graph = onnx.load(artifact.path).graph
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1]
    assert len(weights) == 3


def test_s8_without_int8_is_refused():
    with pytest.raises(UsageError, match="--activations s8 is how int8 rounds them; add --precision int8"):
        EXPORTER.refuse(SMALL.plan_of(options=OnnxOptions(activations="s8")))
