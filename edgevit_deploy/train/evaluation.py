"""How many pictures of a share a network gets right, each counted once whatever the number of processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.train.pictures import Share
from edgevit_deploy.train.world import World

if TYPE_CHECKING:
    from torch import nn

BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many pictures of `pictures` have their class first, and among the first five."""

    top1: int
    top5: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Of several networks on the same decoded pictures.

    Attributes:
        counts: one for each network.
        broken: pictures that could not be decoded and are counted nowhere.
    """

    counts: tuple[Count, ...]
    broken: tuple[PassedOver, ...]


def evaluate(
    networks: Sequence["nn.Module"],
    share: Share,
    preprocess: Preprocess,
    *,
    world: World,
    device: torch.device,
    workers: int,
    tell: Callable[[str], None],
) -> Evaluation:
    """Run networks over a share's pictures, in float32, and count over all processes.

    Args:
        networks: on `device`; they are in evaluation mode afterwards.
        share: the pictures.
        preprocess: of every picture; its crop is the image size.
        world: the processes; each takes every so many-th picture, without padding.
        device: where to compute.
        workers: processes that decode.
        tell: is told how far it is.
    """
    own = share.positions[world.rank :: world.size]
    targets = torch.from_numpy(share.folder.targets)
    right = np.zeros((len(networks), 3))
    broken: list[PassedOver] = []
    for network in networks:
        network.eval()
    stream = PictureStream(path=share.folder.path, positions=own, preprocess=preprocess, batch=BATCH, workers=workers)
    for number, batch in enumerate(stream):
        tell(f"evaluating: {number * BATCH * world.size} of {len(share)} pictures")
        broken += batch.broken
        if not len(batch.positions):
            continue
        inputs = torch.from_numpy(normalise(batch.pixels, preprocess, "tensor")).to(device, memory_format=torch.channels_last)
        wanted = targets[torch.from_numpy(batch.positions)].unsqueeze(1).to(device)
        for row, network in zip(right, networks, strict=True):
            with torch.inference_mode():
                logits = network(inputs)
            best = logits.topk(min(5, logits.shape[1])).indices == wanted
            row += int(best[:, 0].sum()), int(best.sum()), len(wanted)
    totals = world.sums(*right.flatten().tolist())
    counts = [
        Count(top1=int(totals[at]), top5=int(totals[at + 1]), pictures=int(totals[at + 2])) for at in range(0, len(totals), 3)
    ]
    every = [item for items in world.gathered(broken) for item in items]
    return Evaluation(counts=tuple(counts), broken=tuple(every))
