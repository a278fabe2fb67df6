"""Core ML packages as files: where their parts lie and what is refused in them; and coremltools without its chatter."""

import importlib
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.spec import InputKind, Preprocess
from edgevit_deploy.spec.description import Description, normalisation_of

MODEL_PATH = "com.apple.CoreML/model.mlmodel"
WEIGHTS_PATH = "com.apple.CoreML/weights"
DATA_FOLDER = "Data"
PACKAGE_MANIFEST = "Manifest.json"
PREPROCESS = "edgevit_deploy.preprocess"
"""Under which a package's description has the preprocessing, as the manifest of a bundle has it."""

MAX_PROGRAM_BYTES, MAX_TEXT_BYTES = 2**26, 2**16
"""Of a program without its weights, and of a text in JSON: ours have 0.3 MB, and as much again for 10 000 labels, and 1 kB."""

HARMLESS = re.compile(
    r"Failed to load (_ML\w+|\S*torchao\S*)|is an Enum subclass and is now natively supported"
    r"|has not been tested with coremltools|Disabling .* conversion API"
)
"""coremltools says these on every import: Core ML's own libraries exist on macOS only, torchao's kernels (which it imports, where
LiteRT's converter has installed it) on GPUs only, and newer versions of libraries than it was tested with are guarded by our
pinned ranges and by the parity check of every written file."""

IDLE = ("executorch", "libsvm", "sklearn", "tensorflow", "torchao", "transformers", "xgboost")
"""coremltools imports these, where they are installed, for conversions that are not ours; that is half of the time it takes."""

DEQUANTISED = ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense")
"""Operators whose result is a constant that is stored in eight bits."""

LOADER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What coremltools' loader, and PyTorch on what it has loaded, raise on a program that they cannot follow."""

BLOB_NAME = re.compile(r"@model_path/weights/[\w-]+\.bin")


def import_coremltools() -> Any:
    """Import coremltools, keeping only the log lines that tell a user something."""
    for library in ("coremltools", "torchao", "torch.utils._pytree"):
        logging.getLogger(library).addFilter(_is_news)
    with _as_if_missing(IDLE):
        return importlib.import_module("coremltools")


@contextmanager
def _as_if_missing(names: Iterable[str]) -> Iterator[None]:
    """Let imports of these fail, unless they were imported before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None stands for what is not there
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _is_news(record: logging.LogRecord) -> bool:
    return HARMLESS.search(record.getMessage()) is None


def read_package(package: Path) -> Any:
    """Read the specification of an ML Program package, with distrust: nothing outside the package is touched.

    Args:
        package: the .mlpackage folder.

    Returns:
        The `coremltools.proto.Model_pb2.Model`; its weights stay on disk.

    Raises:
        RunError: not such a package, damaged, or something in it points outside.
    """
    import_coremltools()
    from coremltools.proto.Model_pb2 import Model
    from google.protobuf.message import DecodeError

    _check_files(package)
    try:
        spec = Model.FromString(read_bounded(package / DATA_FOLDER / MODEL_PATH, MAX_PROGRAM_BYTES))
    except (OSError, DecodeError) as error:
        raise RunError(f"{package.name}: {MODEL_PATH} cannot be read ({error}); convert again") from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise RunError(f"{package.name}: holds {spec.WhichOneof('Type') or 'no model'}, expected an ML Program; convert again")
    for blob in _messages(spec.mlProgram, "BlobFileValue"):
        _check_blob(package, blob.fileName, blob.offset)
    return spec


def load_main(spec: Any, package: Path) -> Any:
    """Return the function `main` of a package as coremltools' MIL, its weights included.

    coremltools infers every type and shape again, and refuses a program that contradicts itself by an error of its own.

    Args:
        spec: what `read_package` returned.
        package: the .mlpackage folder.
    """
    from coremltools.converters.mil.frontend.milproto.load import load

    return load(spec, spec.specificationVersion, str(package / DATA_FOLDER / WEIGHTS_PATH)).functions["main"]


def producer(var: Any) -> str:
    """Return the type of the operator that a value of a loaded program comes from; of an input, nothing."""
    return "" if var.op is None else str(var.op.op_type)


def stored_in(package: Path) -> Stored:
    """Read by what a written package rounds: grids of activations, and weights in eight bits in the order (out, n).

    Raises:
        RunError: it cannot be read, or rounds in a way that is never written here.
    """
    spec = read_package(package)
    try:
        operations = load_main(spec, package).operations
        return Stored(
            activations=tuple(_grid(operation) for operation in operations if operation.op_type in ("quantize", "dequantize")),
            weights=tuple(_weights(operation) for operation in operations if operation.op_type in DEQUANTISED),
        )
    except LOADER_ERRORS as error:
        raise RunError(f"{package.name}: what it rounds by cannot be read ({first_line(error)}); convert again") from error


def _grid(operation: Any) -> tuple[float, int]:
    zero_point = operation.inputs.get("zero_point")
    return float(operation.inputs["scale"].val), 0 if zero_point is None else int(zero_point.val)


def _weights(operation: Any) -> StoredWeights:
    values = {name: np.asarray(var.val) for name, var in operation.inputs.items() if var is not None}
    if operation.op_type == "constexpr_lut_to_dense":
        places = values["indices"].reshape(values.get("shape", values["indices"].shape))
        scales, integers = values["lut"], places.astype(np.int16) - 128
    else:
        scales, integers = values["scale"], values["data" if "data" in values else "quantized_data"]
        if np.any(values.get("zero_point", values.get("offset", 0))):
            raise ValueError(f"{operation.name} has a zero point")
    return StoredWeights(scales=scales.astype(np.float32).flatten(), values=integers.astype(np.int8).reshape(len(integers), -1))


def main_operations(spec: Any) -> list[Any]:
    """Return the operations of a package's only function, in order.

    Raises:
        RunError: it has another function, or none for its own operator set.
    """
    functions = spec.mlProgram.functions
    if set(functions) != {"main"} or functions["main"].opset not in functions["main"].block_specializations:
        raise RunError(f"the program has the functions {sorted(functions)}, expected one, main, for its own operator set")
    function = functions["main"]
    return list(function.block_specializations[function.opset].operations)


def class_labels(spec: Any) -> tuple[str, ...]:
    """Return a classifier's labels in the order of its probabilities; empty when the package is no classifier.

    Raises:
        RunError: it is a classifier whose labels are not one plain list.
    """
    classifiers = [operation for operation in main_operations(spec) if operation.type == "classify"]
    if not classifiers:
        return ()
    try:
        (classifier,) = classifiers
        (classes,) = classifier.inputs["classes"].arguments
        return tuple(_text(label) for label in classes.value.immediateValue.list.values)
    except ValueError as error:
        raise RunError("the classifier's labels are not in the program, or not once; convert again") from error


def _text(label: Any) -> str:
    """Return the only text of a label."""
    (text,) = label.immediateValue.tensor.strings.values
    return str(text)


def read_description(package: Path) -> Description:
    """Return the labels of a classifier, and by what pixels are normalised, as a package's description says it.

    Raises:
        RunError: it cannot be read.
    """
    spec = read_package(package)
    said = spec.description.metadata.userDefined.get(PREPROCESS)
    takes: InputKind = "image" if any(end.type.HasField("imageType") for end in spec.description.input) else "tensor"
    try:
        normalisation = None if said is None else normalisation_of(msgspec.convert(_parse(said), type=Preprocess), takes)
        return Description(labels=class_labels(spec), normalisation=normalisation)
    except (msgspec.MsgspecError, ArithmeticError, ValueError, RecursionError) as error:
        raise RunError(f"{package.name}: its own preprocessing cannot be read ({first_line(error)}); convert again") from error


def _parse(text: str | bytes) -> Any:
    """Parse a text in JSON.

    Raises:
        ValueError: it is none, is longer than any of ours, or has a name twice, of which a reader may take either.
        RecursionError: it is too deep.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"{len(text)} bytes")
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name is there twice")
    return named


def _check_files(package: Path) -> None:
    if not package.is_dir():
        raise RunError(f"{package.name}: not a folder, so no Core ML package; expected an .mlpackage")
    for path in package.rglob("*"):
        if path.is_symlink():
            raise RunError(f"{package.name}: {path.name} is a link, which could lead outside; do not use this package")
    try:
        manifest = _parse(read_bounded(package / PACKAGE_MANIFEST, MAX_TEXT_BYTES))
        paths = {key: str(item["path"]) for key, item in manifest["itemInfoEntries"].items()}
        root = paths[manifest["rootModelIdentifier"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{package.name}: {PACKAGE_MANIFEST} is missing or damaged ({error}); convert again") from error
    if root != MODEL_PATH or not set(paths.values()) <= {MODEL_PATH, WEIGHTS_PATH}:
        raise RunError(f"{package.name}: {PACKAGE_MANIFEST} names {sorted(paths.values())}, expected {MODEL_PATH}")


def _check_blob(package: Path, name: str, offset: int) -> None:
    path = package / DATA_FOLDER / WEIGHTS_PATH / Path(name).name
    if not BLOB_NAME.fullmatch(name):
        raise RunError(f"{package.name}: refers to weights in {name!r}, outside its weights folder; do not use this package")
    if not path.is_file() or offset >= path.stat().st_size:
        raise RunError(f"{package.name}: {path.name} is missing or ends before byte {offset}; convert again")


def _messages(message: Any, name: str) -> Iterator[Any]:
    """Yield every protobuf message of that name inside a message, at any depth."""
    if message.DESCRIPTOR.name == name:
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            children = [entry for entry in value.values() if hasattr(entry, "ListFields")]
        else:
            children = [value] if hasattr(value, "ListFields") else value
        for child in children:
            yield from _messages(child, name)
