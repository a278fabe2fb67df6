"""The pictures on which PyTorch's own float32 error is largest: the bound is to hold on ten thousand others as well.

How far rounding takes an output is a matter of luck as much as of the picture: change its pixels by a level or two, and the error
is another draw, several times smaller or larger. A handful of probes is a handful of draws, and among ten thousand pictures there
are far worse ones. So worse ones are searched for: near those whose error is large there are others whose error is larger. The
search needs no gradient, and of a network only its logits; so every task, graph and precision has the same probes.
"""

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Ends, Reference
from edgevit_deploy.spec import InputKind, Preprocess

KEPT = 2
"""How many of the pictures that were found become probes: every runtime must run them too."""

ROUNDS, PARENTS, CHILDREN = 3, 4, 2
"""In each round, the pictures with the largest errors so far have so many neighbours each."""

PIXELS = 2**17
"""Of all neighbours of a round: eight up to 128 x 128, two of 224 x 224, and one at least. So the time hardly grows with the
size; and in a larger picture the errors at more positions average out, so that there is less to find."""

LEVELS = 2
"""By how many of 255 levels, at most, a pixel of a neighbour differs."""


def find_noisiest(
    reference: Reference,
    probes: Probes,
    pixels: NDArray[np.uint8],
    preprocess: Preprocess,
    takes: InputKind,
    seed: int,
) -> Probes:
    """Return the noisiest neighbours of some probes that a seeded search finds; the same arguments give the same bytes.

    Args:
        reference: of the network; it remembers the outputs for what is returned.
        probes: where the search starts.
        pixels: the same pictures, uint8 (probes, height, width, 3), in the same order.
        preprocess: turns pictures into normalised inputs.
        takes: as of the probes.
        seed: of the neighbours.
    """
    rng = np.random.default_rng([seed, *probes.size])
    ends = Ends(takes=takes, returns="logits", outputs=("logits",))
    children = min(PARENTS * CHILDREN, max(1, PIXELS // (probes.size[0] * probes.size[1])))
    names = list(probes.names)
    exact, own = (reference.outputs(probes, ends, arithmetic)["logits"] for arithmetic in ("fp64", "fp32"))
    in_double, in_single = reference.runner(ends, "fp64"), reference.runner(ends, "fp32")
    for _ in range(ROUNDS):
        parents = np.resize(_largest_first(np.sqrt(np.square(own - exact).mean(axis=1)))[:PARENTS], children)
        levels = rng.integers(-LEVELS, LEVELS + 1, (children, *pixels.shape[1:]))
        born = np.clip(pixels[parents] + levels, 0, 255).astype(np.uint8)
        images = np.split(normalise(born, preprocess, takes), children)  # one at a time, as outputs are computed elsewhere
        names += [names[parent] for parent in parents]
        pixels = np.concatenate([pixels, born])
        exact = np.concatenate([exact, *(in_double(image)["logits"] for image in images)])
        own = np.concatenate([own, *(in_single(image)["logits"] for image in images)])
    first = len(probes.names)
    found = first + _largest_first(np.abs(own - exact).max(axis=1)[first:])[:KEPT]
    noisiest = Probes(
        names=tuple(f"near {names[row]}, {place}" for place, row in enumerate(found, start=1)),
        inputs=normalise(pixels[found], preprocess, takes),
    )
    reference.remember(noisiest, ends, "fp64", {"logits": exact[found]})
    reference.remember(noisiest, ends, "fp32", {"logits": own[found]})
    return noisiest


def _largest_first(errors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of some errors, largest first; those that are not finite teach nothing and come last."""
    return np.argsort(-np.where(np.isfinite(errors), errors, -1.0), kind="stable")
