"""Checkpoint files: whole weights under the reference keys or a refusal, nothing in between and nothing executed.

`read_checkpoint` reads the container (`containers`), finds the weights in it and what their names mean (`weights`, `dialects`),
infers the network (`infer`), and accepts the tensors only when they are exactly those of that network, finite and real. What a
file leaves open, and what was chosen, converted or ignored, is said in notes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model import dense
from edgevit_deploy.model.containers import read_contents
from edgevit_deploy.model.dense import Backbone, Network, with_head
from edgevit_deploy.model.dense.reading import HeadWeights, expected_shapes, find_head, refuse_incomplete_head
from edgevit_deploy.model.dialects import SAIC, without_wrappers
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.infer import infer, listed, refuse_incomplete
from edgevit_deploy.model.preprocessing import Told, settle
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.model.weights import Weights, find_weights, refuse_twice
from edgevit_deploy.spec import ModelSpec, Task

STORED_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COUNTER = "num_batches_tracked"
CLASSIFIER = ("norm.", "head.")
ENCODER, HEAD = "encoder.", "head."
"""Before the keys of the two parts of a network for dense prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete set of weights and what is known about it.

    Attributes:
        spec: the network, its image size and preprocessing, as its file tells or as is assumed.
        told: what of size and preprocessing the file tells.
        state: reference key -> tensor: float32 (counters int64), contiguous, on the CPU, exactly the keys of
            `EdgeViT(spec).state_dict()`; of a network for dense prediction, of its own.
        dialect: whose key names the file uses (see `dialects`).
        sha256: of the file's bytes, in hex.
        labels: class names in class order; None when the file has none.
        reading_notes: what was chosen, converted or ignored.
        file: the file's name, without its folder.
        alike: the variants that have the very same tensors, where the file does not say which of them it holds; `spec` is of one.
    """

    spec: ModelSpec
    told: Told
    state: dict[str, Tensor]
    dialect: str
    sha256: str
    labels: tuple[str, ...] | None
    reading_notes: tuple[str, ...]
    file: str
    alike: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known of it where a user says nothing about size and preprocessing."""
        return (*self.reading_notes, *settle(self.spec, self.told, None, None)[1])

    @property
    def open_notes(self) -> tuple[str, ...]:
        """What must be known of it where a user does not name the model: as which of those alike it is read."""
        others = ", ".join(name for name in self.alike if name != self.spec.variant)
        return (f"read as {self.spec.variant}; {others} have the same tensors: to say otherwise: --model",) if others else ()


def read_checkpoint(path: Path, task: Task = "classify") -> Checkpoint:
    """Read a checkpoint of any known wrapper and dialect.

    Args:
        path: of the file.
        task: what the network is wanted for, where the file has a classifier and a head for dense prediction.

    Raises:
        UsageError: missing, empty, damaged or foreign file; tensors that are missing, unexpected, of another shape, quantised,
            complex or not finite; contradictory statements. One line that begins with the path.
    """
    try:
        return _read(path, task)
    except UsageError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


def load_network(checkpoint: Checkpoint) -> Network:
    """Return the network with these weights, in evaluation mode, without gradients; it shares no memory with `checkpoint`."""
    network = _empty_network(checkpoint.spec).to_empty(device="cpu")
    network.load_state_dict(checkpoint.state, strict=True)
    return network.eval().requires_grad_(False)


def reconcile(checkpoint: Checkpoint, *, model: str | None, num_classes: int | None, task: Task = "classify") -> Checkpoint:
    """Refuse a command line that contradicts the file, and let it choose what the file leaves open; None means not said.

    Raises:
        UsageError: unknown model name, or another model, task or class count than the file's; both values are shown.
    """
    if model is not None and model in checkpoint.alike:
        checkpoint = replace(
            checkpoint,
            spec=replace(checkpoint.spec, variant=model, block=find_variant(model).block),
            alike=(),
        )
    spec = checkpoint.spec
    if not spec.can(task):
        raise UsageError(_another_task(checkpoint, task))
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
    return checkpoint


def _another_task(checkpoint: Checkpoint, task: Task) -> str:
    if checkpoint.spec.head is not None:
        return (
            f"{checkpoint.file} holds a network for --task {checkpoint.spec.task}, not {task}; use --task {checkpoint.spec.task}"
        )
    one = f"train one (`train --task {task} --finetune {checkpoint.file}`)"
    if task == "detect":
        one = "give a RetinaNet of torchvision or mmdetection"
    return f"{checkpoint.file} holds a classifier, without a head for --task {task}; {one}, or drop --weights for random ones"


def _structure(spec: ModelSpec) -> str:
    block = "".join(f", {word}" for word in spec.block.words())
    return f"depths {','.join(map(str, spec.depths))} with channels {','.join(map(str, spec.channels))}{block}"


def _read(path: Path, task: Task) -> Checkpoint:
    contents = read_contents(path)
    weights = find_weights(contents, path.name)
    classifies = "head.weight" in weights.known and task in ("classify", "features")
    found = None if classifies else find_head(weights.others, weights.dialect.place)
    weights = weights if found is None else _without_classifier(weights, found)
    inference = infer(_shapes(weights.known), weights.dialect, weights.extras, found.num_classes if found else None)
    spec = inference.spec
    if found is not None:
        spec = with_head(spec, found.head, inference.told.fields)
    state, state_notes = _complete_state(weights, spec, found)
    return Checkpoint(
        spec=spec,
        told=inference.told,
        state=state,
        dialect=weights.dialect.name,
        sha256=contents.sha256,
        labels=inference.labels,
        reading_notes=(*weights.notes, *state_notes, *inference.notes),
        file=path.name,
        alike=inference.alike,
    )


def _without_classifier(weights: Weights, found: HeadWeights) -> Weights:
    """Return the weights of a backbone alone, with notes about what else there is.

    Raises:
        UsageError: a tensor of the head is there twice.
    """
    mine = set(found.names.values())
    refuse_twice(sorted(mine & weights.twice))
    known = {key: tensor for key, tensor in weights.known.items() if not key.startswith(CLASSIFIER)}
    dialect = weights.dialect if found.dialect is None else replace(weights.dialect, name=found.dialect, norm_eps=SAIC.norm_eps)
    unknown = tuple(key for key in weights.unknown if without_wrappers(key) not in mine)
    beside = [key for key in weights.others if key not in mine and key not in map(without_wrappers, unknown)]
    notes = [f"a {found.head.kind} head for {found.num_classes} classes", *found.notes]
    if len(known) < len(weights.known):
        notes.append("the norm behind the last stage is not used: the head stands on the stage itself")
    if beside:
        notes.append(f"{len(beside)} entries beside the network ignored: {listed(beside)}")
    said = (note for note in weights.notes if note not in weights.ignored)
    return replace(weights, known=known, unknown=unknown, dialect=dialect, notes=(*said, *notes))


def _empty_network(spec: ModelSpec) -> Network:
    with torch.device("meta"):
        return EdgeViT(spec) if spec.head is None else dense.build(spec)


def _complete_state(weights: Weights, spec: ModelSpec, found: HeadWeights | None) -> tuple[dict[str, Tensor], list[str]]:
    """Return the exact state of the network in float32, and notes about what was converted."""
    known, dialect = dict(weights.known), weights.dialect
    with torch.device("meta"):
        expected = (EdgeViT(spec) if found is None else Backbone(spec)).state_dict()
    refuse_incomplete(_shapes(known), _shapes(expected), weights.unknown, dialect, COUNTER)
    names = {key: str(dialect.to_file(key)) for key in expected}
    if found is not None:
        refuse_incomplete_head(found, expected_shapes(spec))
        names = {ENCODER + key: name for key, name in names.items()}
        names |= {HEAD + key: found.names[key] for key in found.tensors}
        known = {ENCODER + key: tensor for key, tensor in known.items()}
        known |= {HEAD + key: tensor for key, tensor in found.tensors.items()}
    _refuse_shared_values(known, names)
    state = {key: _converted(name, key.endswith(COUNTER), known.get(key)) for key, name in names.items()}
    stored = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in known.values() if tensor.is_floating_point())
    notes = [f"{count} tensors stored as {dtype}, computed as float32" for dtype, count in stored.items() if dtype != "float32"]
    if len(known) < len(names):
        notes.append(f"{len(names) - len(known)} {COUNTER} missing, not used in inference: set to 0")
    return state, notes


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _refuse_shared_values(known: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Refuse tensors that use values of the file again and again (strides of 0, one storage for many)."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in known.values()}
    claimed_bytes = {key: tensor.numel() * tensor.element_size() for key, tensor in known.items()}
    for key, tensor in known.items():
        if claimed_bytes[key] > tensor.untyped_storage().nbytes():
            raise UsageError(f"{names[key]} claims {tensor.numel()} values but the file holds fewer; copy or download it again")
    if sum(claimed_bytes.values()) > sum(storages.values()):
        raise UsageError("several of its tensors are the same values, which no EdgeViT has; save model.state_dict()")


def _converted(name: str, counter: bool, stored: Tensor | None) -> Tensor:
    """Return a contiguous copy as float32, or int64 for a counter; refuse what has no exact meaning there."""
    if stored is None:
        return torch.zeros((), dtype=torch.int64)
    if stored.is_complex() or (not counter and stored.dtype not in STORED_DTYPES):
        raise UsageError(f"{name} is stored as {stored.dtype}; expected float32, float64, float16 or bfloat16 weights")
    dtype = torch.int64 if counter else torch.float32
    tensor = stored.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)
    bad = tensor.numel() - np.count_nonzero(np.isfinite(tensor.numpy()))
    if bad:
        raise UsageError(f"{name} holds {bad} NaN or infinite values; the file is damaged or the training diverged")
    return tensor
