"""A bundle on disk: written beside its place and renamed, so that it is there whole or not at all; and read with distrust."""

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
from edgevit_deploy.errors import BundleError, ExportError, UsageError
from edgevit_deploy.process.interrupts import INTERRUPTS
from edgevit_deploy.spec import INPUT_NAME

LABELS_NAME = "labels.txt"
README_NAME = "README.md"
GOLDEN = "golden"
GOLDEN_INPUT = f"{GOLDEN}/input.f32"
ONLY_OUTPUT = "output"
"""The name of the golden file of an output that is the only one."""
FULL_DISK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBundle:
    """A bundle being written in `folder`; nobody sees it before `publish`."""

    folder: Path
    destination: Path

    def publish(self) -> Path:
        """Put the bundle in its place, replacing an older one as a whole, and return that place."""
        _swap(self.folder, self.destination)
        failed = _failed(self.destination)
        if (failed / MANIFEST_NAME).is_file():
            shutil.rmtree(failed)
        return self.destination

    def publish_failed(self) -> Path:
        """Keep a bundle that failed parity as `<name>.failed`, for study; an older good one stays in its place."""
        _swap(self.folder, _failed(self.destination))
        return _failed(self.destination)


@contextmanager
def staged_bundle(destination: Path) -> Iterator[StagedBundle]:
    """Give a folder to write a bundle into, on the same disk as its place; unpublished, it is removed at the end.

    Raises:
        UsageError: the place cannot be written, holds something that is not a bundle, or the disk is full.
    """
    _check_replaceable(destination)
    folder = destination.parent / f".{destination.name}.partial-{os.getpid()}"
    try:
        with _translated_disk_errors(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield StagedBundle(folder=folder, destination=destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_golden(
    folder: Path, names: tuple[str, ...], inputs: NDArray[np.float32], outputs: Mapping[str, NDArray[np.float64]]
) -> GoldenRecord:
    """Write golden inputs (n, 3, height, width) and float64 outputs (n, ...) as raw little-endian float32, one file each."""
    (folder / GOLDEN).mkdir()
    (folder / GOLDEN_INPUT).write_bytes(inputs.astype("<f4").tobytes())
    records = []
    for name, values in outputs.items():
        path = f"{GOLDEN}/{ONLY_OUTPUT if len(outputs) == 1 else name}.f32"
        (folder / path).write_bytes(values.astype("<f4").tobytes())
        records.append(GoldenArray(name=name, path=path, shape=values.shape))
    return GoldenRecord(
        input=GoldenArray(name=INPUT_NAME, path=GOLDEN_INPUT, shape=inputs.shape), outputs=tuple(records), probes=names
    )


def read_golden(bundle: Path, record: GoldenRecord) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Read the golden inputs (n, 3, height, width), and of each output by name what it must be (n, ...).

    Raises:
        BundleError: a file does not hold as many numbers as the manifest says, or one that is not finite.
    """
    return _read_array(bundle, record.input), {array.name: _read_array(bundle, array) for array in record.outputs}


def _read_array(bundle: Path, record: GoldenArray) -> NDArray[np.float32]:
    data = (bundle / record.path).read_bytes()
    if len(data) != 4 * math.prod(record.shape):
        raise BundleError(f"{bundle / record.path}: {len(data)} bytes, expected float32 {record.shape}; convert again")
    values = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(record.shape)
    if not np.isfinite(values).all():
        raise BundleError(f"{bundle / record.path}: it holds numbers that are not finite, which prove nothing; convert again")
    return values


def record_files(folder: Path) -> tuple[FileRecord, ...]:
    """Hash every file below a folder except its manifest, in sorted order."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return tuple(_record(folder, path) for path in paths if path != MANIFEST_NAME)


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
    for path in bundle.rglob("*"):
        if path.is_symlink():
            raise UsageError(f"{path}: a link, which could lead out of the bundle; do not use this bundle")
    recorded = {record.path for record in manifest.files}
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} - {MANIFEST_NAME}
    if missing := sorted(recorded - present):
        raise BundleError(f"{bundle}: {missing[0]} is missing; copy the whole folder again")
    if extra := sorted(present - recorded):
        raise BundleError(f"{bundle}: {extra[0]} is not in the manifest; remove it or convert again")
    for record in manifest.files:
        found = _record(bundle, record.path)
        if found != record:
            raise BundleError(
                f"{bundle / record.path}: changed since it was written (sha256 {found.sha256[:12]}..., "
                f"manifest says {record.sha256[:12]}...); copy it again or convert again"
            )
    return manifest


def read_labels(bundle: Path, manifest: Manifest) -> tuple[str, ...]:
    """Read the class names, one a line.

    Raises:
        BundleError: there are not as many as the model has classes.
    """
    labels = tuple((bundle / manifest.labels.path).read_text(encoding="utf-8").splitlines())
    if len(labels) != manifest.model.num_classes:
        raise BundleError(
            f"{bundle / manifest.labels.path}: {len(labels)} labels for {manifest.model.num_classes} classes; convert again"
        )
    return labels


def _record(folder: Path, path: str) -> FileRecord:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(path=path, sha256=digest, bytes=(folder / path).stat().st_size)


def _check_replaceable(destination: Path) -> None:
    for parent in destination.parents:
        if parent.exists():
            if not parent.is_dir():
                raise UsageError(f"{parent} is a file, so nothing can be written below it; give another --output")
            if not os.access(parent, os.W_OK | os.X_OK):
                raise UsageError(f"{parent} is not writable; give another --output")
            break
    if destination.is_symlink() or (destination.exists() and not (destination / MANIFEST_NAME).is_file()):
        raise UsageError(f"{destination} exists and is not a bundle; move it away or give another --output")


def _failed(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.failed")


def _swap(staging: Path, destination: Path) -> None:
    old = destination.parent / f".{destination.name}.old-{os.getpid()}"
    INTERRUPTS.raise_if_arrived()
    with INTERRUPTS.held():
        if destination.exists():
            destination.rename(old)
        staging.rename(destination)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _translated_disk_errors(destination: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ExportError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) or not destination.parent.is_dir():
            raise UsageError(f"{destination} cannot be written ({error}); give another --output") from error
        # Converters written in C++ report a full disk in their own words; the disk itself is asked.
        full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or shutil.disk_usage(destination.parent).free < FULL_DISK_BYTES:
            raise UsageError(
                f"no space left while writing {destination}; nothing was kept there: free space or give another --output"
            ) from error
        raise
