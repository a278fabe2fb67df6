"""`manifest.json`: what a bundle is, what went into it and what was proven about it (schema version 1)."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.parity.gate import ParityReport
from edgevit_deploy.spec import InputForm, OutputForm, Precision, Preprocess, TensorSpec

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of the bundle: its path inside (POSIX), sha256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsRecord:
    """Where the class names are, and whether they are real names or placeholders (`class 0`, ...)."""

    path: str
    count: int
    placeholders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRecord:
    """Raw little-endian float32 arrays in C order, for an app to replay; outputs are the float64 truth, rounded."""

    input_path: str
    input_shape: tuple[int, int, int, int]
    output_path: str
    output_shape: tuple[int, int]
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """The file that `model` was built from, kept because it can be verified where the built one cannot run."""

    target: str
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole file; field names are the JSON's."""

    schema_version: int
    target: str
    precision: Precision
    graph: str
    path: str
    files: tuple[FileRecord, ...]
    model: ModelRecord
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_form: InputForm
    output_form: OutputForm
    preprocess: Preprocess
    labels: LabelsRecord
    golden: GoldenRecord
    options: dict[str, Any]
    tools: dict[str, str]
    parity: ParityReport
    facts: dict[str, Any]
    notes: tuple[str, ...]
    source: SourceRecord | None

    @property
    def model_bytes(self) -> int:
        """The size of the model file, or of all files of a model that is a folder."""
        return sum(file.bytes for file in self.files if file.path == self.path or file.path.startswith(f"{self.path}/"))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Serialise: two-space indent, keys in the order of the dataclasses, final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"


def read_manifest(bundle: Path) -> Manifest:
    """Read and validate a bundle's manifest; nothing else is touched.

    Raises:
        UsageError: no bundle, an unknown schema version, a field of the wrong type, or a path that leaves the bundle.
    """
    path = bundle / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise UsageError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes, so it is no manifest of ours")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{bundle}: no bundle ({MANIFEST_NAME} cannot be read: {error.strerror})") from error
    _check_schema_version(path, data)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: not a valid manifest ({error}); convert again") from error
    for inside in _paths(manifest):
        check_inside(inside, path)
    return manifest


def check_inside(inside: str, where: Path) -> None:
    """Refuse a path that is absolute, climbs out, or is not in plain POSIX form.

    Raises:
        UsageError: naming the path.
    """
    parts = PurePosixPath(inside).parts
    if not parts or inside.startswith("/") or "\\" in inside or ":" in parts[0] or ".." in parts:
        raise UsageError(f"{where}: the path {inside!r} leaves the bundle; do not use this bundle")


def _check_schema_version(path: Path, data: bytes) -> None:
    try:
        document = json.loads(data)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a bundle manifest (no schema_version in it)") from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path}: schema_version {version!r} is unknown, this edgevit-deploy reads {SCHEMA_VERSION}; "
            "upgrade edgevit-deploy or convert again"
        )


def _paths(manifest: Manifest) -> list[str]:
    source = [manifest.source.path] if manifest.source else []
    named = [manifest.path, manifest.labels.path, manifest.golden.input_path, manifest.golden.output_path]
    return [*named, *source, *(record.path for record in manifest.files)]
