"""GELU in MNN's files: a quotient in place of the error function, as exact as PyTorch's own, and where it is not written so."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import export.mnn.gelu as writing
from edgevit_deploy.formats.mnn import read_mnn
from edgevit_deploy.spec import Graph, Precision
from export.mnn import traced
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.mnn import SMALL
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images

CHANNELS = 4
SPREAD = np.array([0.5, 3.0, 20.0, 1e4], np.float32)
"""By channel, so that inputs are small, usual, and far beyond where GELU is x or 0."""


class Gelus(nn.Module):
    """The GELU of a convolution that gives each channel a spread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(3, CHANNELS, 1)
        with torch.no_grad():
            self.fc1.weight.copy_(torch.from_numpy(SPREAD)[:, None, None, None] * torch.tensor([1.0, 0, 0])[None, :, None, None])
            self.fc1.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.fc1(x)).flatten(1)


def gelus(folder: Path, image: np.ndarray, precision: Precision = "fp32") -> np.ndarray:
    """What the file makes of an image of 64 x 64, (4, 4096)."""
    file = SMALL.build(SMALL.plan_of(precision=precision), folder, Gelus().eval())
    outputs = (replace(file.outputs[0], shape=(1, CHANNELS * 64 * 64)),)
    with registered("mnn")(file.path, inputs=file.inputs, outputs=outputs, threads=1) as session:
        return session.run({"input": image})["logits"].reshape(CHANNELS, -1)


def errors_of_gelu(folder: Path, precision: Precision = "fp32") -> tuple[np.ndarray, np.ndarray]:
    """The largest error of a file in each channel, and PyTorch's in float32."""
    image = images().clip(-2.5, 2.5)
    source = torch.from_numpy(image[0, :1] * SPREAD[:, None, None]).reshape(CHANNELS, -1)
    exact = nn.functional.gelu(source.double()).numpy()
    pytorch = nn.functional.gelu(source).numpy()
    return np.abs(gelus(folder, image, precision) - exact).max(axis=1), np.abs(pytorch - exact).max(axis=1)


def test_the_quotient_is_gelu() -> None:
    x = np.linspace(-40, 40, 80001)
    exact = np.array([value * math.erfc(-value / math.sqrt(2)) / 2 for value in x])
    square = np.minimum(x * x, writing.LARGEST_SQUARE)
    above, below = (np.polyval(coefficients[::-1], square) for coefficients in (writing.ABOVE, writing.BELOW))
    errors = np.abs(x * np.clip(0.5 + x * above / below, 0, 1) - exact)
    assert (errors <= 1.1e-8 * np.abs(x)).all()
    assert errors[np.abs(x) > 6].max() < 1e-8
    assert float(np.float16(writing.LARGEST_SQUARE)) == writing.LARGEST_SQUARE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_mnn_computes_it_as_exactly_as_pytorch(precision: Precision, tmp_path: Path) -> None:
    """In half precision too: the coefficients are not stored so, and the weights here are exact."""
    ours, pytorch = errors_of_gelu(tmp_path, precision)
    assert (ours <= 2 * pytorch).all()


def test_numbers_that_are_none_stay_so(tmp_path: Path) -> None:
    image = np.zeros_like(images())
    image[0, 0, 0, :4] = np.nan, np.inf, 3e38, -1e30
    row = gelus(tmp_path, image)[0]
    assert np.isnan(row[0])
    assert row[1] > 3e38, "MNN's convolutions end at the largest number of float32"
    assert row[2] == np.float32(1.5e38)
    assert row[3] == 0


@pytest.mark.parametrize(("polynomial", "power"), [(name, power) for name in ("ABOVE", "BELOW") for power in range(6)])
def test_a_wrong_coefficient_is_seen(polynomial: str, power: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundredths of any; of the first, one ten thousandth would do."""
    wrong = list(getattr(writing, polynomial))
    wrong[power] *= 1.02
    monkeypatch.setattr(writing, polynomial, tuple(wrong))
    ours, pytorch = errors_of_gelu(tmp_path)
    assert (ours > 2 * pytorch).any()


@pytest.mark.slow
def test_the_gate_sees_a_wrong_coefficient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, noise = truth_and_noise(NETWORK, images())
    first, *others = writing.ABOVE
    for factor, passes in ((1.0, True), (1.001, False)):
        monkeypatch.setattr(writing, "ABOVE", (first * factor, *others))
        (folder := tmp_path / str(factor)).mkdir()
        file = SMALL.build(SMALL.plan_of(), folder)
        with registered("mnn")(file.path, inputs=file.inputs, outputs=file.outputs, threads=1) as session:
            error = np.abs(session.run({"input": images()})["logits"] - exact).max()
        assert (error <= bound_of("mnn", "fp32").k * noise) == passes


@pytest.mark.parametrize(
    ("graph", "changes", "quotients"),
    [
        ("deploy", {}, 12),
        ("deploy", {"sampler": "depthwise", "norm": "convolutions"}, 12),
        ("deploy", {"feed_forward": "tokens"}, 0),
        ("original", {}, 0),
    ],
)
def test_another_gelu_keeps_the_kernel(graph: Graph, changes: dict[str, Any], quotients: int) -> None:
    """Behind a product of matrices the channels are not the second axis; the published graph is converted as it comes."""
    plan = SMALL.plan_of(graph=graph, form=replace(SMALL.exporter.form, **changes))
    model = onnx.load_from_string(traced(SMALL.module_for(plan), plan))
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("Min"), kinds.count("Erf")) == (2 * quotients, 12 - quotients)
    onnx.checker.check_model(model, full_check=True)
    read = {name for node in model.graph.node for name in node.input}
    assert read.issuperset(tensor.name for tensor in model.graph.initializer)


@pytest.mark.parametrize("fault", ["nothing", "root", "one", "half", "source", "order", "read elsewhere", "an output"])
def test_only_a_gelu_is_written_so(fault: str) -> None:
    """Another number, another wiring, or another reader of what is between: it stays as it is."""
    numbers = {"root": math.sqrt(2), "one": 1.0, "half": 0.5}
    if fault in numbers:
        numbers[fault] *= 1.001
    tensors = {name: np.array(value, np.float32) for name, value in numbers.items()} | {"w": np.ones((4, 3, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Div", ["c", "root"], ["d"]),
        helper.make_node("Erf", ["c" if fault == "source" else "d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["a", "c"] if fault == "order" else ["c", "a"], ["m"]),
        helper.make_node("Mul", ["m", "half"], ["y"]),
        *([helper.make_node("Neg", ["e"], ["z"])] if fault == "read elsewhere" else []),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y", "a")]
    outputs = ends[1:] if fault == "an output" else ends[1:2]
    constants = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    model = helper.make_model(helper.make_graph(nodes, "gelu", ends[:1], outputs, constants))
    writing.without_erf(model)
    assert ("Min" in {node.op_type for node in model.graph.node}) == (fault == "nothing")


def test_half_precision_keeps_every_coefficient(tmp_path: Path) -> None:
    """A device may compute in it; a coefficient that is 0 there, or has lost its digits, would make another function."""
    model = onnx.load_from_string(traced(SMALL.module_for(), SMALL.plan_of()))
    numbers = [
        numpy_helper.to_array(tensor) for tensor in model.graph.initializer if re.search(r"/(above|below|share)", tensor.name)
    ]
    values = np.abs(np.concatenate([number.ravel() for number in numbers]))
    assert len(values) > 12 * 11 * 2 * 36
    assert values[values > 0].min() >= np.finfo(np.float16).tiny


def test_the_file_has_no_gelu_left() -> None:
    counts = read_mnn(SMALL.shared().path).operator_counts()
    assert counts["BinaryOp REALDIV"] == 12
    assert "UnaryOp GELU_STANDARD" not in counts
