"""A bundle by value, as it travels between machines, and proven against its own manifest where it arrives."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.bundle.disk import Needs
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.manifest import MANIFEST_NAME, Manifest, parse_manifest
from edgevit_deploy.bundle.place import staged_bundle
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.outside.files import read_bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """The files of one bundle: path inside (POSIX) -> content, the manifest among them."""

    files: Mapping[str, bytes]


def pack(bundle: Path) -> Parcel:
    """Return a bundle's files, proven to be those that it records.

    Raises:
        UsageError: not a readable bundle.
        BundleError: a file is missing, changed or unrecorded.
    """
    manifest = open_bundle(bundle)
    sizes = {MANIFEST_NAME: (bundle / MANIFEST_NAME).stat().st_size, **{each.path: each.bytes for each in manifest.files}}
    return Parcel(files={path: read_bounded(bundle / path, size) for path, size in sizes.items()})


def check_parcel(parcel: Parcel, sender: str) -> Manifest:
    """Return the manifest of a bundle that has arrived, once its files are exactly those that it records.

    Args:
        parcel: from outside; nothing of it has been written.
        sender: for the error.

    Raises:
        BundleError: it has no valid manifest, or a file is missing, unrecorded or not what the manifest says.
    """
    wrong = f"what {sender} sent is not a bundle as its manifest says"
    try:
        manifest = parse_manifest(parcel.files.get(MANIFEST_NAME, b""), Path(MANIFEST_NAME))
    except UsageError as error:
        raise BundleError(f"{wrong} ({error}); nothing was written") from error
    recorded = {record.path: record for record in manifest.files}
    if strange := sorted(set(parcel.files) ^ {MANIFEST_NAME, *recorded}):
        raise BundleError(f"{wrong} ({strange[0]!r} is missing or unrecorded); nothing was written")
    for path, record in recorded.items():
        content = parcel.files[path]
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise BundleError(f"{wrong} ({path} was changed on its way); nothing was written")
    return manifest


def unpack(parcel: Parcel, folder: Path, sender: str) -> Manifest:
    """Write a bundle that has arrived into a folder that is new or empty.

    Raises:
        BundleError: as for `check_parcel`; nothing is written then.
        UsageError: two of its paths cannot both be files.
    """
    manifest = check_parcel(parcel, sender)
    for path, content in parcel.files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BundleError(f"what {sender} sent has {path!r} as a file and as a folder; nothing was written") from error
    return manifest


def publish(parcel: Parcel, destination: Path, sender: str) -> tuple[Path, Manifest]:
    """Put a bundle that has arrived in its place, as a conversion here would; one that failed parity is kept apart.

    Returns:
        Where it is, and its manifest.

    Raises:
        BundleError: as for `check_parcel`; nothing is written then.
        UsageError: the place cannot be written, or holds something that is not a bundle.
    """
    check_parcel(parcel, sender)
    size = sum(map(len, parcel.files.values()))
    with staged_bundle(destination, Needs(kept_bytes=size, passing_bytes=size)) as staged:
        manifest = unpack(parcel, staged.folder, sender)
        return staged.publish_failed() if manifest.parity.verdict == "failed" else staged.publish(), manifest
