"""What a file computes, as a hash: the same for a copy of a bundle, another one after anything that changes outputs."""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from functools import cache

from edgevit_deploy.bundle.folder import EVALUATION_NAME
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import VERSION, task_of
from edgevit_deploy.workbench import Host

Tools = tuple[tuple[str, str], ...]
"""Names and versions of distributions, sorted."""

PICTURES_THROUGH = ("numpy", "PIL")
"""Import names of what every picture goes through before any network sees it."""


def digest_of(facts: object) -> str:
    """Return a SHA-256 in hex of anything that has a JSON form."""
    return hashlib.sha256(json_bytes(facts)).hexdigest()


def identity_of(manifest: Manifest) -> str:
    """Return a hash of a bundle's files, of how they are run and of what they are given, the same on every host.

    A recorded evaluation is not part of it, so recording one does not make another file.
    """
    files = [record for record in manifest.files if record.path != EVALUATION_NAME]
    return digest_of([files, manifest.target, manifest.conversion, manifest.preprocess])


def question_of(manifest: Manifest) -> tuple[object, ...]:
    """Return what files must share so that their latencies and sizes answer one question, whatever their precision and graph.

    That is the target, the network, and what was asked of the file: batch, image size, input, preprocessing and task.
    """
    conversion = manifest.conversion
    asked = conversion.batch, conversion.image_size, conversion.takes, task_of(conversion.returns)
    return manifest.target, manifest.model, manifest.preprocess, asked


def weights_identity(record: ModelRecord) -> str:
    """Return a hash of a network's weights."""
    return digest_of([record.variant, record.weights_sha256])


def runtime_tools(target: str, host: Host) -> Tools:
    """Return what decides the outputs of a target's files on this host, the runtime too where there is one."""
    session_type = host.find_session(target)
    return tools_with(session_type.packages if session_type else ())


def tools_with(packages: Iterable[str]) -> Tools:
    """Return what decides outputs: this program, what decodes and prepares pictures, and some packages, by their import names."""
    return tuple(sorted({"edgevit-deploy": VERSION, **versions([*PICTURES_THROUGH, *packages])}.items()))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of what each package came with, whatever the distribution is called (`PIL` is in pillow).

    Args:
        packages: import names; one that no distribution tells of is left out.
    """
    names = (name for package in packages for name in _distributions().get(package, ()))
    return {name: importlib.metadata.version(name) for name in names}


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
