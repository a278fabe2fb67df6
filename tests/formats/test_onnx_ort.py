"""What a `.ort` file says of itself, and what in one is refused; the runtime's own verifier is not asked here."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import edgevit_deploy.formats.onnx as formats
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.onnx import read_onnx, read_stored
from edgevit_deploy.formats.onnx.ort import WEIGHTS, OrtModel, OrtNode, is_ort, read_ort, schema, stored_in
from tests.helpers import ort

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
TOO_LARGE = r"^m\.ort has more operators, names or constants than any network of ours; do not use this file$"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return ort.saved(ort.product(), tmp_path_factory.mktemp("ort") / "plain.ort")


def test_what_was_written_is_read(plain: bytes) -> None:
    model = read_ort(plain, "model.ort")
    assert (model.version, model.opsets[""]) == ("6", 20)
    (node,) = model.nodes
    assert (node.domain, node.kind, node.name, node.since) == ("", "Gemm", "product", 13)
    assert (node.inputs, node.outputs, node.attributes["transB"]) == (("x", "weights", "ones"), ("y",), 1)
    assert np.array_equal(model.constants["weights"], ort.WEIGHTS)


def test_the_content_tells_the_format_whatever_its_name(plain: bytes, tmp_path: Path) -> None:
    """ONNX Runtime decides by the same bytes, so that what is looked at is what runs."""
    (tmp_path / "model.onnx").write_bytes(plain)
    assert read_onnx(tmp_path / "model.onnx").data == plain
    assert is_ort(plain)
    assert not is_ort(ort.product().SerializeToString())
    damaged = plain[: len(plain) // 2]
    (tmp_path / "model.onnx").write_bytes(damaged)
    with pytest.raises(RunError, match=r"^model\.onnx is damaged: a table of it points outside of it; convert again$"):
        read_onnx(tmp_path / "model.onnx")


def test_constants_in_another_file_are_refused() -> None:
    with pytest.raises(RunError, match=r"^m\.ort keeps 'weights' in another file, which is never read; embed the weights$"):
        read_ort(ort.with_a_constant(0), "m.ort")
    assert read_ort(ort.with_a_constant(-1), "m.ort").constants["weights"] == 7  # the control


def test_graphs_within_the_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^m\.ort has a graph within its graph"):
        read_ort(ort.saved(ort.choice(), tmp_path / "m.ort"), "m.ort")


def test_optimisations_to_be_replayed_are_refused(tmp_path: Path) -> None:
    noted = ort.saved(ort.two_roundings(), tmp_path / "m.ort", optimization__minimal_build_optimizations="save")
    with pytest.raises(RunError, match=r"^m\.ort has optimisations to be replayed"):
        read_ort(noted, "m.ort")
    read_ort(ort.saved(ort.two_roundings(), tmp_path / "m.ort"), "m.ort")  # the control: they are applied instead


def test_a_number_of_entries_that_no_file_has_is_refused_before_they_are_counted(plain: bytes) -> None:
    graph = schema("InferenceSession").InferenceSession.GetRootAs(plain, 0).Model().Graph()._tab
    place = graph.Vector(graph.Offset(8)) - 4  # of its nodes: their number stands before them
    claimed = bytearray(plain)
    assert claimed[place : place + 4] == (1).to_bytes(4, "little")
    claimed[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(RunError, match=TOO_LARGE):
        read_ort(bytes(claimed), "m.ort")


@pytest.mark.parametrize(
    ("shared", "control"),
    [
        (lambda: ort.with_one_name(2**20, times=2**18), lambda: ort.with_one_name(8, times=1000)),
        (lambda: ort.with_one_name(2, times=2**19), lambda: ort.with_one_name(2**20, times=10)),
        (lambda: ort.with_one_operator(2**16), lambda: ort.with_one_operator(1000)),
        (lambda: ort.with_one_operator(1, attributes=2**19), lambda: ort.with_one_operator(100, attributes=10)),
        (lambda: ort.with_constants(["a", "b"], floats=2**10), lambda: ort.with_constants(["a"], floats=2**10)),
    ],
    ids=["a long name", "a short name", "operators", "attributes", "arrays"],
)
def test_what_is_shared_does_not_multiply(shared: Callable[[], bytes], control: Callable[[], bytes]) -> None:
    """A file of two megabytes, at most, that is read into far more; or whose constants are more than it."""
    with pytest.raises(RunError, match=TOO_LARGE):
        read_ort(shared(), "m.ort")
    read_ort(control(), "m.ort")


def test_a_network_as_deep_as_any_is_read() -> None:
    """XXS in int8 has 417 operators, 4,336 entries and 200 kB of names for its 7 blocks; there may be 256."""
    read_ort(ort.with_one_operator(15_250), "m.ort")
    read_ort(ort.with_one_name(46, times=158_570), "m.ort")


def test_two_constants_of_one_name_are_refused() -> None:
    """Which of them an operator reads is for each reader to choose."""
    with pytest.raises(RunError, match=r"^m\.ort has two constants with the name 'w'; do not use this file$"):
        read_ort(ort.with_constants(["v", "w", "w"]) + bytes(100), "m.ort")
    assert sorted(read_ort(ort.with_constants(["v", "w"]) + bytes(100), "m.ort").constants) == ["v", "w"]  # the control


@pytest.mark.parametrize("kind", sorted({kind for _, kind in WEIGHTS}))
def test_weights_with_a_zero_point_are_refused(kind: str, tmp_path: Path) -> None:
    """They are others than the integers say: the outputs show it, and so must what is read."""
    outputs = []
    for zero_point in (0, 5):
        path = tmp_path / f"{zero_point}.ort"
        session = onnxruntime.InferenceSession(ort.saved(ort.rounded_product(kind, zero_point), path))
        shape = session.get_inputs()[0].shape
        outputs.append(session.run(None, {"x": np.ones(shape, np.float32)})[0])
        assert kind in {node.kind for node in read_ort(path.read_bytes(), "m").nodes}
    assert not np.array_equal(*outputs)
    (weights,) = read_stored(tmp_path / "0.ort").weights
    assert weights.values.shape == (3, 3)
    with pytest.raises(RunError, match=rf"^5\.ort: {kind} \S* rounds in a way that is never written here; convert again$"):
        read_stored(tmp_path / "5.ort")


def test_weights_that_many_operators_read_are_read_once() -> None:
    """A small file could ask for terabytes: of an array with a third axis, which is turned, a copy is made."""

    def product(weights: str) -> OrtNode:
        inputs = ("x", "s", "z", weights, "ws", "wz", "s", "z")
        return OrtNode(name="", domain="", kind="QLinearMatMul", since=10, inputs=inputs, outputs=("y",), attributes={})

    constants = {"s": np.ones(1, np.float32), "z": np.ones(1, np.uint8), "ws": np.ones(3, np.float32), "wz": np.zeros(3, np.int8)}
    constants |= {name: np.zeros((2, 3, 4), np.int8) for name in ("w", "other")}
    nodes = tuple(map(product, ("w", "w", "other")))
    model = OrtModel(version="6", opsets={}, properties={}, nodes=nodes, constants=constants)
    first, same, other = (weights.values for weights in stored_in(model, "m").weights)
    assert first.shape == (3, 8)
    assert np.shares_memory(first, same)
    assert not np.shares_memory(first, other)  # the control


def test_a_file_is_parsed_once_for_what_it_rounds_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ort.saved(ort.rounded_product("QGemm", 0), tmp_path / "m.ort")
    parsed = []
    monkeypatch.setattr(formats, "read_ort", lambda data, name: parsed.append(name) or read_ort(data, name))
    read_stored(tmp_path / "m.ort")
    assert parsed == ["m.ort"]


def test_no_cut_and_no_changed_byte_is_anything_but_one_error(plain: bytes) -> None:
    """Read as before, or refused; never another exception."""
    drawn = np.random.default_rng(11)
    refused = 0
    cuts = [plain[:end] for end in range(8, len(plain), 37)]
    for place in drawn.integers(8, len(plain), 400):
        changed = bytearray(plain)
        changed[place] ^= int(drawn.integers(1, 256))
        cuts.append(bytes(changed))
    for content in cuts:
        try:
            read_ort(content, "m.ort")
        except RunError:
            refused += 1
    assert len(cuts) / 4 < refused < len(cuts)


def test_a_file_is_read_without_pytorch(plain: bytes, tmp_path: Path) -> None:
    """Its 200 MB and its second would be in what `bench` says of loading; ONNX Runtime's tools, the control, bring it along."""
    (tmp_path / "m.ort").write_bytes(plain)
    reading = "from edgevit_deploy.formats.onnx.ort import read_ort; read_ort(open('m.ort', 'rb').read(), 'm')"
    for code, loaded in ((reading, False), ("import onnxruntime.tools", True)):
        command = [sys.executable, "-c", f"import sys; {code}; print('torch' in sys.modules)"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=ENVIRONMENT)
        assert done.stdout == f"{loaded}\n"
