"""PyTorch lite-interpreter files (`.ptl`): what one holds, read without running any of it, and what it may hold.

The exporter asks whether PyTorch Mobile 1.13 loads a file, the runtime whether a file from anywhere may be run; both answers
are in the same table. TorchScript has operators that write and read files (`aten::save`, `aten::from_file`), and loading
alone can run bytecode (`__setstate__`), so the operators are known before PyTorch loads anything.

A `.ptl` is a zip archive: `bytecode.pkl` (instructions, operators, constants), `data.pkl` (the module), `constants/*` and
`data/*` (raw tensors) and `code/*` (TorchScript source, for `torch.jit.load` only). The pickles are read by PyTorch's own C++
reader, which builds tensors, containers and TorchScript objects and can call no Python.
"""

import io
import pickle
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import RunError, first_line

NEWEST_BYTECODE = 8
NEWEST_FORMAT = 10
"""The newest that PyTorch 1.13 reads among those that PyTorch 2 writes (caffe2/serialize/versions.h, tag v1.13.1)."""

OPERATORS = {
    "aten::Int.Tensor": 1,
    "aten::__getitem__.t": 2,
    "aten::_convolution": 13,
    "aten::_set_item.str": 3,
    "aten::adaptive_avg_pool2d": 2,
    "aten::add.Scalar": 3,
    "aten::add.Tensor": 3,
    "aten::add_.Tensor": 3,
    "aten::avg_pool2d": 7,
    "aten::batch_norm": 9,
    "aten::bmm": 2,
    "aten::cat": 2,
    "aten::chunk": 3,
    "aten::contiguous": 2,
    "aten::div.Tensor": 2,
    "aten::expand": 3,
    "aten::flatten.using_ints": 3,
    "aten::floor_divide": 2,
    "aten::gelu": 2,
    "aten::hardsigmoid": 1,
    "aten::hardswish": 1,
    "aten::hardswish_": 1,
    "aten::hardtanh": 3,
    "aten::hardtanh_": 3,
    "aten::layer_norm": 6,
    "aten::len.t": 1,
    "aten::linear": 3,
    "aten::matmul": 2,
    "aten::max_pool2d": 6,
    "aten::mean.dim": 4,
    "aten::mul.Tensor": 2,
    "aten::pad": 4,
    "aten::permute": 2,
    "aten::pixel_shuffle": 2,
    "aten::relu": 1,
    "aten::relu_": 1,
    "aten::remainder.Scalar": 2,
    "aten::repeat": 2,
    "aten::reshape": 2,
    "aten::roll": 3,
    "aten::rsqrt": 1,
    "aten::rsub.Scalar": 3,
    "aten::select.int": 3,
    "aten::sigmoid": 1,
    "aten::silu": 1,
    "aten::silu_": 1,
    "aten::size.int": 2,
    "aten::slice.Tensor": 5,
    "aten::softmax.int": 3,
    "aten::split_with_sizes": 3,
    "aten::sub.Tensor": 3,
    "aten::to.dtype": 5,
    "aten::transpose.int": 3,
    "aten::unbind.int": 2,
    "aten::unsqueeze": 2,
    "aten::upsample_bilinear2d.vec": 4,
    "aten::upsample_nearest2d.vec": 3,
    "aten::view": 2,
    "prepacked::conv2d_clamp_run": 2,
    "prepacked::conv2d_transpose_clamp_run": 2,
    "prepacked::linear_clamp_run": 2,
}
"""Every operator that a file may use -> how many arguments it has in PyTorch 1.13 (a test asks 1.13 itself).

They are those of EdgeViT and of the networks that it is timed against (`peers.py`). All of them only compute. `prepacked` ones
are XNNPACK's, put in by `optimize_for_mobile`.
"""

CAST = "aten::to.dtype"

ZIP_MAGIC = b"PK\x03\x04"
RECORD = re.compile(
    r"(data|constants|bytecode)\.pkl|byteorder|(\.data/)?version|\.data/serialization_id|(data|constants)/[^/]+|(?P<code>code/.+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteFile:
    """What one file holds; `operators` maps each name (with its overload) to the number of arguments that are passed to it."""

    bytecode_version: int
    format_version: int
    operators: dict[str, int]

    def objections(self) -> list[str]:
        """Say why PyTorch Mobile 1.13 could not load this file or why it should not be run; empty when it is good."""
        found = []
        for what, version, newest in (
            ("bytecode version", self.bytecode_version, NEWEST_BYTECODE),
            ("format version", self.format_version, NEWEST_FORMAT),
        ):
            if not 1 <= version <= newest:
                found.append(f"{what} {version} is not in 1 to {newest}, which PyTorch Mobile 1.13 reads")
        for name, arguments in self.operators.items():
            if name not in OPERATORS:
                found.append(f"operator {name} is not among those known to be in PyTorch Mobile 1.13")
            elif arguments > OPERATORS[name]:
                found.append(f"operator {name} is given {arguments} arguments, PyTorch Mobile 1.13 takes {OPERATORS[name]}")
        return found


def read_lite_file(path: Path) -> LiteFile:
    """Read a file's versions and operators; nothing in it is run.

    PyTorch's own reader is native code: for a file from anywhere, call this where a crash does no harm.

    Raises:
        RunError: it is not a lite-interpreter file, or a damaged one.
    """
    import torch
    from torch.jit import mobile

    check_archive(path)
    try:
        reader: Any = torch._C.PyTorchFileReader(str(path))
        operators = mobile._get_model_ops_and_info(str(path))  # type: ignore[no-untyped-call]
        return LiteFile(
            bytecode_version=mobile._get_model_bytecode_version(str(path)),
            format_version=read_format_version(reader),
            operators={name: info.num_schema_args or 0 for name, info in sorted(operators.items())},
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(f"{path.name} is not a lite-interpreter file: {first_line(error)}") from error


def count_calls(path: Path, method: str = "forward") -> dict[str, int]:
    """Count the calls of each operator in a method's bytecode, in alphabetical order; straight-line code, as a trace has.

    Raises:
        RunError: it is not a lite-interpreter file, or has no such method.
    """
    return dict(sorted(Counter(_read_calls(path, method)).items()))


def takes_bytes(path: Path) -> bool:
    """Say whether a file makes floats of its input before anything else: it has no other place that tells what it takes.

    A file of floats would take bytes all the same, for PyTorch promotes types, and one of bytes floats.

    Raises:
        RunError: it is not a lite-interpreter file.
    """
    return _read_calls(path, "forward")[:1] == [CAST]


def _read_calls(path: Path, method: str) -> list[str]:
    """Return the operators that a method calls, in order."""
    import torch

    check_archive(path)
    try:
        reader: Any = torch._C.PyTorchFileReader(str(path))
        _, *methods = _Bytecode(io.BytesIO(reader.get_record("bytecode.pkl"))).load()
        (tables,) = (dict(tables) for name, tables, *_ in methods if name.rpartition(".")[2] == method)
        names = [".".join(filter(None, (name, overload))) for name, overload, *_ in tables["operators"]]
        return [names[index] for code, index, _ in tables["instructions"] if code in ("OP", "OPN")]
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise RunError(f"{path.name}: no bytecode of {method!r} can be read: {first_line(error)}") from error


class _Bytecode(pickle.Unpickler):
    """Reads numbers, names and tuples; what would be built of anything else is None, and nothing is imported or called."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ARG002 - whatever it is
        return lambda *_: None

    def persistent_load(self, identifier: Any) -> None:  # noqa: ARG002 - whatever it is
        return None


def read_format_version(reader: Any) -> int:
    """Return the version of an archive that is open in PyTorch's reader; it decides which behaviour of each operator is meant."""
    return int(reader.get_record(".data/version" if reader.has_record(".data/version") else "version"))


def check_archive(path: Path) -> None:
    """Refuse what is not the archive that PyTorch's writer makes, before any native code sees it.

    The first bytes decide how PyTorch reads a file, so they must be a zip's (otherwise it is taken for a flatbuffer). What
    is read is stored uncompressed, so that nothing small unpacks to something huge, and every checksum is right.

    Raises:
        RunError: naming what is wrong.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
                raise RunError(f"{path.name} is not a .ptl file: it is no zip archive; copy or convert it again")
            with zipfile.ZipFile(file) as archive:
                for record in archive.infolist():
                    name = RECORD.fullmatch(record.filename.partition("/")[2])
                    if name is None or (record.compress_type != zipfile.ZIP_STORED and not name["code"]):
                        raise RunError(f"{path.name} holds {record.filename!r}, which is in no .ptl file that PyTorch writes")
                    if not name["code"]:
                        _check_sum(archive, record)
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise RunError(f"{path.name} is damaged: {error}; copy or convert it again") from error


def _check_sum(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    with archive.open(record) as content:  # reading to the end compares the checksum
        while content.read(1 << 20):
            pass
