"""The search for the noisiest pictures, done once for each network of a test run: hundreds of tests convert the same few."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from edgevit_deploy.parity.noisiest import find_noisiest
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Arithmetic, Outputs, Reference
from edgevit_deploy.spec import InputKind, Preprocess

_found: dict[str, tuple[Probes, dict[Arithmetic, Outputs]]] = {}


def remembered_noisiest(
    reference: Reference,
    probes: Probes,
    pixels: NDArray[np.uint8],
    preprocess: Preprocess,
    takes: InputKind,
    seed: int,
) -> Probes:
    """Return what `find_noisiest` returned for a network of the same weights and settings, and all else the same.

    The reference is told of the outputs, as the search itself does, so that what is wrong with them is seen in any test.
    """
    network = reference._network
    key = hashlib.sha256(repr((network, preprocess, takes, seed, torch.get_num_threads(), probes.names)).encode())
    for tensor in network.state_dict().values():
        key.update(tensor.numpy().tobytes())
    for array in (probes.inputs, pixels):
        key.update(array.tobytes())
    place, ends = key.hexdigest(), reference.own_ends(takes)
    if place not in _found:
        found = find_noisiest(reference, probes, pixels, preprocess, takes, seed)
        _found[place] = found, {kind: reference.outputs(found, ends, kind) for kind in ("fp64", "fp32")}
    found, outputs = _found[place]
    copied = Probes(names=found.names, inputs=found.inputs.copy())
    for kind, values in outputs.items():
        reference.remember(copied, ends, kind, values)
    return copied
