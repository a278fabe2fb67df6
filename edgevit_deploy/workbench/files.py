"""What stands at the ends of a file, and what is fed to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.parity.reference import Ends
from edgevit_deploy.parity.taps import TappedNetwork
from edgevit_deploy.spec import DYNAMIC_BATCHES, Size


def ends_of(plan: ExportPlan[Any]) -> Ends:
    """Return what stands before and behind the network of a plan."""
    return Ends(takes=plan.takes, returns=plan.returns, outputs=tuple(spec.name for spec in plan.outputs))


def promised_batches(artifact: Artifact) -> tuple[int, ...]:
    """Return the batch sizes at which a file must be right: its own, or two where the batch is free."""
    batch = artifact.inputs[0].shape[0]
    return (batch,) if isinstance(batch, int) else DYNAMIC_BATCHES


def split_taps(rows: NDArray[Any], tapped: TappedNetwork, size: Size) -> dict[str, NDArray[Any]]:
    """(images, values of all taps) -> tap's name -> (images, values)."""
    taps = tapped.taps(size)
    columns = np.split(rows, np.cumsum([tap.values for tap in taps])[:-1], axis=1)
    return {tap.name: column for tap, column in zip(taps, columns, strict=True)}


def feeds_of(artifact: Artifact, images: Images, batch: int) -> Mapping[str, Images]:
    """Return one run's feeds: the first `batch` of some images (n, 3, height, width), from the start again where they end."""
    return {artifact.inputs[0].name: images[np.arange(batch) % len(images)]}
