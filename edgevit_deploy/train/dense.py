"""The network that the training of a segmenter begins with, and how it is evaluated."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model import dense
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.preprocessing import NAMES, settle, values
from edgevit_deploy.parity.segments import PixelCounts
from edgevit_deploy.spec import HeadKind, HeadSpec, ModelSpec, Preprocess, PreprocessChoice, Size
from edgevit_deploy.train.draws import Purpose, draw
from edgevit_deploy.train.job import DEFAULT_MODEL, TrainingJob
from edgevit_deploy.train.masks import MaskShare

if TYPE_CHECKING:
    from edgevit_deploy.model.checkpoint import Checkpoint

KIND: HeadKind = "semantic_fpn"

CLASSIFIER = ("segmentation_head.0.weight", "segmentation_head.0.bias")
"""Of the head: what has a row for each class."""

SHAPE = ("resize_mode", "crop_ratio")
"""What decides how much of a picture is shown."""


def dense_beginning(job: TrainingJob, classes: tuple[str, ...]) -> tuple[DenseNetwork, tuple[str, ...]]:
    """Return the network before its first update, and what must be known of it.

    With a checkpoint of a classifier its stages are taken; with one of a segmenter for the same classes, in whatever order, its
    head too.

    Raises:
        UsageError: an unreadable checkpoint, or one of another model.
        MissingError: the head's library is not installed.
    """
    from edgevit_deploy.model.checkpoint import load_network, read_checkpoint, reconcile
    from edgevit_deploy.model.variants import create_model

    side, loaded, labels, notes = job.recipe.image_size, None, None, tuple[str, ...]()
    if job.finetune is not None:
        checkpoint = read_checkpoint(job.finetune)
        checkpoint = reconcile(checkpoint, model=job.model, num_classes=None, task=checkpoint.spec.task)
        loaded, labels = load_network(checkpoint), checkpoint.labels
        spec, shown = _spec_of(checkpoint, (side, side), job.preprocess)
        notes = (*checkpoint.reading_notes, *checkpoint.open_notes, *shown)
    else:
        spec = create_model(job.model or DEFAULT_MODEL, image_size=side).spec
        spec = dense.with_head(spec, HeadSpec(kind=KIND), _said(job.preprocess)).with_preprocess(job.preprocess)
    torch.default_generator.manual_seed(draw(Purpose.WEIGHTS, job.recipe.seed))
    network = dense.build(replace(spec, num_classes=len(classes)))
    if loaded is not None:
        notes = (f"{job.finetune}: {spec.variant}, {_taken(network, loaded, labels, classes)}", *notes)
    return network, notes


def _said(choice: PreprocessChoice) -> dict[str, str]:
    """Return which of the fields that decide how much of a picture is shown a user says, as `Told.fields` has them."""
    return {name: f"--{name.replace('_', '-')}" for name in SHAPE if getattr(choice, name) is not None}


def _spec_of(checkpoint: "Checkpoint", size: Size, choice: PreprocessChoice) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return the network that goes on from a checkpoint, and what must be known of its preprocessing.

    A segmenter's pictures are prepared as its file says. What a file says of another network's is kept but for how much of a
    picture is shown: a classifier's crop would leave pixels out that have a class.
    """
    spec, told, notes = checkpoint.spec, checkpoint.told, tuple[str, ...]()
    if spec.head is None or spec.head.kind != KIND:
        spec = dense.with_head(spec, HeadSpec(kind=KIND), _said(choice))
        recorded = [name for name in SHAPE if name in told.fields]
        if recorded and not _said(choice):
            choice = replace(choice, resize_mode=spec.preprocess.fit)
            told = replace(told, fields={name: place for name, place in told.fields.items() if name not in SHAPE})
            before, after = values(checkpoint.spec), spec.preprocess.fit
            were = ", ".join(f"{NAMES[name]} {before[name]}" for name in recorded)
            notes = (f"{were} of {checkpoint.file} is not kept: a segmenter is shown the whole picture ({after}); --resize-mode",)
    spec, settled = settle(spec, told, size, choice)
    return spec, (*notes, *settled)


def _taken(
    network: DenseNetwork, loaded: EdgeViT | DenseNetwork, labels: tuple[str, ...] | None, classes: tuple[str, ...]
) -> str:
    """Fill a network with what there is of another one, whose classes are called so; say what that is."""
    if isinstance(loaded, EdgeViT):
        own = {key: tensor for key, tensor in loaded.state_dict().items() if not key.startswith(("norm.", "head."))}
        network.encoder.load_state_dict(own)
        return "its four stages; the head is new"
    network.encoder.load_state_dict(loaded.encoder.state_dict())
    if (loaded.spec.head, loaded.spec.num_classes) != (network.spec.head, network.spec.num_classes):
        return f"its four stages; the head is new, for {network.spec.num_classes} classes"
    if labels is not None and sorted(labels) != sorted(classes):
        return "its four stages; the head is new: its classes have other names"
    state = loaded.head.state_dict()
    if labels is None:
        said = "its head too: it has as many classes, which its file does not name, so they are taken to be these in this order"
    else:
        said = "its head too: the classes are the same"
        rows = list(range(len(classes))) if labels == classes else [labels.index(name) for name in classes]
        state |= {key: tensor[rows] for key, tensor in state.items() if key in CLASSIFIER}
    network.head.load_state_dict(state)
    return said


@torch.inference_mode()
def count_pixels(
    network: torch.nn.Module, share: MaskShare, preprocess: Preprocess, classes: int, device: torch.device
) -> tuple[PixelCounts, list[PassedOver]]:
    """Run a network over pictures, one at a time, and count pixels by their classes; it is in evaluation mode afterwards."""
    network.eval()
    counts, broken = PixelCounts(classes=classes), list[PassedOver]()
    for position in range(len(share)):
        try:
            pixels, mask = share.folder.read(position, preprocess, classes)
        except UsageError as error:
            why = share.folder.why_not(error, position)
            broken.append(PassedOver(file=str(share.folder.root / share.folder.images[position]), why=why))
            continue
        logits = network(torch.from_numpy(normalise(pixels[None], preprocess, "tensor")).to(device))[0]
        counts.add(logits.argmax(0).cpu().numpy().astype(np.int64), mask)
    return counts, broken
