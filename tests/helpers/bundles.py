"""Changes to a bundle that lies on disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgevit_deploy.bundle.folder import record_files
from edgevit_deploy.bundle.place import staged_bundle


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def change_model(bundle: Path, **changes: object) -> None:
    """Let a bundle say something else of the network that it was made of."""
    edit_manifest(bundle, lambda document: document["model"].update(changes))


def rehash(bundle: Path) -> None:
    """Record the present files of a bundle, as an attacker could."""
    files = [msgspec.to_builtins(record) for record in record_files(bundle)]
    edit_manifest(bundle, lambda document: document.update(files=files))


def run_staged(bundle: Path, note: str) -> None:
    """Write a bundle anew in its own place, as a conversion does: the same files, and a note of its own in the manifest."""
    with staged_bundle(bundle) as staged:
        source = bundle if bundle.exists() else bundle.with_name("template")
        shutil.copytree(source, staged.folder, dirs_exist_ok=True)
        edit_manifest(staged.folder, lambda document: document.update(notes=[note]))
        staged.publish()


def notes_of(bundle: Path) -> str:
    (note,) = json.loads((bundle / "manifest.json").read_text())["notes"]
    return str(note)
