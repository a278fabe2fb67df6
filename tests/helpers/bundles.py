"""Changes to a bundle that lies on disk."""

import json
from collections.abc import Callable
from pathlib import Path


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
