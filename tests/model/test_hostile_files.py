"""Files that claim more than they hold: each ends in one line, before memory is taken for what it claims."""

import io
import itertools
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.dialects import BIRDER
from tests.helpers.checkpoints import assert_state, refusal, saved, seeded_state, weights

MOST_BYTES = 1.5e9
DAMAGED = "truncated or damaged PyTorch file (UnpicklingError: "


class Call:
    """Pickles as a call of one of PyTorch's own functions with other arguments than PyTorch's."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def rebuilt(function: Callable[..., object], *arguments: object) -> Call:
    return Call(function, torch.zeros(4)._typed_storage(), *arguments)


V2, V3 = torch._utils._rebuild_tensor_v2, torch._utils._rebuild_tensor_v3
SIZES = {
    "too long": rebuilt(V2, 0, (5,), (1,), False, {}),
    "too far": rebuilt(V2, 3, (2,), (1,), False, {}),
    "very long": rebuilt(V2, 0, (2**40,), (1,), False, {}),
    "long strides": rebuilt(V2, 0, (2, 2), (2**40, 1), False, {}),
    "strides back": rebuilt(V2, 3, (4,), (-1,), False, {}),
    "offset back": rebuilt(V2, -1, (2,), (1,), False, {}),
    "more than a number": rebuilt(V2, 0, (2**47, 2**47), (0, 0), False, {}),
    "no numbers": rebuilt(V2, 0, (1.5,), (1,), False, {}),
    "fewer strides": rebuilt(V2, 0, (2, 2), (1,), False, {}),
    "a wider type": rebuilt(V3, 0, (4,), (1,), False, {}, torch.float64),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", SIZES)
def test_tensors_beyond_their_storage_are_refused(name: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": seeded_state(), "more": SIZES[name]}, path, _use_new_zipfile_serialization=zipped)
    assert refusal(path).startswith(f"{DAMAGED}a tensor ")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_tensor_inside_its_storage_is_read(zipped: bool, tmp_path: Path) -> None:
    """The control."""
    path = tmp_path / "weights.pth"
    more = rebuilt(V2, 1, (2, 2, 0), (1, 1, 9), False, {}), rebuilt(V3, 0, (2,), (1,), False, {}, torch.float64)
    torch.save({"net": seeded_state(), "more": more}, path, _use_new_zipfile_serialization=zipped)
    assert_state(read_checkpoint(path), seeded_state())


def replaced(path: Path, change: Callable[[str, bytes], tuple[bytes, int]]) -> Path:
    """Write the records of an archive anew, each with the bytes and the compression that `change` gives it."""
    with zipfile.ZipFile(path) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records:
            content, compression = change(name, data)
            archive.writestr(name, content, compression)
    return path


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    path = saved(seeded_state(), tmp_path / "weights.pth")
    replaced(path, lambda name, data: (data, zipfile.ZIP_DEFLATED if name.endswith("/data/0") else zipfile.ZIP_STORED))
    assert refusal(path).startswith("weights/data/0 in it is compressed, which torch.save never does")


def test_the_same_archive_with_nothing_compressed_is_read(tmp_path: Path) -> None:
    """The control: an archive that another program packed anew."""
    path = replaced(saved(seeded_state(), tmp_path / "weights.pth"), lambda name, data: (data, zipfile.ZIP_STORED))
    assert_state(read_checkpoint(path), seeded_state())


def big_endian(name: str, data: bytes) -> tuple[bytes, int]:
    """A record as a machine of the other byte order writes it; only the counters have 8 bytes."""
    if name.endswith("/byteorder"):
        return b"big", zipfile.ZIP_STORED
    return (np.frombuffer(data, "u8" if len(data) == 8 else "u4").byteswap().tobytes() if "/data/" in name else data), 0


def test_numbers_in_the_other_byte_order_are_turned(tmp_path: Path) -> None:
    path = replaced(saved(seeded_state(), tmp_path / "weights.pth"), big_endian)
    assert all(torch.equal(found, seeded_state()[key]) for key, found in torch.load(path).items()), (
        "the control: PyTorch's reader"
    )
    assert_state(read_checkpoint(path), seeded_state())


@pytest.mark.parametrize("change", ["shorter storage", "longer storage", "claimed size", "twice the same record"])
def test_sizes_in_an_archive_that_are_not_the_files(change: str, tmp_path: Path) -> None:
    path = saved(seeded_state(), tmp_path / "weights.pth")
    if change == "twice the same record":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("weights/data/0", b"other")
    elif change == "claimed size":
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\x01\x02")
        data[entry + 20 : entry + 28] = (2**31).to_bytes(4, "little") * 2
        path.write_bytes(data)
    else:
        shift = -4 if change == "shorter storage" else 4
        replaced(path, lambda name, data: ((data + bytes(4))[: len(data) + shift] if name.endswith("/data/0") else data, 0))
    message = refusal(path)
    storage = f"{DAMAGED}storage 0 claims 36 values but has {4 * 36 + (-4 if change == 'shorter storage' else 4)} bytes)"
    assert message.startswith(storage if "storage" in change else "damaged: the sizes of what is in it do not add up")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_pipes_and_devices_are_refused_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "weights.pth")
    assert refusal(tmp_path / "weights.pth") == "not a regular file; give a checkpoint (.pth, .pt, .bin or .safetensors)"


def with_pickle(path: Path, instructions: bytes) -> Path:
    """Write a checkpoint whose pickle is replaced."""
    return replaced(saved(weights(), path), lambda name, data: (instructions if name.endswith("data.pkl") else data, 0))


def bomb(path: Path) -> Path:
    """1.9 GiB of zeros in 9 MB, as a storage."""
    saved({"patch_embed1.proj.weight": torch.zeros(1)}, path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("weights/data/1", "w") as file,
    ):
        for _ in range(31):
            file.write(bytes(2**26))
    return path


def legacy(path: Path, count: int) -> Path:
    """A legacy file with one storage of that many values."""
    buffer = io.BytesIO()
    torch.save({"head.weight": torch.zeros(77)}, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(buffer.getvalue().replace(b"KM", b"\x8a\x06" + count.to_bytes(6, "little")))
    return path


def birder(path: Path) -> Path:
    signature = {"inputs": [{"data_shape": [0, 3, 32000, 32000]}], "outputs": [{"data_shape": [0, 10]}]}
    return saved({"state": {str(BIRDER.to_file(key)): value for key, value in weights().items()}, "signature": signature}, path)


def many_blocks(path: Path) -> Path:
    block = {key.removeprefix("blocks4.0."): value for key, value in weights().items() if key.startswith("blocks4.0.")}
    copies = {f"blocks4.{index}.{key}": value for index in range(64) for key, value in block.items()}
    return saved(weights() | copies, path)


class Module(torch.nn.Module):
    """Two names for the next module, as often as it is deep."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth:
            self.left = self.right = Module(depth - 1)


def endless_module(path: Path) -> Path:
    module = Module(0)
    module.itself = None
    module._modules["itself"] = module
    return saved(module, path)


@pytest.mark.parametrize("stated", [76, 78, -1, 2**40])
def test_a_legacy_storage_that_states_another_size_is_refused(stated: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"head.weight": torch.zeros(77)}, path, _use_new_zipfile_serialization=False)
    start, zeros = path.read_bytes()[: -8 - 4 * 77], bytes(4 * 77)
    assert path.read_bytes() == start + (77).to_bytes(8, "little") + zeros
    path.write_bytes(start + stated.to_bytes(8, "little", signed=True) + zeros)
    assert refusal(path).startswith(f"{DAMAGED}a storage of 77 values has {stated} in 308 bytes")


NO_LIST = "holds a list, not a dictionary of weights"
TOO_MANY = "holds more than 2000000 values beside its tensors"
ENDLESS = "holds a network of more than 16384 modules, or modules that contain themselves"
CUT_SHORT = "truncated or damaged PyTorch file (EOFError)"


def thirty_thousand_blocks(path: Path) -> Path:
    return saved(weights() | {f"blocks1.{n}.LocalAgg.norm1.weight": torch.zeros(0) for n in range(30_000)}, path)


def head_for_many(path: Path) -> Path:
    return saved(weights(head__weight=torch.zeros(1).expand(10**7, 288)), path)


def of_instructions(*parts: bytes) -> Callable[[Path], Path]:
    return lambda path: with_pickle(path, b"\x80\x05" + b"".join(parts) + b".")


def size(value: int, width: int = 8) -> bytes:
    return value.to_bytes(width, "little")


HOSTILE: tuple[tuple[Callable[[Path], Path], str], ...] = (
    (bomb, "weights/data/1 in it is compressed, which torch.save never does"),
    (thirty_thousand_blocks, "blocks1. has 30000 blocks; a stage has at most 64"),
    (head_for_many, "head.weight is for 10000000 classes; a head has at most 1048576"),
    (many_blocks, "several of its tensors are the same values"),
    (birder, "image height is too large; the largest that works: 4096"),
    (lambda path: legacy(path, 2**40), f"{DAMAGED}storage "),
    (of_instructions(b"}" * 2**23), TOO_MANY),
    (of_instructions(b"\x8f" * 2**23), TOO_MANY),
    (of_instructions(b"(", b"}" * 1_900_000, b"l"), NO_LIST),
    (of_instructions(b"(", b"]Na" * 660_000, b"l"), NO_LIST),
    (of_instructions(b"cos\nmkdir\nq\x00(", b"h\x00)\x81" * 660_000, b"l"), NO_LIST),
    (of_instructions(b"]" * 600_000, b"a" * 599_999), NO_LIST),
    (of_instructions(b")", b"\x85" * 600_000), "holds a tuple, not a dictionary of weights"),
    (of_instructions(b"\x8e", size(2**62)), CUT_SHORT),
    (of_instructions(b"\x96", size(2**62)), CUT_SHORT),
    (of_instructions(b"\x8b", size(2**31 - 1, 4)), CUT_SHORT),
    (of_instructions(b"\x95", size(2**62), b"N"), "holds a NoneType, not a dictionary of weights"),
    (of_instructions(b"})", b"2\x86" * 60, b"Ns"), "holds no weights; save model.state_dict()"),
    (lambda path: saved(Module(30), path), ENDLESS),
    (endless_module, ENDLESS),
)
CHILD = """
import contextlib, io, json, sys
from edgevit_deploy.cli import run
if sys.argv[1:] == ["control"]:
    held = b"x" * 1_600_000_000
    sys.argv.pop()
results = []
for path in sys.argv[1:]:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = run(["inspect", path])
    results.append([code, errors.getvalue()])
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([results, peak]))
"""


def in_a_child(*paths: str) -> tuple[list[tuple[int, str]], int]:
    """Return exit code and stderr of `inspect` for each file, and the peak memory of the process that ran them all, in bytes."""
    done = subprocess.run([sys.executable, "-c", CHILD, *paths], check=True, capture_output=True, text=True, timeout=300)
    results, peak_bytes = json.loads(done.stdout.splitlines()[-1])
    return results, peak_bytes


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="a system that does not tell the peak of one process")
def test_hostile_files_take_little_memory(tmp_path: Path) -> None:
    """Each is refused in one line; the peak of the process that read them all is bounded."""
    paths = []
    for index, (make, _) in enumerate(HOSTILE):
        (tmp_path / str(index)).mkdir()
        paths.append(str(make(tmp_path / str(index) / "weights.pth")))
    results, peak_bytes = in_a_child(*paths)
    for path, (code, stderr), (_, said) in zip(paths, results, HOSTILE, strict=True):
        assert code == 2
        assert stderr.startswith(f"error: {path}: {said}"), stderr
        assert len(stderr.splitlines()) == 1
    assert peak_bytes < MOST_BYTES
    assert in_a_child("control")[1] > MOST_BYTES


def test_the_hash_of_such_tuples_visits_each_again() -> None:
    """The control: what the reader must not do with 60 of them takes 2**10 steps with 10."""
    visits = itertools.count()

    class Counting:
        def __hash__(self) -> int:
            return next(visits)

    key: object = Counting()
    for _ in range(10):
        key = (key, key)
    hash(key)
    assert next(visits) == 2**10
