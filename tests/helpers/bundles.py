"""Changes to a bundle that lies on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgevit_deploy.bundle.folder import record_files


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def rehash(bundle: Path) -> None:
    """Record the present files of a bundle, as an attacker could."""
    files = [msgspec.to_builtins(record) for record in record_files(bundle)]
    edit_manifest(bundle, lambda document: document.update(files=files))
