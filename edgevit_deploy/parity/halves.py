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
from edgevit_deploy.spec import Graph, Preprocess, task_of

FOLDED_ELSEWHERE = NoiseMultiple(
    k=2, reason="the converter folds normalisations into weights before it rounds them, PyTorch does not"
)
"""For the published graph; the deploy graph has none left to fold."""


def half_weight_truths(
    reference: Reference, graph: Graph, network: nn.Module, probes: Sequence[Probes], ends: Ends, preprocess: Preprocess
) -> list[Truth]:
    """Return the float64 outputs of a network, and the largest error of its graph with weights in half precision.

    Args:
        reference: of the network.
        graph: which one a file was made of.
        network: that graph, float32.
        probes: on which.
        ends: of the file.
        preprocess: for the ends that normalise inside.
    """
    own = Reference(network, preprocess)

    def truth(probes: Probes) -> Truth:
        exact, emulated = reference.outputs(probes, ends, "fp64"), own.outputs(probes, ends, HALF_WEIGHTS)
        noise = {name: float(np.abs(emulated[name] - exact[name]).max()) for name in exact}
        found = Truth(probes=probes, outputs=exact, noise=noise, precision="fp16", task=task_of(ends.returns))
        return found if graph == "deploy" else replace(found, bound=FOLDED_ELSEWHERE)

    return [truth(some) for some in probes]
