"""`convert.py doctor`: what works on this host, and the command that enables each other thing."""

import importlib.metadata
import platform
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy import __version__
from edgevit_deploy.commands.console import print_json, print_table, say, status
from edgevit_deploy.host import RUNTIMES, TARGETS
from edgevit_deploy.registry import Availability, Line

PACKAGES = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "onnxscript",
    "coremltools",
    "ncnn",
    "pnnx",
    "litert-torch",
    "ai-edge-litert",
    "executorch",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "numpy",
    "timm",
)


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Say which targets can be built and which runtimes can run here, with versions and the fix for each gap.

    Args:
        json: Print one JSON document on stdout and nothing else there.
    """
    targets = {name: _probe(line) for name, line in TARGETS.items()}
    runtimes = {name: _probe(line) for name, line in RUNTIMES.items()}
    versions = {name: _version(name) for name in PACKAGES}
    host = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, edgevit-deploy {__version__}"
    say(host)
    print_table("targets that can be built", ("target", "works", "found", "to enable it"), _rows(targets))
    print_table("runtimes that can run files", ("runtime", "works", "found", "to enable it"), _rows(runtimes))
    print_table("packages", ("package", "version"), [[name, version or "-"] for name, version in versions.items()])
    if json:
        print_json({"host": host, "targets": targets, "runtimes": runtimes, "packages": versions})
    return 0


def _probe(line: Line[Any]) -> Availability:
    return line.load().probe()  # type: ignore[no-any-return]


def _rows(found: dict[str, Availability]) -> list[list[str | Text]]:
    return [[name, status("yes" if a.ok else "no"), a.detail, "" if a.ok else a.fix] for name, a in found.items()]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
