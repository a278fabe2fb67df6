"""`manifest.json`: what a bundle is, what went into it and what was proven about it (schema version 2; 1 is still read)."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from edgevit_deploy.bundle.claims import objections
from edgevit_deploy.bundle.schema_1 import from_schema_1
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.outside.text import is_too_deep, json_bytes
from edgevit_deploy.parity.bounds import Tolerance
from edgevit_deploy.parity.decisions import Decisions
from edgevit_deploy.parity.gate import ParityReport
from edgevit_deploy.spec import Graph, InputKind, OutputKind, Placement, Precision, Preprocess, Size, TensorSpec
from edgevit_deploy.spec.description import Described
from edgevit_deploy.spec.detection import Decoding

ARITHMETIC_ONLY = "passed (arithmetic), decisions not judged"
"""The verdict on a quantised file that computes what it should, where nobody asked whether that still decides as the network."""

ARITHMETIC_SAMPLED = "passed (arithmetic), decisions judged on a sample"
"""The same where only an evaluation could run it, on so few pictures that they neither show the bound nor rule it out."""

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of the bundle: its path inside (POSIX), sha256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsRecord:
    """Where the class names are, and whether they are real names or placeholders (`class 0`, ...)."""

    path: str
    count: int
    placeholders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenArray:
    """One array of the golden data: the input or output that it is for, its file and its shape (n, ...)."""

    name: str
    path: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRecord:
    """Raw little-endian arrays in C order, for an app to replay.

    Inputs are of the type that the file takes; outputs are the float64 truth, rounded to float32.
    """

    input: GoldenArray
    outputs: tuple[GoldenArray, ...]
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesRecord:
    """On what error and noise were measured at the model's own size, and so what the bound covers.

    Attributes:
        synthetic: seeded kinds of input.
        photographs: pictures of `--images`.
        noisiest: pictures near those, on which PyTorch's own float32 error was the largest that a search found; none for files of
            16 bits.
    """

    synthetic: int
    photographs: int
    noisiest: int

    def sentence(self) -> str:
        """Say what the bound covers."""
        yours = f"{self.photographs} pictures of --images" if self.photographs else "no pictures of --images"
        if not self.noisiest:
            return f"It covers {self.synthetic} synthetic probes and {yours}."
        return (
            f"It covers {self.synthetic} synthetic probes, {yours}, and the {self.noisiest} pictures near them on which "
            "PyTorch's own float32 error is the largest that was found."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRecord:
    """What was asked of every target alike.

    Attributes:
        batch: images a run, or `dynamic`.
        image_size: (height, width) in pixels, or `dynamic`.
        takes: what the input holds (`spec.INPUTS`): normalised values, or a picture from 0 to 255, as floats or as bytes.
        returns: what the outputs hold.
        graph: which graph was written.
        form: part -> choice of the deploy graph; None for the original.
    """

    batch: int | Literal["dynamic"]
    image_size: Size | Literal["dynamic"]
    takes: InputKind
    returns: OutputKind
    graph: Graph
    form: dict[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltFromRecord:
    """The file that the model was built from, kept because it can be verified where the built one cannot run."""

    target: str
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationRecord:
    """How the model was rounded to eight bits.

    Attributes:
        scheme: what was rounded, and how.
        calibration: the file with the ranges of the activations; None where none are rounded by ranges.
        sqnr_db: each operator that is rounded -> signal to quantisation-noise ratio of the outputs where it alone is, on a few
            drawn pictures.
    """

    scheme: Scheme
    calibration: str | None
    sqnr_db: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole file; field names are the JSON's. `options` are the target's own, `facts` are for people to read.

    `probes` is not in bundles of earlier versions. `quantisation` is there where the precision is quantised, `decisions` where
    the file was judged by them too, `described` (what the file was found to say of itself) where its format has a place for it,
    `decoding` where the file detects.
    """

    schema_version: int
    target: str
    precision: Precision
    path: str
    files: tuple[FileRecord, ...]
    model: ModelRecord
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    labels: LabelsRecord
    golden: GoldenRecord
    conversion: ConversionRecord
    options: dict[str, Any]
    tools: dict[str, str]
    parity: ParityReport
    operators: dict[str, int]
    placements: dict[str, Placement]
    facts: dict[str, Any]
    notes: tuple[str, ...]
    built_from: BuiltFromRecord | None
    probes: ProbesRecord | None = None
    quantisation: QuantisationRecord | None = None
    decisions: Decisions | None = None
    described: Described | None = None
    decoding: Decoding | None = None

    @property
    def failure(self) -> str:
        """What speaks against the file, in words; empty where nothing does."""
        if self.parity.verdict == "failed":
            return "failed parity when it was made"
        return "decided unlike its network when it was made" if self.decisions is not None and self.decisions.failed else ""

    @property
    def verdict(self) -> str:
        """What was proven of the file, in words; failed where the comparisons or the decisions do not bear it out."""
        if self.failure:
            return "failed"
        if self.parity.verdict == "passed" and self.quantisation is not None:
            if self.decisions is None:
                return ARITHMETIC_ONLY
            return "passed" if self.decisions.ok else ARITHMETIC_SAMPLED
        return self.parity.verdict

    @property
    def model_bytes(self) -> int:
        """The size of the model file, or of all files of a model that is a folder."""
        return sum(file.bytes for file in self.files if file.path == self.path or file.path.startswith(f"{self.path}/"))

    @property
    def bound_on_pictures(self) -> Tolerance | None:
        """The bound for other pictures than the probes, of the model's own size; None where nothing was run."""
        worst = self.parity.worst
        return self.parity.widest(worst.output, self.model.image_size) if worst else None


def manifest_bytes(manifest: Manifest) -> bytes:
    """Serialise: two-space indent, keys in the order of the dataclasses, final newline."""
    return json_bytes(manifest)


def read_manifest(bundle: Path) -> Manifest:
    """Read and validate a bundle's manifest; nothing else is touched.

    Raises:
        UsageError: no bundle, an unknown schema version, a field of the wrong type, a path that leaves the bundle, or a size
            or number that no bundle has.
    """
    path = bundle / MANIFEST_NAME
    try:
        data = read_bounded(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        raise UsageError(f"{bundle}: no bundle ({MANIFEST_NAME} cannot be read: {error.strerror})") from error
    return parse_manifest(data, path)


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Validate the bytes of a manifest.

    Args:
        data: from outside.
        path: what errors call it.

    Raises:
        UsageError: as for `read_manifest`.
    """
    document = _document(path, data)
    if is_too_deep(document):
        raise UsageError(f"{path}: not a valid manifest (it is too deep to be written again); convert again")
    try:
        manifest = msgspec.convert(document, type=Manifest)
    except (msgspec.ValidationError, UsageError) as error:  # of a wrong type, or values that a type does not have together
        raise UsageError(f"{path}: not a valid manifest ({error}); convert again") from error
    for inside in _paths(manifest):
        check_inside(inside, path)
    if objection := next(objections(manifest), None):
        raise UsageError(f"{path}: not a valid manifest ({objection}); convert again")
    return manifest


def check_inside(inside: str, where: Path) -> None:
    """Refuse a path that is absolute, climbs out, or is not in plain POSIX form.

    Raises:
        UsageError: naming the path.
    """
    parts = PurePosixPath(inside).parts
    plain = PurePosixPath(inside).as_posix() == inside and "\0" not in inside and "\\" not in inside
    if not parts or not plain or inside.startswith("/") or ":" in parts[0] or ".." in parts:
        raise UsageError(f"{where}: the path {inside!r} leaves the bundle; do not use this bundle")


def _document(path: Path, data: bytes) -> dict[str, Any]:
    """Return the JSON of a manifest as one of the present schema."""
    try:
        document = msgspec.json.decode(data)
        version = document["schema_version"]
    except (msgspec.DecodeError, UnicodeError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a bundle manifest (no schema_version in it)") from error
    if version == SCHEMA_VERSION:
        return document  # type: ignore[no-any-return]
    if version != 1:
        raise UsageError(
            f"{path}: schema_version {version!r} is unknown, this edgevit-deploy reads 1 to {SCHEMA_VERSION}; "
            "upgrade edgevit-deploy or convert again"
        )
    try:
        return from_schema_1(document)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UsageError(f"{path}: not a valid manifest of schema 1 ({type(error).__name__}: {error}); convert again") from error


def _paths(manifest: Manifest) -> list[str]:
    built_from = [manifest.built_from.path] if manifest.built_from else []
    golden = [array.path for array in (manifest.golden.input, *manifest.golden.outputs)]
    ranges = [manifest.quantisation.calibration] if manifest.quantisation and manifest.quantisation.calibration else []
    return [manifest.path, manifest.labels.path, *golden, *built_from, *ranges, *(record.path for record in manifest.files)]
