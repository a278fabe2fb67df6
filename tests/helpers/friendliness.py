"""`friendliness` on the command line, with a small network, and what it saved."""

import json
from pathlib import Path
from typing import Any

from edgevit_deploy.cli import run

SMALL = {"--model": "edgevit_xxs", "--image-size": "64", "--num-classes": "10", "--peer": "none"}


def command(tmp_path: Path, **changes: str) -> list[str]:
    flags = {**SMALL, "--targets": "fake", "--output": str(tmp_path / "out")}
    flags |= {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["friendliness", *(token for pair in flags.items() for token in pair)]


def examined(tmp_path: Path, **changes: str) -> dict[str, Any]:
    assert run(command(tmp_path, **changes)) == 0
    return json.loads((tmp_path / "out" / "friendliness.json").read_text())  # type: ignore[no-any-return]


def verdicts(document: dict[str, Any], graph: str) -> dict[str, str]:
    (target,) = document["targets"]
    return {result["part"]: result["verdict"] for result in target["parts"][graph]}
