"""The yardstick of a quantised file: PyTorch's own run of the rounded graph, against the float64 truth, by mean squares.

File and emulation round the same values to the same steps. Where they add up in another order a value now and then falls to the
other side of a step, and that spreads: output by output the two differ as much as each differs from the truth. Over many pictures
the sums of squares agree, unless something is rounded otherwise than it should be.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.parity.gate import Truth, root_mean_square
from edgevit_deploy.parity.probes import GOLDEN_PROBES, Probes
from edgevit_deploy.parity.reference import Arithmetic, Ends, Reference
from edgevit_deploy.spec import Precision, Preprocess, task_of

GOLDEN = NoiseMultiple(k=2, reason="few pictures: roundings that fall to the other side of a step do not average out over them")
"""For the probes that are a bundle's golden data; of a replay of them alone no more can be asked."""

PIXELS_AT_ONCE = 2 * 224 * 224
"""Of small pictures there are many, and a run of one costs little less than a run of ten."""


def quantised_truths(
    reference: Reference,
    emulation: nn.Module,
    probes: Sequence[Probes],
    ends: Ends,
    precision: Precision,
    preprocess: Preprocess,
    arithmetic: Arithmetic = "fp32",
) -> list[Truth]:
    """Return the float64 outputs of a network, and the RMS error of the emulation of its rounded graph.

    Args:
        reference: of the network.
        emulation: the rounded graph, float32.
        probes: on which; of the first ones, those that become golden data are judged once more by themselves.
        ends: of the file.
        precision: of the file.
        preprocess: for the ends that normalise inside.
        arithmetic: in which the file computes what it does not round.

    Returns:
        The golden ones first, then one for each of `probes`.
    """
    own = Reference(emulation, preprocess)

    def truth(probes: Probes) -> Truth:
        at_once = max(1, PIXELS_AT_ONCE // math.prod(probes.size))
        exact, emulated = reference.outputs(probes, ends, "fp64", at_once), own.outputs(probes, ends, arithmetic, at_once)
        noise = {name: root_mean_square(emulated[name] - exact[name]) for name in exact}
        return Truth(probes=probes, outputs=exact, noise=noise, precision=precision, task=task_of(ends.returns))

    golden = replace(truth(probes[0].first(GOLDEN_PROBES)), bound=GOLDEN)
    return [golden, *(truth(some) for some in probes)]
