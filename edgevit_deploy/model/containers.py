"""The containers of checkpoints: PyTorch's zip, PyTorch's legacy format and safetensors, told apart by their first bytes.

Whatever a file claims about its own size is held against the size that it has before memory is taken for it. A PyTorch zip is
also checked against its CRC-32 sums. The legacy format and safetensors have no sums: there a changed byte inside a tensor shows
only in the hash of the file.
"""

import hashlib
import io
import mmap
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.unpickle import Unpickler
from edgevit_deploy.outside.files import open_regular
from edgevit_deploy.spec import MAX_FILE_BYTES

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGICS = tuple(pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol) for protocol in range(6))
BYTES_OF_A_COUNT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file holds.

    Attributes:
        tree: dictionaries, lists, tensors, plain values, and a `StandIn` for every other object.
        metadata: what stands beside the tensors of a safetensors file, by name.
        foreign: names of classes and functions that were not executed, as `module.name`.
        sha256: of the file's bytes, in hex.
    """

    tree: object
    metadata: Mapping[str, str]
    foreign: tuple[str, ...]
    sha256: str


def read_contents(path: Path) -> Contents:
    """Read a file of any of the three kinds; nothing in it is executed.

    Raises:
        UsageError: missing, empty or damaged, of another kind, or with sizes that are not the file's.
    """
    with _opened(path) as file:
        start = file.read(64)
        _check_start(start, os.fstat(file.fileno()).st_size)
        file.seek(0)
        sha256 = _sha256(file)
        if start.startswith(ZIP_MAGIC):
            tree, foreign = _read_zip(file)
        elif start.startswith(LEGACY_MAGICS):
            tree, foreign = _read_legacy(file)
        else:
            tree, metadata = _read_safetensors(path)
            return Contents(tree=tree, metadata=metadata, foreign=(), sha256=sha256)
    return Contents(tree=tree, metadata={}, foreign=foreign, sha256=sha256)


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError("no such file; give a checkpoint (.pth, .pt, .bin or .safetensors)") from error
    except PermissionError as error:
        raise UsageError(f"cannot be read ({error.strerror}); check its permissions") from error
    except OSError as error:
        raise UsageError(f"{error.strerror}; give a checkpoint (.pth, .pt, .bin or .safetensors)") from error


def _check_start(start: bytes, size_bytes: int) -> None:
    """Refuse what is no checkpoint by its first bytes, or too large for one, before hours go by with hashing it."""
    if not start:
        raise UsageError("the file is empty; copy or download it again")
    if size_bytes > MAX_FILE_BYTES:
        raise UsageError(f"{size_bytes} bytes, expected at most {MAX_FILE_BYTES}; save model.state_dict() alone")
    if start.startswith((ZIP_MAGIC, *LEGACY_MAGICS)) or start[8:9] == b"{":
        return
    if start.startswith(b"\x80"):
        raise UsageError("a plain Python pickle, which torch.save did not write; save the weights with torch.save")
    raise UsageError(f"neither a PyTorch checkpoint nor safetensors: it begins with {start[:16]!r}; copy or download it again")


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _parsing(kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on arbitrary bytes (no list of exceptions is complete) into one refusal."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        reason = re.split(r"[.\n]\s", f"{type(error).__name__}: {error} ")[0].strip(": ")
        raise UsageError(f"truncated or damaged {kind} ({reason}); copy or download it again") from error


def _read_zip(file: BinaryIO) -> tuple[object, tuple[str, ...]]:
    with _parsing("zip archive"):
        archive = zipfile.ZipFile(file)
    with archive:
        _check_zip(archive, os.fstat(file.fileno()).st_size)
        with _parsing("PyTorch file"):
            return _PyTorchZip(archive).read()


def _check_zip(archive: zipfile.ZipFile, size_bytes: int) -> None:
    """Refuse other archives, and records whose sizes or sums are wrong; torch.save stores each once, uncompressed."""
    records = archive.infolist()
    names = {record.filename for record in records}
    if any(name.endswith("/constants.pkl") for name in names):
        raise UsageError("a TorchScript program, not a checkpoint; give the weights that it was made from")
    if not any(name.endswith("/data.pkl") for name in names):
        raise UsageError("a zip archive, but not one that torch.save wrote; give a checkpoint")
    packed = next((record.filename for record in records if record.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise UsageError(f"{packed} in it is compressed, which torch.save never does; give the file as torch.save wrote it")
    if len(names) < len(records) or sum(record.file_size for record in records) > size_bytes:
        raise UsageError("damaged: the sizes of what is in it do not add up to the file's; copy or download it again")
    with _parsing("zip archive"):
        damaged = archive.testzip()
    if damaged is not None:
        raise UsageError(f"damaged: {damaged} in it does not match its CRC-32; copy or download it again")


class _PyTorchZip:
    """What `torch.save` writes: one pickle, and a record for each storage (torch/serialization.py, _save)."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._pickle = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        self._root = self._pickle.removesuffix("data.pkl")
        self._storages: dict[str, torch.UntypedStorage] = {}
        order = self._record("byteorder").decode() if f"{self._root}byteorder" in archive.namelist() else "little"
        self._swaps = order != sys.byteorder

    def read(self) -> tuple[object, tuple[str, ...]]:
        unpickler = Unpickler(io.BytesIO(self._record("data.pkl")), self._storage)
        return unpickler.load(), tuple(sorted(unpickler.foreign))

    def _record(self, name: str) -> bytes:
        return self._archive.read(self._root + name)

    def _storage(self, dtype: torch.dtype, key: str, count: int) -> torch.UntypedStorage:
        if key not in self._storages:
            data = self._record(f"data/{key}")
            if count * dtype.itemsize != len(data):
                raise pickle.UnpicklingError(f"storage {key} claims {count} values but has {len(data)} bytes")
            self._storages[key] = _empty_storage(len(data))
            _fill(self._storages[key], _swapped(data, dtype) if self._swaps else data)
        return self._storages[key]


def _empty_storage(size_bytes: int) -> torch.UntypedStorage:
    return torch.empty(size_bytes, dtype=torch.uint8).untyped_storage()


def _swapped(data: bytes, dtype: torch.dtype) -> bytes:
    """Return the bytes of each number in the other order; a complex number is two."""
    return np.frombuffer(data, f"u{dtype.itemsize // (2 if dtype.is_complex else 1)}").byteswap().tobytes()


def _fill(storage: torch.UntypedStorage, data: bytes) -> None:
    torch.empty(0, dtype=torch.uint8).set_(storage, 0, (len(data),), (1,)).numpy()[:] = np.frombuffer(data, np.uint8)


def _read_legacy(file: BinaryIO) -> tuple[object, tuple[str, ...]]:
    with _parsing("PyTorch file"), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _LegacyFile(data).read()


class _LegacyFile:
    """What `torch.save` wrote before 1.6: pickles one after another, then the storages (torch/serialization.py, _legacy_save)."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._left_bytes = len(data)
        self._storages: dict[str, tuple[torch.UntypedStorage, int]] = {}

    def read(self) -> tuple[object, tuple[str, ...]]:
        for _ in ("magic number", "version of the format", "description of the machine"):
            Unpickler(self._data).load()
        unpickler = Unpickler(self._data, self._storage)
        tree = unpickler.load()
        keys = Unpickler(self._data).load()
        if sorted(keys) != sorted(self._storages):
            raise pickle.UnpicklingError("the storages behind the tensors are not those that the tensors name")
        for key in keys:
            self._read_storage(*self._storages[key])
        return tree, tuple(sorted(unpickler.foreign))

    def _storage(self, dtype: torch.dtype, key: str, count: int) -> torch.UntypedStorage:
        if key not in self._storages:
            self._left_bytes -= count * dtype.itemsize
            if self._left_bytes < 0:
                raise pickle.UnpicklingError(f"storage {key} claims {count} values, which the file does not have")
            self._storages[key] = _empty_storage(count * dtype.itemsize), count
        return self._storages[key][0]

    def _read_storage(self, storage: torch.UntypedStorage, count: int) -> None:
        stated = int.from_bytes(self._data.read(BYTES_OF_A_COUNT), "little", signed=True)
        data = self._data.read(storage.nbytes())
        if stated != count or len(data) != storage.nbytes():
            raise pickle.UnpicklingError(f"a storage of {count} values has {stated} in {len(data)} bytes")
        _fill(storage, data)


def _read_safetensors(path: Path) -> tuple[object, Mapping[str, str]]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    with _parsing("safetensors"):
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] | None = file.metadata()
        return load_file(path), metadata or {}
