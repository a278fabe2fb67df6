"""Core AI assets as files: which files they have, what is refused in them, and their program as plain values.

An `.aimodel` is a folder: the program with its weights as MLIR bytecode, the SHA-256 of that file, and metadata. All of it is
checked here before a library in native code reads it: names, kinds and sizes of the files, the hash, and the metadata.
"""

import hashlib
import importlib
import json
import platform
import warnings
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.coreai.program import Program as Program
from edgevit_deploy.formats.coreai.program import read_program
from edgevit_deploy.outside.files import is_regular, read_bounded
from edgevit_deploy.registry import Availability, requires

PROGRAM, HASH, METADATA = "main.mlirb", "main.hash", "metadata.json"
FILES = (PROGRAM, HASH, METADATA)

MAX_PROGRAM_BYTES, MAX_METADATA_BYTES = 2**30, 2**20
"""Ours have 16 to 50 MB, and 1 kB, or 200 kB with 10 000 labels."""

HASH_BYTES = 32
ASSET_VERSION = "2.0"

LOADER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What the library raises on a program that it cannot read; MLIR's own errors are RuntimeErrors or ValueErrors."""


OLDEST_GLIBC, OLDEST_MACOS = (2, 34), (26,)
"""For which the library has wheels: Linux on x86-64, and Macs with Apple's processors."""


def available(*packages: str, extra: str | None) -> Availability:
    """Say whether parts of Core AI's library are there; where it has no wheel for this machine, no command installs them."""
    found = requires(*packages, extra=extra)
    if found.ok or has_wheel():
        return found
    return Availability(
        ok=False,
        detail=f"Core AI's library has no wheel for this machine ({platform.system()} {platform.machine()})",
        fix="use Linux on x86-64 with glibc 2.34 or later, or a Mac with Apple's processor and macOS 26 or later",
    )


def has_wheel() -> bool:
    """Say whether the library has a wheel for this machine."""
    kind = (platform.system(), platform.machine())
    if kind == ("Linux", "x86_64"):
        library, version = platform.libc_ver()
        return library == "glibc" and _release(version) >= OLDEST_GLIBC
    return kind == ("Darwin", "arm64") and _release(platform.mac_ver()[0]) >= OLDEST_MACOS


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def import_coreai() -> Any:
    """Import the part of Core AI's library that writes and reads assets."""
    return importlib.import_module("coreai.authoring")


def import_coreai_torch() -> Any:
    """Import the converter, without its complaint that a build for the CPU (2.13.0+cpu) is later than that release."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="coreai-torch has only been validated", category=UserWarning)
        importlib.import_module("coreai_torch._compression.custom_layers")  # the operators that round, as `torch.ops.coreai`
        return importlib.import_module("coreai_torch")


def check_asset(asset: Path) -> dict[str, Any]:
    """Check the files of an asset, with distrust, and return its metadata.

    Raises:
        RunError: not such a folder, something else in it, too large, or the program is not the one that was hashed.
    """
    if not asset.is_dir() or asset.is_symlink():
        raise RunError(f"{asset.name}: not a folder, so no Core AI asset; expected an .aimodel")
    found = sorted(path.name for path in asset.iterdir())
    if found != sorted(FILES):
        raise RunError(f"{asset.name}: holds {', '.join(found[:6]) or 'nothing'}, expected {', '.join(FILES)}; convert again")
    for name in FILES:
        if (asset / name).is_symlink() or not is_regular(asset / name):
            raise RunError(f"{asset.name}: {name} is no plain file; do not use this asset")
    try:
        written = read_bounded(asset / HASH, HASH_BYTES)
        computed = hashlib.sha256(read_bounded(asset / PROGRAM, MAX_PROGRAM_BYTES)).digest()
        metadata = _parse(read_bounded(asset / METADATA, MAX_METADATA_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{asset.name}: cannot be read ({first_line(error)}); convert again") from error
    if written != computed:
        raise RunError(f"{asset.name}: {PROGRAM} is not the file whose hash is in {HASH}; convert again")
    if metadata.get("assetVersion") != ASSET_VERSION:
        raise RunError(f"{asset.name}: asset version {metadata.get('assetVersion')!r}, expected {ASSET_VERSION!r}; convert again")
    return metadata


def load_module(asset: Path) -> Any:
    """Return the module of an asset that `check_asset` accepts, as MLIR of Core AI's own library.

    Raises:
        RunError: it cannot be read.
    """
    check_asset(asset)
    coreai = import_coreai()
    try:
        return coreai.AIModelAsset.load(asset).program._module._mlir_module
    except LOADER_ERRORS as error:
        raise RunError(f"{asset.name}: Core AI's library cannot read the program ({first_line(error)}); convert again") from error


def load_program(asset: Path) -> Program:
    """Return the program of an asset as plain values.

    Raises:
        RunError: it cannot be read, or has something that ours never have.
    """
    module = load_module(asset)
    try:
        return read_program(module)
    except RunError as error:
        raise RunError(f"{asset.name}: {error}") from error
    except LOADER_ERRORS as error:
        raise RunError(f"{asset.name}: the program cannot be read ({first_line(error)}); convert again") from error


def _parse(text: bytes) -> dict[str, Any]:
    """Parse metadata.

    Raises:
        ValueError: no JSON, no table, or a name is there twice, of which a reader may take either.
    """
    table = json.loads(text, object_pairs_hook=_once)
    if not isinstance(table, dict):
        raise ValueError(f"{METADATA} is no table")
    return table


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name is there twice")
    return named
