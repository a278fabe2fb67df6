"""MNN's converter in a child process: it ends with status 0 whatever happens, so that what it says and what it writes is read.

Its native module is called, not the command `mnnconvert`, nor `MNN.tools`: these install a package for their telemetry with pip,
in the environment that they run in, and report each conversion, with the machine's identity, over the network.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.mnn import FILE_NAME
from edgevit_deploy.outside.text import one_line
from edgevit_deploy.process.child import ChildFailure, how_it_ended, python, run_once
from edgevit_deploy.spec import Precision

CONVERTER = "_tools"
"""The native module."""

CHILD = f"import sys, {CONVERTER}; {CONVERTER}.mnnconvert(['MNNConvert', *sys.argv[1:]])"
CONVERT_TIMEOUT_S = 600.0
"""Converting takes a second; more than this is a hang."""

SUCCESS = "Converted Success!"
OBJECTIONS = ("error", "not support", "failed", "fatal", "invalid")
"""How it speaks of what it could not convert, in small letters."""

SOURCE_NAME, IDENTITY_NAME = "source.onnx", "identity.json"

ONES_OWN_CODE = "edgevit-deploy"
"""What the file says of who made it."""

STORAGE_FLAGS: dict[Precision, tuple[str, ...]] = {
    "fp32": (),
    "fp16": ("--fp16",),
    "w8": ("--weightQuantBits", "8", "--weightQuantAsymmetric", "0"),
}
EXACT_GELU = ("--useGeluApproximation", "0")
"""By default the converter writes GELU by a tanh, which is much further from the truth than float32 is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A network in a scratch folder: the file that is converted, and how the result is to be known, and rounded by ranges."""

    path: Path
    identity: Path


def write_source(content: bytes, folder: Path) -> Source:
    """Write the ONNX file that is to be converted.

    The converter would draw a name at random; this one is made of the file's bytes, so that a rebuild has it too.
    """
    path, identity = folder.absolute() / SOURCE_NAME, folder.absolute() / IDENTITY_NAME
    path.write_bytes(content)
    identity.write_text(json.dumps(identity_of(hashlib.sha256(content).digest())))
    return Source(path=path, identity=identity)


def identity_of(digest: bytes) -> dict[str, str]:
    """Return how the converter is told the name of its result, which is made of a digest."""
    return {"version": "0.0.0", "mnn_uuid": str(uuid.UUID(bytes=digest[:16], version=4))}


def convert(source: Source, folder: Path, *flags: str, code: str = CHILD) -> Path:
    """Convert a traced network, or a file of MNN's once more, into a folder, which is made, and return the file.

    Args:
        source: the network.
        folder: where to write; whatever else the converter writes goes there too.
        flags: of the converter, beyond those that every conversion has.
        code: what the child runs.

    Raises:
        ExportError: it crashed, hung, objected to something or wrote nothing; with its own words.
    """
    folder.mkdir()
    kind = "MNN" if source.path.name == FILE_NAME else "ONNX"
    own = ["-f", kind, "--modelFile", str(source.path), "--MNNModel", FILE_NAME, "--bizCode", ONES_OWN_CODE]
    # What is not said is the converter's choice, so only what it gets wrong is said.
    command = python(code, *own, "--compressionParamsFile", str(source.identity), *flags)
    try:
        ended = run_once(command, timeout_s=CONVERT_TIMEOUT_S, folder=folder)
    except ChildFailure as failure:
        raise ExportError(f"MNN's converter {failure}") from failure
    if ended.status < 0:
        raise ExportError(f"MNN's converter {how_it_ended(ended.status)}")
    said = (ended.stdout + b"\n" + ended.stderr).decode(errors="replace").splitlines()
    objections = [one_line(line.strip()) for line in said if any(word in line.lower() for word in OBJECTIONS)]
    if ended.status or objections or SUCCESS not in (line.strip() for line in said):
        words = objections[0] if objections else one_line(" ".join(said[-1:])) or "not a word"
        raise ExportError(f"MNN could not convert the model (status {ended.status}): {words}")
    path = folder / FILE_NAME
    if not path.is_file():
        raise ExportError(f"MNN's converter says {SUCCESS!r} and wrote nothing")
    return path
