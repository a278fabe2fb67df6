"""A bundle's folder: its golden data and records as they are written, and everything in it read with distrust.

A path in a manifest becomes a file in one place here, `recorded_path`: inside the bundle, recorded, no link and no pipe. What is
read of it is bounded by what the manifest records, and that by `claims`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.manifest import (
    MANIFEST_NAME,
    FileRecord,
    GoldenArray,
    GoldenRecord,
    Manifest,
    manifest_bytes,
    read_manifest,
)
from edgevit_deploy.bundle.place import files_in
from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.outside.files import is_regular, open_regular, read_bounded
from edgevit_deploy.spec import INPUT_NAME, INPUTS, MAX_LABELS_BYTES, InputType, tensor_bytes

LABELS_NAME = "labels.txt"
README_NAME = "README.md"
EVALUATION_NAME = "evaluation.json"
"""Of what an evaluation found out, where it was put into the bundle; only the list of files in the manifest knows of it."""

GOLDEN = "golden"
GOLDEN_INPUTS: dict[InputType, str] = {"float32": f"{GOLDEN}/input.f32", "uint8": f"{GOLDEN}/input.u8"}
"""Where the golden inputs are, by their type."""

STORED: dict[InputType, str] = {"float32": "<f4", "uint8": "u1"}
"""How NumPy calls what is in a golden file, the same on every machine."""
ONLY_OUTPUT = "output"
"""The name of the golden file of an output that is the only one."""


def write_golden(
    folder: Path, names: tuple[str, ...], inputs: Images, outputs: Mapping[str, NDArray[np.float64]]
) -> GoldenRecord:
    """Write golden inputs (n, 3, height, width) in their own type and float64 outputs (n, ...) as float32, raw, one file each."""
    (folder / GOLDEN).mkdir()
    dtype: InputType = "uint8" if inputs.dtype == np.uint8 else "float32"
    (folder / GOLDEN_INPUTS[dtype]).write_bytes(inputs.astype(STORED[dtype]).tobytes())
    records = []
    for name, values in outputs.items():
        path = f"{GOLDEN}/{ONLY_OUTPUT if len(outputs) == 1 else name}.f32"
        (folder / path).write_bytes(values.astype(STORED["float32"]).tobytes())
        records.append(GoldenArray(name=name, path=path, shape=values.shape))
    return GoldenRecord(
        input=GoldenArray(name=INPUT_NAME, path=GOLDEN_INPUTS[dtype], shape=inputs.shape), outputs=tuple(records), probes=names
    )


def read_golden(bundle: Path, manifest: Manifest) -> tuple[Images, dict[str, NDArray[np.float32]]]:
    """Read the golden inputs (n, 3, height, width), and of each output by name what it must be (n, ...).

    Raises:
        BundleError: a file does not hold as many numbers as the manifest says, or one that is not finite.
    """
    golden, dtype = manifest.golden, INPUTS[manifest.conversion.takes].dtype
    return _read_array(bundle, manifest, golden.input, dtype), {
        array.name: _read_array(bundle, manifest, array, "float32") for array in golden.outputs
    }


def _read_array(bundle: Path, manifest: Manifest, record: GoldenArray, dtype: InputType) -> NDArray[Any]:
    size = tensor_bytes(record.shape, dtype)
    data = read_recorded(bundle, manifest, record.path, size)
    if len(data) != size:
        raise BundleError(f"{bundle / record.path}: {len(data)} bytes, expected {dtype} {record.shape}; convert again")
    values = np.frombuffer(data, dtype=STORED[dtype]).astype(dtype).reshape(record.shape)
    if not np.isfinite(values).all():
        raise BundleError(f"{bundle / record.path}: it holds numbers that are not finite, which prove nothing; convert again")
    return values


def record_files(folder: Path) -> tuple[FileRecord, ...]:
    """Hash every file below a folder except its manifest, in sorted order."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return tuple(record_file(folder, path) for path in paths if path != MANIFEST_NAME)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; the last file of a bundle to be written."""
    (folder / MANIFEST_NAME).write_bytes(manifest_bytes(manifest))


def open_bundle(bundle: Path) -> Manifest:
    """Read a bundle's manifest and prove that its files are exactly those recorded.

    Raises:
        UsageError: not a readable bundle (see `read_manifest`), or a link in it.
        BundleError: a file is missing, was changed, or is there without being recorded.
    """
    manifest = read_manifest(bundle)
    present = files_in(bundle) - {MANIFEST_NAME}
    for name in sorted(present):
        if (bundle / name).is_symlink():
            raise UsageError(f"{bundle / name}: a link, which could lead out of the bundle; do not use this bundle")
        if not is_regular(bundle / name):
            raise UsageError(f"{bundle / name}: not a regular file; do not use this bundle")
    recorded = {record.path for record in manifest.files}
    if missing := sorted(recorded - present):
        raise BundleError(f"{bundle}: {missing[0]} is missing; copy the whole folder again")
    if extra := sorted(present - recorded):
        raise BundleError(f"{bundle}: {extra[0]} is not in the manifest; remove it or convert again")
    for record in manifest.files:
        _check_unchanged(bundle, record)
    return manifest


def _check_unchanged(bundle: Path, record: FileRecord) -> None:
    path = bundle / record.path
    size = path.stat().st_size
    if size != record.bytes:  # said before a byte is read: it may be larger than any disk
        raise BundleError(
            f"{path}: changed since it was written ({size} bytes, manifest says {record.bytes}); copy it again or convert again"
        )
    found = record_file(bundle, record.path)
    if found != record:
        raise BundleError(
            f"{path}: changed since it was written (sha256 {found.sha256[:12]}..., "
            f"manifest says {record.sha256[:12]}...); copy it again or convert again"
        )


def recorded_path(bundle: Path, manifest: Manifest, inside: str) -> Path:
    """Return where a path of the manifest lies: a file that it records, or a folder of such files.

    Raises:
        BundleError: the manifest records no such file, or it is not there.
    """
    path = bundle / inside
    if not any(record.path == inside or record.path.startswith(f"{inside}/") for record in manifest.files):
        raise BundleError(f"{path} is named in the manifest but not among its files; convert again")
    if not path.exists():
        raise BundleError(f"{path} is missing; copy the whole folder again")
    return path


def read_recorded(bundle: Path, manifest: Manifest, inside: str, max_bytes: int) -> bytes:
    """Read a file of a bundle whole.

    Raises:
        BundleError: it is not there, not recorded, or larger than `max_bytes`.
    """
    path = recorded_path(bundle, manifest, inside)
    try:
        return read_bounded(path, max_bytes)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); copy the whole folder again or convert again") from error


def read_labels(bundle: Path, manifest: Manifest) -> tuple[str, ...]:
    """Read the class names, one a line.

    Raises:
        BundleError: they are no text, or not as many as the model has classes.
    """
    data = read_recorded(bundle, manifest, manifest.labels.path, MAX_LABELS_BYTES)
    try:
        labels = tuple(data.decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise BundleError(f"{bundle / manifest.labels.path}: not UTF-8 text ({error.reason}); convert again") from error
    if len(labels) != manifest.model.num_classes:
        raise BundleError(
            f"{bundle / manifest.labels.path}: {len(labels)} labels for {manifest.model.num_classes} classes; convert again"
        )
    return labels


def record_file(folder: Path, path: str) -> FileRecord:
    """Hash one file below a folder."""
    with open_regular(folder / path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(path=path, sha256=digest, bytes=(folder / path).stat().st_size)
