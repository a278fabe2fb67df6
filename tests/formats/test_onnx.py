"""What a `.onnx` file says of itself; that weights elsewhere are refused is tested with the runtime, on every hiding place."""

from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.onnx import count_operators, outside, read_ends, read_onnx
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
