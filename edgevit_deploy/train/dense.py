"""The network that the training of a segmenter begins with, and how it is evaluated."""

from dataclasses import replace

import numpy as np
import torch

from edgevit_deploy.data.pictures import PassedOver, in_short
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model import dense
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.parity.segments import PixelCounts
from edgevit_deploy.spec import HeadKind, HeadSpec, Preprocess
from edgevit_deploy.train.draws import Purpose, draw
from edgevit_deploy.train.job import DEFAULT_MODEL, TrainingJob
from edgevit_deploy.train.masks import MaskShare

KIND: HeadKind = "semantic_fpn"


def dense_beginning(job: TrainingJob, classes: tuple[str, ...]) -> tuple[DenseNetwork, tuple[str, ...]]:
    """Return the network before its first update, and what must be known of it.

    With a checkpoint of a classifier its stages are taken; with one of a segmenter for the same classes its head too.

    Raises:
        UsageError: an unreadable checkpoint, or one of another model.
        MissingError: the head's library is not installed.
    """
    from edgevit_deploy.model.checkpoint import load_network, read_checkpoint, reconcile
    from edgevit_deploy.model.variants import create_model

    side = job.recipe.image_size
    loaded = None
    if job.finetune is not None:
        checkpoint = read_checkpoint(job.finetune)
        reconcile(checkpoint, model=job.model, num_classes=None, task=checkpoint.spec.task)
        loaded = load_network(checkpoint)
        spec = loaded.spec.with_image_size((side, side))
    else:
        spec = create_model(job.model or DEFAULT_MODEL, image_size=side).spec
    told = {} if job.preprocess.resize_mode is None and job.preprocess.crop_ratio is None else {"resize_mode": ""}
    head = spec.head if spec.head is not None and spec.head.kind == KIND else HeadSpec(kind=KIND)
    spec = replace(dense.with_head(spec, head, told).with_preprocess(job.preprocess), num_classes=len(classes))
    torch.default_generator.manual_seed(draw(Purpose.WEIGHTS, job.recipe.seed))
    network = dense.build(spec)
    return network, () if loaded is None else (f"{job.finetune}: {spec.variant}, {_taken(network, loaded)}",)


def _taken(network: DenseNetwork, loaded: EdgeViT | DenseNetwork) -> str:
    """Fill a network with what there is of another one; say what that is."""
    if isinstance(loaded, EdgeViT):
        own = {key: tensor for key, tensor in loaded.state_dict().items() if not key.startswith(("norm.", "head."))}
        network.encoder.load_state_dict(own)
        return "its four stages; the head is new"
    network.encoder.load_state_dict(loaded.encoder.state_dict())
    if (loaded.spec.head, loaded.spec.num_classes) != (network.spec.head, network.spec.num_classes):
        return f"its four stages; the head is new, for {network.spec.num_classes} classes"
    network.head.load_state_dict(loaded.head.state_dict())
    return "its head too: it has as many classes"


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
            why = in_short(error, share.folder.root / share.folder.masks[position])
            broken.append(PassedOver(file=str(share.folder.root / share.folder.images[position]), why=why))
            continue
        logits = network(torch.from_numpy(normalise(pixels[None], preprocess, "tensor")).to(device))[0]
        counts.add(logits.argmax(0).cpu().numpy().astype(np.int64), mask)
    return counts, broken
