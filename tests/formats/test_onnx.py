"""What a `.onnx` file says of itself; that weights elsewhere are refused is tested with the runtime, on every hiding place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.onnx import count_operators, outside, read_ends, read_onnx, read_stored
from edgevit_deploy.spec import TensorSpec


def model() -> ModelProto:
    """Two sums and one product on a free batch."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("Mul", ["a", "x"], ["b"]),
        helper.make_node("Add", ["b", "w"], ["y"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3])
    return helper.make_model(helper.make_graph(nodes, "small", ends[:1], ends[1:], [weight]))


def test_ends_are_read() -> None:
    assert read_ends(model().graph.input) == (TensorSpec(name="x", shape=("batch", 3), dtype="float32"),)
    half = helper.make_tensor_value_info("h", TensorProto.FLOAT16, [1, None])
    assert read_ends([half]) == (TensorSpec(name="h", shape=(1, 0), dtype="float16"),)


def test_what_is_no_tensor_is_called_by_its_kind() -> None:
    several = helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, [1])
    assert read_ends([several]) == (TensorSpec(name="several", shape=(), dtype="sequence_type"),)


def test_operators_are_counted() -> None:
    assert count_operators(model().graph) == {"Add": 2, "Mul": 1}


def test_the_bytes_that_were_looked_at_are_returned(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model().SerializeToString())
    assert read_onnx(path).data == path.read_bytes()
    assert list(outside(model())) == []


def test_a_weight_elsewhere_is_named(tmp_path: Path) -> None:
    faulty = model()
    faulty.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert list(outside(faulty)) == ["w"]
    (tmp_path / "model.onnx").write_bytes(faulty.SerializeToString())
    with pytest.raises(RunError, match=r"^model\.onnx keeps 'w' in another file, which is never read; embed the weights$"):
        read_onnx(tmp_path / "model.onnx")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"not a model" * 99)
    for name, reason in (("text.onnx", ".*"), ("nowhere.onnx", ".*No such file.*")):
        with pytest.raises(RunError, match=rf"^{name} cannot be read \({reason}\); convert again$"):
            read_onnx(tmp_path / name)


def rounding(folder: Path, kind: int, zero_points: list[float], weight: bool = False) -> Path:
    """Write a file that rounds an activation by one scale and these zero points of a type; or reads a weight back by them."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(zero_points)]) for name in ("x", "y"))
    scales = [0.5] * (len(zero_points) if weight else 1)
    constants = [
        helper.make_tensor("scale", TensorProto.FLOAT, [len(scales)] if weight else [], scales),
        helper.make_tensor("zero", kind, [len(zero_points)] if weight or len(zero_points) != 1 else [], zero_points),
        helper.make_tensor("w", kind, [len(zero_points), 1], [1] * len(zero_points)),
    ]
    node = helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["y"], name="it", axis=0)
    if not weight:
        node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"], name="it")
    path = folder / "model.onnx"
    graph = helper.make_graph([node], "small", [x], [y], constants)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("kind", "zero_points", "expected"),
    [
        (TensorProto.FLOAT8E4M3FN, [0.5], "float8_e4m3fn and has not one zero point, which is 0"),
        (TensorProto.FLOAT8E4M3FN, [np.nan], "float8_e4m3fn and has not one zero point, which is 0"),
        (TensorProto.FLOAT8E4M3FN, [-1.0], "float8_e4m3fn and has not one zero point, which is 0"),
        (TensorProto.FLOAT8E4M3FN, [0.0, 0.0], "float8_e4m3fn and has not one zero point, which is 0"),
        (TensorProto.FLOAT8E5M2, [0.5], "float8_e5m2 and has not one zero point, which is 0"),
        (TensorProto.UINT8, [3, 4], "uint8 and has not one zero point"),
        (TensorProto.INT8, [], "int8 and has not one zero point"),
    ],
)
def test_zero_points_that_are_never_written_are_refused(
    tmp_path: Path, kind: int, zero_points: list[float], expected: str
) -> None:
    with pytest.raises(RunError, match=rf"^model\.onnx: QuantizeLinear it rounds to {expected}; convert again$"):
        read_stored(rounding(tmp_path, kind, zero_points))


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_weights_with_a_zero_point_of_floating_point_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(RunError, match="the weights of it are not"):
        read_stored(rounding(tmp_path, TensorProto.FLOAT8E4M3FN, [0.0, value], weight=True))
    (weights,) = read_stored(rounding(tmp_path, TensorProto.FLOAT8E4M3FN, [0.0, 0.0], weight=True)).weights
    assert weights.scales.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("kind", "zero_point"), [(TensorProto.FLOAT8E4M3FN, 0), (TensorProto.UINT8, 200), (TensorProto.INT8, -7)]
)
def test_a_zero_point_is_read(tmp_path: Path, kind: int, zero_point: int) -> None:
    assert read_stored(rounding(tmp_path, kind, [zero_point])).activations == ((0.5, zero_point),)


def constant(graph: Any, name: str) -> Any:
    return next(tensor for tensor in graph.initializer if tensor.name == name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: constant(graph, "w").dims.__setitem__(0, 99),
        lambda graph: constant(graph, "w").ClearField("dims"),
        lambda graph: setattr(constant(graph, "scale"), "data_type", 999),
        lambda graph: setattr(constant(graph, "scale"), "data_type", TensorProto.STRING),
        lambda graph: setattr(constant(graph, "zero"), "data_type", TensorProto.UNDEFINED),
        lambda graph: setattr(constant(graph, "scale"), "raw_data", b"abc"),
        lambda graph: setattr(graph.node[0].attribute[0], "i", 77),
    ],
    ids=["more than there is", "no shape", "no type", "a text", "undefined", "three bytes", "no axis"],
)
def test_constants_that_are_damaged_are_one_line(damage: Callable[[Any], None], tmp_path: Path) -> None:
    path = rounding(tmp_path, TensorProto.INT8, [0, 0], weight=True)
    assert read_stored(path).weights[0].values.tolist() == [[1], [1]]  # the control
    model = load(path)
    damage(model.graph)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RunError, match=r"^model\.onnx: what DequantizeLinear it rounds by is damaged \(.*\); convert again$"):
        read_stored(path)


def test_two_constants_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which of them an operator reads is for each reader to choose."""
    path = rounding(tmp_path, TensorProto.INT8, [0, 0], weight=True)
    model = load(path)
    model.graph.initializer.append(constant(model.graph, "w"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RunError, match=r"^model\.onnx has two constants with one name; do not use this file$"):
        read_stored(path)


def test_weights_that_many_operators_read_are_read_once(tmp_path: Path) -> None:
    """A small file could ask for terabytes: an array that is turned is a copy."""
    path = rounding(tmp_path, TensorProto.INT8, [0, 0], weight=True)
    model = load(path)
    constant(model.graph, "w").dims[:] = [1, 2]
    model.graph.node[0].attribute[0].i = 1
    model.graph.node.extend([model.graph.node[0]] * 4)
    path.write_bytes(model.SerializeToString())
    first, *others = read_stored(path).weights
    assert [np.shares_memory(first.values, other.values) for other in others] == [True] * 4
