"""What a file computes, as a hash: the same for a copy of a bundle, another one after anything that changes outputs."""

import hashlib
import importlib.metadata
from collections.abc import Iterable

from edgevit_deploy.bundle.folder import EVALUATION_NAME
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.workbench import Host


def digest_of(facts: object) -> str:
    """Return a SHA-256 in hex of anything that has a JSON form."""
    return hashlib.sha256(json_bytes(facts)).hexdigest()


def identity_of(manifest: Manifest) -> str:
    """Return a hash of a bundle's files and of how they are run, the same on every host.

    A recorded evaluation is not part of it, so recording one does not make another file.
    """
    files = [record for record in manifest.files if record.path != EVALUATION_NAME]
    return digest_of([files, manifest.target, manifest.conversion])


def weights_identity(record: ModelRecord) -> str:
    """Return a hash of a network's weights."""
    return digest_of([record.variant, record.weights_sha256])


def runtime_versions(target: str, host: Host) -> dict[str, str]:
    """Return the versions of what runs a target's files on this host; none where nothing does."""
    session_type = host.find_session(target)
    return versions(session_type.packages) if session_type else {}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each package, by its import name; one that has none is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
