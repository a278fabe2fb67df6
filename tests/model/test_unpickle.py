"""Pickles are read in every protocol and container, and nothing that they name is imported or called."""

import argparse
import copyreg
import io
import itertools
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.inert import StandIn
from edgevit_deploy.model.unpickle import Unpickler
from tests.helpers.checkpoints import Malice, assert_state, foreign_code, refusal, seeded_state

PROTOCOLS = [2, 3, 4, 5]
CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def beside(trap: Path) -> dict[str, object]:
    return {"canary": Malice(trap)}


def in_arguments(trap: Path) -> dict[str, object]:
    return {"args": argparse.Namespace(lr=0.1, canary=Malice(trap))}


def in_the_optimizer(trap: Path) -> dict[str, object]:
    return {"optimizer": {"state": {0: {"exp_avg": torch.ones(2), "canary": Malice(trap)}}}}


def as_a_key(trap: Path) -> dict[str, object]:
    return {"scores": {Malice(trap): 1, "b": 2}}


def in_a_set(trap: Path) -> dict[str, object]:
    return {"seen": {Malice(trap), 3}, "frozen": frozenset([Malice(trap)])}


def in_a_state_of_a_state(trap: Path) -> dict[str, object]:
    return {"args": argparse.Namespace(inner=argparse.Namespace(canary=[(Malice(trap),)]))}


def in_a_tensor(trap: Path) -> dict[str, object]:
    tensor = torch.nn.Parameter(torch.ones(2))
    tensor.canary = Malice(trap)
    return {"running": tensor}


POSITIONS = [beside, in_arguments, in_the_optimizer, as_a_key, in_a_set, in_a_state_of_a_state, in_a_tensor]


@CONTAINERS
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", POSITIONS)
def test_nothing_is_executed(place: Callable[[Path], dict[str, object]], protocol: int, zipped: bool, tmp_path: Path) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "weights.pth"
    content = {**place(trap), "model": seeded_state()}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert not trap.exists()
    assert_state(checkpoint, seeded_state())
    assert any("read without executing: " in note and Malice.name in note for note in checkpoint.notes)
    torch.load(path, weights_only=False)
    assert trap.exists(), "the control: whoever does execute the file springs the canary"


@CONTAINERS
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sound_files_of_every_protocol_are_read(protocol: int, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(seeded_state(), path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_state(read_checkpoint(path), seeded_state())


@pytest.mark.parametrize("protocol", range(6))
def test_an_object_keeps_what_it_would_be_made_of(protocol: int) -> None:
    with foreign_code() as define:
        record = define("their_code.Record", object)()
        record.lr, record.names = 0.5, ["a", "b"]
        table = define("their_tables.Table", dict)(rows=3)
        listing = define("their_lists.Listing", list)([1, 2])
        data = pickle.dumps([record, table, listing, {1, 2}, frozenset("c"), b"bytes", bytearray(b"more"), 2**70], protocol)
    found = Unpickler(io.BytesIO(data)).load()
    assert not {"their_code", "their_tables", "their_lists"} & set(sys.modules)
    assert [value.name for value in found[:3]] == ["their_code.Record", "their_tables.Table", "their_lists.Listing"]
    assert found[0].state == {"lr": 0.5, "names": ["a", "b"]}
    if protocol >= 2:
        assert found[1].entries == [("rows", 3)]
        assert found[2].items == [1, 2]
    assert set(found[3]) == {1, 2}
    assert found[7] == 2**70


def test_keys_of_every_kind_are_kept(tmp_path: Path) -> None:
    """Also those whose hash may take long: as stand-ins, since no weights are under them."""
    keys = ["a", b"b", 1, 2.5, None, True, (1, "c"), ((1, 2), 3), frozenset([4]), torch.float32]
    found = Unpickler(io.BytesIO(pickle.dumps(dict.fromkeys(keys, 7), 4))).load()
    assert list(found.values()) == [7] * 9, "True is 1"
    assert {key for key in found if isinstance(key, str | bytes | int | float | tuple | None)} == {*keys[:7]}
    assert [key.arguments for key in found if isinstance(key, StandIn)] == [(((1, 2), 3),), (frozenset([4]),)]
    content = {"model": seeded_state(), "cache": {((3, 3), 64): "fast"}}
    torch.save(content, tmp_path / "weights.pth")
    assert_state(read_checkpoint(tmp_path / "weights.pth"), seeded_state())


class Exotic:
    """Pickles as the call that it is given."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def test_names_with_dots_and_calls_of_results_stay_names() -> None:
    data = pickle.dumps(Exotic(getattr, (Path, "mkdir")), 4)
    stand_in = Unpickler(io.BytesIO(data)).load()
    assert isinstance(stand_in, StandIn)
    assert stand_in.name == "builtins.getattr"
    called = b"\x80\x04cos\nmkdir\n)R)R."
    assert Unpickler(io.BytesIO(called)).load().name == "os.mkdir"


def test_keyword_arguments_are_kept() -> None:
    class Keyed(tuple):
        def __new__(cls, *, size: int) -> "Keyed":
            return super().__new__(cls, (size,))

        def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
            return (), {"size": self[0]}

    Keyed.__qualname__ = "Keyed"
    globals()["Keyed"] = Keyed
    try:
        data = pickle.dumps(Keyed(size=3), 4)
    finally:
        del globals()["Keyed"]
    assert Unpickler(io.BytesIO(data)).load().arguments == ((), {"size": 3})


STACK = {"text": b"X\x01\x00\x00\x00a", "number": b"K\x01", "list": b"]", "tuple": b")", "none": b"N", "name": b"cos\nmkdir\n"}


@pytest.mark.parametrize(("left", "right"), itertools.product(STACK, STACK))
@pytest.mark.parametrize("instruction", [b"R", b"\x81", b"b", b"a", b"Ns", b"(u", b"(e", b"\x90", b"Q"])
def test_instructions_on_the_wrong_things_are_errors_or_stand_ins(instruction: bytes, left: str, right: str) -> None:
    """Any of them on any two values: nothing but one of the reader's errors, or a value that is inert."""
    data = b"\x80\x04" + STACK[left] + STACK[right] + instruction + b"."
    try:
        found = Unpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, IndexError):
        return
    assert isinstance(found, StandIn | list | dict | tuple | str | int | None) or type(found).__name__ == "Name"


@pytest.mark.parametrize("instruction", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"N\x98", b"\xff"])
def test_instructions_that_no_checkpoint_has_are_refused(instruction: bytes) -> None:
    """Registered extensions, buffers outside of the file, and none at all; an extension would be looked up by its number."""
    copyreg.add_extension("os", "mkdir", 1)
    try:
        with pytest.raises(pickle.UnpicklingError, match="which no checkpoint has"):
            Unpickler(io.BytesIO(b"\x80\x04" + instruction + b".")).load()
    finally:
        copyreg.remove_extension("os", "mkdir", 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_garbled_pickle_gives_more_than_one_line_or_runs_anything(protocol: int, tmp_path: Path) -> None:
    """150 seeded mutations of the pickle alone, in an archive whose sums are right: read, or refused in one line."""
    trap, path = tmp_path / "sprung", tmp_path / "weights.pth"
    small = {"patch_embed1.proj.weight": torch.ones(3, 3), "blocks1.0.norm.weight": torch.ones(2)}
    content = {"model": small, "net": torch.nn.Linear(2, 2), "args": argparse.Namespace(input_size=64, canary=Malice(trap))}
    torch.save(content, path, pickle_protocol=protocol)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    chance = random.Random(protocol)
    for _ in range(150):
        garbled = bytearray(records["weights/data.pkl"])
        for _ in range(chance.randint(1, 4)):
            garbled[chance.randrange(len(garbled))] = chance.choice(b"()]}tRbuesqXQhK.N\x81\x85\x86\x87\x8f\x90\x93\x94")
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in records.items():
                archive.writestr(name, bytes(garbled) if name.endswith("data.pkl") else data)
        refusal(path)
        assert not trap.exists()


LONG = b"(" + b"K\x01" * 100_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("once", "often"),
    [
        (b"ctorch\nSize\nq\x00" + LONG + b"tq\x01", b"h\x00h\x01\x85R"),
        (b"cbuiltins\nset\nq\x00" + LONG + b"lq\x01", b"h\x00h\x01\x85R"),
        (b"ccollections\nOrderedDict\nq\x00" + LONG + b"lq\x01", b"h\x00h\x01\x85R"),
        (b"cargparse\nNamespace\nq\x00" + LONG + b"tq\x01", b"h\x00h\x01}\x92"),
        (b"}q\x02" + LONG + b"tq\x01", b"h\x02h\x01Ns"),
        (b"}q\x02\x8b\xa0\x86\x01\x00" + b"\x01" * 100_000 + b"q\x01", b"h\x02h\x01Ns"),
    ],
    ids=["size", "set", "dictionary", "keywords", "tuple as a key", "number as a key"],
)
def test_one_long_value_used_often_is_not_copied_or_hashed_each_time(once: bytes, often: bytes) -> None:
    """100,000 uses of 100,000 values: as copies 80 GB."""
    found = Unpickler(io.BytesIO(b"\x80\x04" + once + b"(" + often * 100_000 + b"l.")).load()
    assert len(found) == 100_000


@pytest.mark.parametrize("instructions", [b"c%s\nb\n", b"ca\n%s\n", b"X\xe9\x03\x00\x00%sX\x01\x00\x00\x00b\x93"])
def test_names_are_bounded(instructions: bytes) -> None:
    """Two long texts, used often, would make a longer one each time."""
    with pytest.raises(pickle.UnpicklingError, match="a name of 1002 characters"):
        Unpickler(io.BytesIO(b"\x80\x04" + instructions.replace(b"%s", b"a" * 1001) + b".")).load()
