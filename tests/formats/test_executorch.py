"""`.pte` files: what is read, and that nothing but one line comes out of a damaged one."""

import struct
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.executorch import MAX_PROGRAM_BYTES, read_pte_file
from edgevit_deploy.outside.flat_table import MAX_ITEMS, MAX_TEXT_BYTES
from tests.helpers.executorch import program_bytes, write_one_convolution

OUTSIDE = "is damaged: a table of its program points outside of it"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_one_convolution(tmp_path_factory.mktemp("pte")).read_bytes()


def with_header(content: bytes, **changes: int) -> bytes:
    """The program with other figures in its extended header."""
    places = {"program_bytes": 16, "data_start": 24, "data_bytes": 32}
    damaged = bytearray(content)
    for name, value in changes.items():
        struct.pack_into("<Q", damaged, places[name], value)
    return bytes(damaged)


def test_a_good_file_is_counted(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(whole)
    read = read_pte_file(tmp_path / "model.pte")
    assert read.method == "forward"
    assert read.outputs == ((1, 2, 4, 4),)
    assert read.backends == ("XnnpackBackend",)
    assert read.delegate_calls == 1
    assert read.operators_outside == {"aten::native_layer_norm.out": 1}
    assert read.objections() == []


def test_what_an_edgevit_does_not_need_is_named(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(whole.replace(b"XnnpackBackend", b"OpenvinoBacken").replace(b"forward\0", b"execute\0"))
    assert read_pte_file(path).objections() == [
        "its method is 'execute', expected 'forward'",
        "it has a delegate for 'OpenvinoBacken', expected 'XnnpackBackend'",
    ]


def test_a_damaged_file_is_one_line(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    start = struct.pack("<I", len(whole))
    for damaged, message in (
        (b"", "is no ExecuTorch program: ET12 and eh00 are not at its start"),
        (whole[:40], "damaged|cut off|no ExecuTorch program"),
        (whole[:-1], "is cut off: .* its header says"),
        (whole[: len(whole) // 2], "is cut off"),
        (whole.replace(b"ET12", b"ET13", 1), "is no ExecuTorch program"),
        (whole.replace(b"eh00", b"eh01", 1), "is no ExecuTorch program"),
        (with_header(whole, program_bytes=8), "its header says 8 bytes of program"),
        (with_header(whole, program_bytes=1 << 40), "is damaged: its header says"),
        (with_header(whole, data_start=48), "and data at 48"),
        (with_header(whole, data_bytes=1 << 60), "is cut off"),
        (with_header(whole, data_bytes=0), "a table of its program points outside of it"),
        (start + whole[4:], "a table of its program points outside of it"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=message) as caught:
            read_pte_file(path)
        assert "\n" not in str(caught.value)


def test_no_altered_byte_of_the_program_gives_another_error(whole: bytes, tmp_path: Path) -> None:
    """Each is read as something or refused; none raises what is not ours."""
    path = tmp_path / "model.pte"
    rng = np.random.default_rng(0)
    refused = 0
    program_bytes = struct.unpack_from("<Q", whole, 16)[0]
    for _ in range(500):
        damaged = bytearray(whole)
        for place in rng.integers(0, program_bytes, 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_pte_file(path)
        except RunError:
            refused += 1
    assert refused > 50


def with_u32(content: bytes, place: int, value: int) -> bytes:
    damaged = bytearray(content)
    struct.pack_into("<I", damaged, place, value)
    return bytes(damaged)


def test_a_program_made_by_hand_is_counted(tmp_path: Path) -> None:
    """The control for the damage below."""
    path = tmp_path / "model.pte"
    path.write_bytes(program_bytes(calls=(0, 1, 1), operators=2))
    read = read_pte_file(path)
    assert (read.method, read.operators_outside, read.objections()) == ("forward", {"aten::mul.out": 3}, [])


def test_a_program_that_ends_early_is_one_line(tmp_path: Path) -> None:
    """Its header and its file agree on every shorter length; the tables do not."""
    path = tmp_path / "model.pte"
    content = program_bytes()
    path.write_bytes(with_header(content, program_bytes=len(content)))
    read_pte_file(path)
    last = content.rindex(b"aten::mul") + len(b"aten::mul")
    for end in range(40, last):
        path.write_bytes(with_header(content[:end], program_bytes=end))
        with pytest.raises(RunError, match=OUTSIDE):
            read_pte_file(path)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 16])
@pytest.mark.parametrize("length", [21, 11, 13], ids=["steps", "operators", "text"])
def test_a_claimed_size_is_not_believed(claimed: int, length: int, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    content = program_bytes(calls=(0,) * 21, operators=11, operator="aten::unusual")
    (place,) = [place for place in range(40, len(content), 4) if struct.unpack_from("<I", content, place) == (length,)]
    path.write_bytes(with_u32(content, place, claimed))
    with pytest.raises(RunError, match=OUTSIDE):
        read_pte_file(path)


@pytest.mark.parametrize("index", [-1, -(2**31), 1, 2**31 - 1])
def test_a_call_of_an_operator_that_is_not_listed_is_refused(index: int, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(program_bytes(calls=(index,)))
    with pytest.raises(RunError, match=OUTSIDE):
        read_pte_file(path)


def test_items_that_share_their_bytes_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(program_bytes(operators=MAX_ITEMS, operator="o" * 8))
    read_pte_file(path)
    path.write_bytes(program_bytes(operators=MAX_ITEMS, operator="o" * MAX_TEXT_BYTES))
    with pytest.raises(RunError, match="its lists together are longer"):
        read_pte_file(path)
    for content, most in (
        (program_bytes(operators=MAX_ITEMS + 1), MAX_ITEMS),
        (program_bytes(operator="o" * (MAX_TEXT_BYTES + 1)), MAX_TEXT_BYTES),
    ):
        assert len(content) < MAX_PROGRAM_BYTES
        path.write_bytes(content)
        with pytest.raises(RunError, match=f"it has a list or text of {most + 1} items, expected at most {most}"):
            read_pte_file(path)


def test_a_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(program_bytes().replace(b"aten::mul", b"aten::\xff\xfe\xfd"))
    with pytest.raises(RunError, match=OUTSIDE):
        read_pte_file(path)


@pytest.mark.parametrize("position", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_root_outside_is_refused(position: int, tmp_path: Path) -> None:
    """At 0 and 1 the header is taken for a table, whose layout would lie before the start of the file."""
    path = tmp_path / "model.pte"
    path.write_bytes(with_u32(program_bytes(), 0, position))
    with pytest.raises(RunError, match=f"{OUTSIDE}|it has 0 methods"):
        read_pte_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"model\.pte cannot be read \(No such file or directory\)"):
        read_pte_file(tmp_path / "model.pte")
