"""The yardstick of a file that stores weights in half precision and computes in float32: PyTorch doing the same.

The emulation that rounds every activation too has several times the error, in which wrong operators would hide. This one has the
file's own: the same graph, the same weights in half precision, float32 arithmetic. What is left between the two is float32 noise.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import HALF_WEIGHTS, Ends, Reference
from edgevit_deploy.spec import INPUTS, Graph, Preprocess, task_of

FOLDED_ELSEWHERE = NoiseMultiple(
    k=2, reason="other weights in half than in the emulation: the tracer folds fewer normalisations into them"
)
"""For the published graph: what is folded into weights before they are rounded is the tracer's choice."""

PIXELS = NoiseMultiple(
    k=3, reason="the factors of pixels are computed anew by the converter and cut off, not rounded, to half: 1.0 to 1.8 measured"
)
"""For a file that takes pixels, of either graph."""


def half_weight_truths(
    reference: Reference, graph: Graph, network: nn.Module, probes: Sequence[Probes], ends: Ends, preprocess: Preprocess
) -> list[Truth]:
    """Return the float64 outputs of a network, and how far weights in half precision take its graph from itself.

    From itself, not from the network: a graph that was rewritten wrongly must not widen its own bound.

    Args:
        reference: of the network.
        graph: which one a file was made of.
        network: the deploy graph, float32, in which normalisations are folded into weights.
        probes: on which.
        ends: of the file.
        preprocess: for the ends that normalise inside.
    """
    own = Reference(network, preprocess)

    def truth(probes: Probes) -> Truth:
        exact = reference.outputs(probes, ends, "fp64")
        unrounded, emulated = own.outputs(probes, ends, "fp64"), own.outputs(probes, ends, HALF_WEIGHTS)
        noise = {name: float(np.abs(emulated[name] - unrounded[name]).max()) for name in exact}
        found = Truth(probes=probes, outputs=exact, noise=noise, precision="fp16", task=task_of(ends.returns))
        return replace(found, bound=PIXELS if INPUTS[ends.takes].pixels else None if graph == "deploy" else FOLDED_ELSEWHERE)

    return [truth(some) for some in probes]
