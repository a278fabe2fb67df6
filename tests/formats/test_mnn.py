"""`.mnn` files: what is read, and that nothing but one line comes out of a hostile or damaged one."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.mnn import check_ends, read_mnn, read_stored
from edgevit_deploy.outside.flat_table import FlatTable
from edgevit_deploy.spec import TensorSpec
from tests.helpers.flat_tables import table, tables
from tests.helpers.mnn import BIASES, SMALL, WEIGHTS, byte, handwritten, numbers, texts, whole

DAMAGED = r"model\.mnn is (damaged: a table of it points outside of it|no file of ours)"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.mnn"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def single() -> Artifact:
    return SMALL.shared()


def test_a_file_written_by_hand_is_read(tmp_path: Path) -> None:
    model = read_mnn(written(tmp_path, handwritten()))
    assert (model.version, model.uuid) == ("3.6.1", "by-hand")
    assert (model.inputs, model.outputs) == ((("x", (1, 3, 4, 4), "float32"),), ("y",))
    assert model.operator_counts() == {"Convolution": 1}
    (convolution,) = model.weights
    assert convolution.constant is not None
    np.testing.assert_array_equal(convolution.constant.values, WEIGHTS)


def test_a_real_file_is_read(single: Artifact) -> None:
    model = read_mnn(single.path)
    counts = model.operator_counts()
    assert (counts["BinaryOp REALDIV"], counts["LayerNorm"], counts["Softmax"], counts["MatMul"]) == (12, 23, 7, 14)
    assert counts == single.operators
    check_ends(model, single.inputs, single.outputs)
    for changed in (
        {"inputs": (TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="float32"),), "outputs": single.outputs},
        {"inputs": (TensorSpec(name="input", shape=(1, 3, 64, 64), dtype="uint8"),), "outputs": single.outputs},
        {"inputs": (TensorSpec(name="input", shape=(1, 3, 64, 96), dtype="float32"),), "outputs": single.outputs},
        {"inputs": single.inputs, "outputs": (TensorSpec(name="stage1", shape=(1, 10), dtype="float32"),)},
    ):
        with pytest.raises(RunError, match=r"it has the inputs .*, expected .*; convert it again"):
            check_ends(model, **changed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": 600}, r"y is of a kind \(600, with parameters 9\) that no network here has"),
        ({"kind": 256}, r"of a kind \(256"),
        ({"kind": -1}, r"of a kind \(-1"),
        ({"main": 0}, r"of a kind \(12, with parameters 0\)"),
        ({"main": 25}, r"of a kind \(12, with parameters 25\)"),
        ({"elsewhere": "/etc/passwd"}, "that no network here has"),
        ({"external": (0, 24, 8)}, "weights in another file"),
        ({"graphs": 1}, "graphs within its graph"),
        ({"weights": WEIGHTS[:5]}, "Convolution has 5 weights, its sizes say 6"),
        ({"weights": ()}, "Convolution has 0 weights, its sizes say 6"),
        ({"biases": BIASES[:1]}, "Convolution has 1 biases, its sizes say 2"),
        ({"common": {10: 200000}}, "its sizes say 200000"),
        ({"common": {10: -2}}, "has the sizes -2, 3, 1, 1 x 1"),
        ({"common": {9: 0}}, "has the sizes 2, 3, 0, 1 x 1"),
        ({"common": {9: 2}}, "has the sizes 2, 3, 2, 1 x 1"),
        ({"common": {2: 2**30, 3: 2**30}}, "its sizes say"),
        ({"reads": 1}, "y reads what no operator before it writes"),
        ({"reads": -1}, "y reads what no operator before it writes"),
        ({"reads": 2**31 - 1}, "y reads what no operator before it writes"),
        ({"writes": 0}, "y writes what is not there, or was written before"),
        ({"writes": 2}, "y writes what is not there"),
        ({"writes": -1}, "y writes what is not there"),
        ({"names": ("x", "x")}, "two tensors of one name"),
        ({"output": "z"}, "one that nothing computes"),
        ({"sizes": (1, 3, 0, 4)}, r"the sizes \(1, 3, 0, 4\)"),
        ({"sizes": (1, 3, -2, 4)}, r"the sizes \(1, 3, -2, 4\)"),
    ],
)
def test_what_no_file_of_ours_has_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        read_mnn(written(tmp_path, handwritten(**changes)))
    assert "\n" not in str(caught.value)


def crowd(*, operators: int, read: int, shared: bool) -> bytes:
    """Many operators, each with the same list of tensors that it reads; or all of them the one operator."""
    builder = flatbuffers.Builder(1 << 16)
    inputs, outputs = numbers(builder, np.zeros(read), "<i4"), numbers(builder, [0], "<i4")
    fields = {0: inputs, 1: byte(0), 4: outputs, 5: whole(80)}
    made = [table(builder, fields)] * operators if shared else [table(builder, fields) for _ in range(operators)]
    builder.Finish(table(builder, {3: tables(builder, made), 7: texts(builder, ["x"])}))
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("operators", "read", "shared", "message"),
    [
        (60_000, 60_000, True, "it has 60000 operators, expected at most 8192 and each once"),
        (60_000, 60_000, False, "it has 60000 operators, expected at most 8192 and each once"),
        (2, 1, True, "it has 2 operators, expected at most 8192 and each once"),
        (8192, 60_000, False, "its lists together are longer"),
        (2, 1, False, "reads what no operator before it writes"),
    ],
)
def test_a_small_file_does_not_fill_the_memory(tmp_path: Path, operators: int, read: int, shared: bool, message: str) -> None:
    path = written(tmp_path, crowd(operators=operators, read=read, shared=shared))
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match=message):
            read_mnn(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_shape_of_many_axes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a tensor has 60000 axes, expected at most 8"):
        read_mnn(written(tmp_path, handwritten(sizes=[1] * 60_000)))


def test_memory_that_runs_out_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr("edgevit_deploy.formats.mnn._read", exhausted)
    with pytest.raises(RunError, match=r"model\.mnn needs more memory than there is"):
        read_mnn(written(tmp_path, handwritten()))


def test_no_cut_is_read(tmp_path: Path) -> None:
    """Nor does any give another error."""
    content = handwritten()
    assert read_mnn(written(tmp_path, content)).outputs == ("y",)
    for end in range(0, len(content), 3):
        with pytest.raises(RunError, match=DAMAGED):
            read_mnn(written(tmp_path, content[:end]))


def test_no_altered_byte_gives_another_error(tmp_path: Path) -> None:
    """Each is read as something or refused; none raises what is not ours."""
    content, rng, refused = handwritten(), np.random.default_rng(0), 0
    for _ in range(600):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 6):
            damaged[place] = rng.integers(256)
        try:
            read_mnn(written(tmp_path, bytes(damaged)))
        except RunError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20])
def test_a_claimed_length_is_not_believed(tmp_path: Path, claimed: int) -> None:
    content = bytearray(handwritten())
    place = content.index(struct.pack("<I2f", len(WEIGHTS), 0, 1))
    struct.pack_into("<I", content, place, claimed)
    with pytest.raises(RunError, match=DAMAGED):
        read_mnn(written(tmp_path, bytes(content)))


def test_rounded_weights_are_integers_on_their_grids(single: Artifact) -> None:
    artifact = SMALL.shared(
        precision="w8", form=SMALL.exporter.quantised["w8"].form, scheme=SMALL.exporter.quantised["w8"].scheme
    )
    stored = read_stored(artifact.path)
    assert stored.activations == ()
    assert len(stored.weights) == 84
    for weights in stored.weights:
        assert weights.values.dtype == np.int8
        assert weights.scales.shape == (len(weights.values),)
        np.testing.assert_array_equal(np.abs(weights.values.astype(int)).max(1), 127)
    assert read_stored(single.path).weights == ()


@pytest.mark.parametrize(
    ("place", "value"), [(0, 3), (1, 77), (5, 255), (6, 1), (261, 0)], ids=["axes", "rows", "table", "first", "last"]
)
def test_a_table_of_its_own_is_refused(tmp_path: Path, place: int, value: int) -> None:
    """The head of a list of int8 weights: its shape and the table that the others are places in."""
    artifact = SMALL.shared(
        precision="w8", form=SMALL.exporter.quantised["w8"].form, scheme=SMALL.exporter.quantised["w8"].scheme
    )
    content = bytearray(artifact.path.read_bytes())
    head = bytes([2]) + struct.pack("<2H", 36, 48) + b"\0" + np.arange(-128, 128, dtype=np.int8).tobytes()
    start = content.index(head)
    content[start + place] = value
    with pytest.raises(RunError, match="another shape than its sizes say, or with a table of its own"):
        read_mnn(written(tmp_path, bytes(content)))


def test_a_function_of_two_values_that_there_is_not_is_refused(single: Artifact, tmp_path: Path) -> None:
    content = bytearray(single.path.read_bytes())
    binary = next(
        op.child(2) for op in FlatTable.root(bytes(content)).children(3) if op.number(1) & 0xFF == 6 and op.child(2).has(0)
    )
    content[binary.raw.Pos + binary.raw.Offset(4)] = 200
    with pytest.raises(RunError, match=r"computes what no network here does of two values \(200\)"):
        read_mnn(written(tmp_path, bytes(content)))


def test_sizes_beyond_the_file_are_refused(tmp_path: Path) -> None:
    """Before anything is made of them, in rounded weights too."""
    artifact = SMALL.shared(
        precision="w8", form=SMALL.exporter.quantised["w8"].form, scheme=SMALL.exporter.quantised["w8"].scheme
    )
    content = bytearray(artifact.path.read_bytes())
    convolution = next(op.child(2) for op in FlatTable.root(bytes(content)).children(3) if op.number(1) & 0xFF == 9)
    sizes = convolution.child(0).raw
    for field in (2, 3):  # width and height of the kernel
        struct.pack_into("<i", content, sizes.Pos + sizes.Offset(4 + 2 * field), 2**31 - 1)
    with pytest.raises(RunError, match="bytes of weights, its sizes say"):
        read_mnn(written(tmp_path, bytes(content)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"model\.mnn cannot be read \(No such file or directory\)"):
        read_mnn(tmp_path / "model.mnn")
