"""LiteRT in eight bits: our grids in the vendor's file, one partition, and faults in a written file that must be found."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.formats.litert import WeightedOperator, read_operators, read_stored
from edgevit_deploy.spec import Placement
from export.litert.quantise import matched
from tests.helpers.litert import changed
from tests.helpers.rounded import RoundedFile, rounded_file
from tests.helpers.tiers import slow_or_nightly

STATIC = Scheme(activations="s8", outputs=True, written_by="vendor")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundedFile]:
    with rounded_file("litert", "int8", tmp_path_factory.mktemp("int8")) as file:
        yield file


def operator(module: nn.Conv2d, output: str) -> WeightedOperator:
    rows = module.weight.detach().numpy().reshape(len(module.weight), -1)
    return WeightedOperator(kind="CONV_2D", input=f"before {output}", output=output, weights=rows, scales=None)


def test_operators_are_found_by_their_weights() -> None:
    """Those with equal weights go by their order; one that the scheme does not round is passed over."""
    same, other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    network = nn.Sequential(same, other, nn.Conv2d(3, 3, 1))
    network[2].load_state_dict(same.state_dict())
    network.sampler = nn.Conv2d(3, 3, 1)  # of a name that stands for another operator
    operators = [operator(part, name) for part, name in zip(network, ("a", "b", "c", "d"), strict=True)]
    assert [(path, found.output) for path, found in matched(tuple(operators), network, STATIC)] == [
        ("0", "a"),
        ("1", "b"),
        ("2", "c"),
    ]


def test_weights_that_the_converter_changed_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    fused = replace(operator(network[1], "b"), weights=2 * operator(network[1], "b").weights)
    with pytest.raises(ExportError, match=r"1 operators are not in the float file with their own weights, the first is 1"):
        list(matched((operator(network[0], "a"), fused), network, STATIC))


def rounded_operators(built: RoundedFile) -> list[WeightedOperator]:
    return [found for found in read_operators(built.artifact.path) if found.scales is not None]


@pytest.mark.slow
def test_it_is_one_partition_and_computes_what_its_emulation_does(built: RoundedFile) -> None:
    assert built.artifact.placements == {"XNNPACK": Placement(partitions=1, outside={})}
    assert built.artifact.path.stat().st_size < 0.32 * 15.5e6  # 64 x 64 in float32: 15.5 MB, biases and tables stay
    assert "ai-edge-quantizer" in built.artifact.tools
    notes = " ".join(built.artifact.notes)
    assert "Takes float32, returns float32" in notes
    assert "84 operators have integer weights; normalisations, " in notes
    assert built.verdict() == "passed"


@pytest.mark.slow
def test_every_operator_of_the_scheme_is_rounded_and_no_other(built: RoundedFile) -> None:
    """The samplers' and LocalProp's convolutions are not."""
    assert len(rounded_operators(built)) == len(built.plan.ranges or {}) == 84
    assert len(read_operators(built.artifact.path)) == 94
    assert differences(read_stored(built.artifact.path), built.expected) == []


def activation(model: Any, name: str) -> Any:
    """The rounded tensor of that name."""
    (graph,) = model.subgraphs
    (found,) = [tensor for tensor in graph.tensors if tensor.name == name.encode()]
    return found


def scale_doubled(model: Any, found: WeightedOperator) -> None:
    quantization = activation(model, found.input).quantization
    quantization.scale = 2 * np.asarray(quantization.scale, np.float32)


def zero_point_off(model: Any, found: WeightedOperator) -> None:
    quantization = activation(model, found.input).quantization
    quantization.zeroPoint = np.asarray(quantization.zeroPoint, np.int64) + 1


def weights(model: Any, found: WeightedOperator) -> Any:
    """Tensor and buffer of an operator's weights."""
    (graph,) = model.subgraphs
    (tensor,) = [
        graph.tensors[op.inputs[1]] for op in graph.operators if graph.tensors[op.outputs[0]].name == found.output.encode()
    ]
    return tensor, model.buffers[tensor.buffer]


def channels_swapped(model: Any, found: WeightedOperator) -> None:
    tensor, _ = weights(model, found)
    scales = np.array(tensor.quantization.scale, np.float32)
    scales[:2] = scales[1::-1]
    tensor.quantization.scale = scales


def seven_bits(model: Any, found: WeightedOperator) -> None:
    _, buffer = weights(model, found)
    buffer.data = (buffer.data.view(np.int8) // 2 * 2).view(np.uint8)


def left_float(model: Any, found: WeightedOperator) -> None:
    from ai_edge_litert.schema_py_generated import TensorType

    tensor, buffer = weights(model, found)
    tensor.type = TensorType.FLOAT32
    buffer.data = buffer.data.view(np.int8).astype(np.float32).view(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (scale_doubled, "1 of [0-9]+ grids of activations are missing"),
        (zero_point_off, "1 of [0-9]+ grids of activations are missing"),
        (channels_swapped, "the weights of 1 of 84 operators are missing, and of 1 there are others"),
        (seven_bits, "the weights of 1 of 84 operators are missing, and of 1 there are others"),
        (left_float, "the weights of 1 of 84 operators are missing, and of 0 there are others"),
    ],
)
@pytest.mark.parametrize("place", [0, 40, 83])
def test_what_is_stored_otherwise_is_found(
    built: RoundedFile, tmp_path: Path, fault: Callable[[Any, WeightedOperator], None], message: str, place: int
) -> None:
    found = rounded_operators(built)[place]
    faulty = changed(built.artifact.path, tmp_path / "model.tflite", lambda model: fault(model, found))
    (sentence,) = differences(read_stored(faulty), built.expected)
    assert re.match(message, sentence)


@pytest.mark.slow
def test_a_file_written_again_unchanged_is_good(built: RoundedFile, tmp_path: Path) -> None:
    """Negative control of the faults."""
    same = changed(built.artifact.path, tmp_path / "model.tflite", lambda model: None)
    assert differences(read_stored(same), built.expected) == []
    assert built.verdict(replace(built.artifact, path=same)) == "passed"


@pytest.mark.slow
def test_two_tensors_with_each_others_grid_fail_the_comparison(built: RoundedFile, tmp_path: Path) -> None:
    """All grids are there, so what is stored does not show it: the mean square does."""

    def swap(model: Any) -> None:
        tensors = [activation(model, found.input) for found in rounded_operators(built)]
        by_scale = sorted(tensors, key=lambda tensor: float(tensor.quantization.scale[0]))
        first, last = by_scale[0], by_scale[-1]
        first.quantization, last.quantization = last.quantization, first.quantization

    faulty = changed(built.artifact.path, tmp_path / "model.tflite", swap)
    assert differences(read_stored(faulty), built.expected) == []
    assert built.verdict(replace(built.artifact, path=faulty)) == "failed"


@pytest.mark.slow
def test_a_damaged_file_is_one_line(built: RoundedFile, tmp_path: Path) -> None:
    content = bytearray(built.artifact.path.read_bytes())
    content[0:4] = (len(content) - 8).to_bytes(4, "little")
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.tflite is damaged: a table of it points outside of it; convert it again"):
        read_stored(path)


@slow_or_nightly("litert", "int8")
def test_the_same_ranges_give_the_same_bytes(built: RoundedFile, tmp_path: Path) -> None:
    again = built.bench.build(built.plan, folder=tmp_path)
    assert again.path.read_bytes() == built.artifact.path.read_bytes()


@slow_or_nightly("litert", "int8-dynamic")
@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_ranges_of_each_run_need_no_calibration(tmp_path: Path, takes: Any) -> None:
    with rounded_file("litert", "int8-dynamic", tmp_path, takes) as file:
        assert file.plan.ranges is None
        assert file.artifact.placements["XNNPACK"] == Placement(partitions=1, outside={})
        assert read_stored(file.artifact.path).activations == ()
        assert file.verdict() == "passed"


@slow_or_nightly("litert", "int8")
def test_images_are_taken_too(tmp_path: Path) -> None:
    """The converter must not move the normalisation into the first convolution's weights."""
    with rounded_file("litert", "int8", tmp_path, "image") as file:
        assert file.verdict() == "passed"
