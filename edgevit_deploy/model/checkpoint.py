"""Checkpoint files: whole weights under the reference keys or a refusal, nothing in between and nothing executed.

`read_checkpoint` opens PyTorch files (zip and legacy, `torch.load(weights_only=True)`) and safetensors, told apart by their
first bytes, unwraps what trainers put around weights, translates the dialect, infers the network, and accepts the tensors only
when they are exactly those of that network, finite and real. What a file leaves open is said in `Checkpoint.notes`.

A PyTorch zip is also checked against its CRC-32 sums, which `torch.load` does not do. The legacy format and safetensors have
no sums: there a changed byte inside a tensor shows only in `Checkpoint.sha256`.
"""

import hashlib
import pickle
import re
import shlex
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from warnings import catch_warnings

import numpy as np
import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dialects import Dialect, find_dialect, strip_prefixes
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.infer import Extras, infer, listed, refuse_incomplete
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import ModelSpec

WRAPPERS = ("state_dict_ema", "state_dict", "state", "model", "model_ema", "ema")
"""Entries that hold weights; where a file has several, the first of these is taken and the others are named in the notes.

It is the choice of the program that wrote the file: timm evaluates `state_dict_ema` when its saver wrote one
(timm/models/_helpers.py, load_state_dict); the published trainer evaluates `model`, not `model_ema` (saic-fi/edgevit
src/main.py, --eval). `state_dict` is also mmcv's and EasyCV's, `state` Birder's.
"""

AVERAGED = ("state_dict_ema", "model_ema", "ema")
STORED_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COUNTER = "num_batches_tracked"

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
RESAVE = (
    "import sys, torch; c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "torch.save(c.state_dict() if hasattr(c, 'state_dict') else "
    f"{{k: c[k] for k in {WRAPPERS} if k in c}}, sys.argv[2])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete set of weights and what is known about it.

    Attributes:
        spec: the network, its image size and preprocessing.
        state: reference key -> tensor: float32 (counters int64), contiguous, on the CPU, exactly the keys of
            `EdgeViT(spec).state_dict()`.
        dialect: whose key names the file uses (see `dialects`).
        sha256: of the file's bytes, in hex.
        labels: class names in class order; None when the file has none.
        notes: what was chosen, converted or assumed.
        file: the file's name, without its folder.
    """

    spec: ModelSpec
    state: dict[str, Tensor]
    dialect: str
    sha256: str
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    tensors: Mapping[str, Tensor]
    extras: Extras
    notes: tuple[str, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any known wrapper and dialect.

    Raises:
        UsageError: missing, empty, damaged or foreign file; Python objects in it; tensors that are missing, unexpected, of
            another shape, quantised, complex or not finite; contradictory statements. One line that begins with the path.
    """
    try:
        return _read(path)
    except UsageError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


def load_network(checkpoint: Checkpoint) -> EdgeViT:
    """Return the network with these weights, in evaluation mode, without gradients; it shares no memory with `checkpoint`."""
    network = _empty_network(checkpoint.spec).to_empty(device="cpu")
    network.load_state_dict(checkpoint.state, strict=True)
    return network.eval().requires_grad_(False)


def reconcile(checkpoint: Checkpoint, *, model: str | None, num_classes: int | None) -> None:
    """Refuse a command line that contradicts the file; None means not said.

    Raises:
        UsageError: unknown model name, or another model or class count than the file's; both values are shown.
    """
    spec = checkpoint.spec
    if model is not None and model != spec.variant:
        asked, found = _structure(find_variant(model)), _structure(spec)
        raise UsageError(
            f"--model {model} ({asked}) but {checkpoint.file} holds {found}, which is {spec.variant}; "
            f"use --model {spec.variant}, or drop --model"
        )
    if num_classes is not None and num_classes != spec.num_classes:
        raise UsageError(
            f"--num-classes {num_classes} but the head of {checkpoint.file} has {spec.num_classes} classes; drop --num-classes"
        )


def _structure(spec: ModelSpec) -> str:
    return f"depths {','.join(map(str, spec.depths))} with channels {','.join(map(str, spec.channels))}"


def _read(path: Path) -> Checkpoint:
    sha256 = _hash(path)
    weights = _read_weights(path)
    dialect = find_dialect(weights.tensors)
    references = {key: dialect.to_reference(key) for key in weights.tensors}
    known = {reference: weights.tensors[key] for key, reference in references.items() if reference is not None}
    unknown = [key for key, reference in references.items() if reference is None]
    inference = infer(_shapes(known), dialect, weights.extras)
    state, state_notes = _complete_state(known, unknown, inference.spec, dialect)
    return Checkpoint(
        spec=inference.spec,
        state=state,
        dialect=dialect.name,
        sha256=sha256,
        labels=inference.labels,
        notes=(*weights.notes, *state_notes, *inference.notes),
        file=path.name,
    )


def _hash(path: Path) -> str:
    if not path.exists():
        raise UsageError("no such file; give a checkpoint (.pth, .pt, .bin or .safetensors)")
    if not path.is_file():
        raise UsageError("not a file; give a checkpoint (.pth, .pt, .bin or .safetensors)")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror}); check its permissions") from error


def _read_weights(path: Path) -> _Weights:
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise UsageError("the file is empty; copy or download it again")
    if start.startswith(ZIP_MAGIC):
        _check_zip(path)
    if start.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        return _unwrap(_load(path), path)
    if start[8:9] == b"{":
        return _load_safetensors(path)
    if start.startswith(b"\x80"):
        raise UsageError("a plain Python pickle; reading one executes code, so it was not read; save weights with torch.save")
    raise UsageError(f"neither a PyTorch checkpoint nor safetensors: it begins with {start!r}; copy or download it again")


@contextmanager
def _parsing(kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on arbitrary bytes (no list of exceptions is complete) into one refusal."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        reason = re.split(r"[.\n]\s", f"{type(error).__name__}: {error} ")[0].strip()
        raise UsageError(f"truncated or damaged {kind} ({reason}); copy or download it again") from error


def _check_zip(path: Path) -> None:
    with _parsing("zip archive"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        damaged = archive.testzip()
    if any(name.endswith("/constants.pkl") for name in names):
        raise UsageError("a TorchScript program, not a checkpoint; give the weights that it was made from")
    if not any(name.endswith("/data.pkl") for name in names):
        raise UsageError("a zip archive, but not one that torch.save wrote; give a checkpoint")
    if damaged is not None:
        raise UsageError(f"damaged: {damaged} in it does not match its CRC-32; copy or download it again")


def _load(path: Path) -> object:
    with _parsing("PyTorch file"), path.open("rb") as file, catch_warnings(action="ignore"):
        try:
            # Given the open file, since by a path torch.load would believe the suffix.
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            objects = re.search(r"GLOBAL (\S+)", str(error))
            if objects is None:
                raise
            target = path.with_name(f"{path.stem}.weights.pth")
            raise UsageError(
                f"holds Python objects ({objects[1]}) that need code to be executed, and none was; only if you made this file, "
                f'save its weights alone: python -c "{RESAVE}" {shlex.quote(str(path))} {shlex.quote(str(target))}'
            ) from error


def _load_safetensors(path: Path) -> _Weights:
    from safetensors import safe_open
    from safetensors.torch import load_file

    with _parsing("safetensors"):
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] | None = file.metadata()
        tensors = load_file(path)
    return _Weights(tensors=strip_prefixes(tensors), extras=metadata or {}, notes=())


def _unwrap(content: object, path: Path) -> _Weights:
    """Find the weights among the entries of a PyTorch file."""
    if not isinstance(content, Mapping):
        raise UsageError(f"holds a {type(content).__name__}, not a dictionary of weights; save model.state_dict()")
    holders = [name for name in WRAPPERS if _holds_tensors(content.get(name))]
    if not holders and not _holds_tensors(content):
        raise UsageError(f"holds no weights, only {listed(map(str, content))}; save model.state_dict()")
    weights = content[holders[0]] if holders else content
    others = [str(key) for key, value in weights.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise UsageError(f"has entries among its weights that are no tensors: {listed(others)}; save model.state_dict()")
    extras = content if holders else {}
    return _Weights(tensors=strip_prefixes(weights), extras=extras, notes=tuple(_choice_notes(holders, path)))


def _holds_tensors(entry: object) -> bool:
    return isinstance(entry, Mapping) and any(isinstance(value, Tensor) for value in entry.values())


def _choice_notes(holders: list[str], path: Path) -> Iterator[str]:
    if holders and holders[0] in AVERAGED:
        yield f"averaged (EMA) weights taken, from `{holders[0]}`"
    for name in holders[1:]:
        yield f"`{holders[0]}` taken; for `{name}` instead: torch.save(torch.load({path.name!r})[{name!r}], '{name}.pth')"


def _empty_network(spec: ModelSpec) -> EdgeViT:
    with torch.device("meta"):
        return EdgeViT(spec)


def _complete_state(
    known: Mapping[str, Tensor], unknown: list[str], spec: ModelSpec, dialect: Dialect
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the exact state of the network in float32, and notes about what was converted."""
    expected = _empty_network(spec).state_dict()
    refuse_incomplete(_shapes(known), _shapes(expected), unknown, dialect, COUNTER)
    state = {key: _converted(key, known.get(key), dialect) for key in expected}
    stored = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in known.values() if tensor.is_floating_point())
    notes = [f"{count} tensors stored as {dtype}, computed as float32" for dtype, count in stored.items() if dtype != "float32"]
    if len(known) < len(expected):
        notes.append(f"{len(expected) - len(known)} {COUNTER} missing, not used in inference: set to 0")
    return state, notes


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _converted(key: str, stored: Tensor | None, dialect: Dialect) -> Tensor:
    """Return a contiguous copy as float32, or int64 for a counter; refuse what has no exact meaning there."""
    if stored is None:
        return torch.zeros((), dtype=torch.int64)
    name = dialect.to_file(key)
    counter = key.endswith(COUNTER)
    if stored.is_quantized or stored.is_complex() or stored.layout != torch.strided or stored.is_meta:
        raise UsageError(f"{name} is stored as {stored.dtype} ({stored.layout}, {stored.device}); give unquantised real weights")
    if not counter and stored.dtype not in STORED_DTYPES:
        raise UsageError(f"{name} is stored as {stored.dtype}; expected float32, float64, float16 or bfloat16 weights")
    if stored.untyped_storage().nbytes() < stored.numel() * stored.element_size():
        raise UsageError(f"{name} claims {stored.numel()} values but the file holds fewer; copy or download it again")
    dtype = torch.int64 if counter else torch.float32
    tensor = stored.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)
    bad = tensor.numel() - np.count_nonzero(np.isfinite(tensor.numpy()))
    if bad:
        raise UsageError(f"{name} holds {bad} NaN or infinite values; the file is damaged or the training diverged")
    return tensor
