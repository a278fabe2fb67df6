"""What a `.ort` file says of itself, and what in one is refused; the runtime's own verifier is not asked here."""

from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.onnx import read_onnx
from edgevit_deploy.formats.onnx.ort import is_ort, read_ort, schema
from tests.helpers import ort


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
    with pytest.raises(RunError, match="points outside"):
        read_ort(bytes(claimed), "m.ort")


def test_tables_that_are_shared_do_not_multiply() -> None:
    """A megabyte of a name, 262,144 times, in a file of two megabytes."""
    shared = ort.with_one_name(2**20, times=2**18)
    with pytest.raises(RunError, match="points outside"):
        read_ort(shared, "m.ort")
    assert len(read_ort(ort.with_one_name(8, times=100), "m.ort").nodes[0].inputs) == 100  # the control


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
