"""The pictures on which PyTorch's own float32 error is largest: the bound is to hold on ten thousand others as well.

How far rounding takes an output is a matter of luck as much as of the picture: change its pixels by a level or two, and the error
is another draw, several times smaller or larger. A handful of probes is a handful of draws, and among ten thousand pictures there
are far worse ones. So worse ones are searched for: near those whose error is large there are others whose error is larger. The
search needs no gradient, and of a network only what it returns, a classifier its logits; so every graph and precision of it, and
its feature maps, have the same probes. Of several outputs each counts in units of its own error on the given probes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Arithmetic, Outputs, Reference
from edgevit_deploy.spec import InputKind, Preprocess

KEPT = 2
"""How many of the pictures that were found become probes: every runtime must run them too."""

ROUNDS, PARENTS, CHILDREN = 3, 4, 2
"""In each round, the pictures with the largest errors so far have so many neighbours each."""

PIXELS = 2**17
"""Of all neighbours of a round: eight up to 128 x 128, two of 224 x 224, and one at least. So the time hardly grows with the
size; and in a larger picture the errors at more positions average out, so that there is less to find."""

ARITHMETICS: tuple[Arithmetic, ...] = ("fp64", "fp32")

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
    ends = reference.own_ends(takes)
    children = min(PARENTS * CHILDREN, max(1, PIXELS // (probes.size[0] * probes.size[1])))
    names = list(probes.names)
    given = [reference.outputs(probes, ends, arithmetic) for arithmetic in ARITHMETICS]
    units = {name: float(np.abs(given[1][name] - given[0][name]).max()) or 1.0 for name in ends.outputs}
    errors = [_errors(_row(given[0], row), _row(given[1], row), units) for row in range(len(names))]
    born_outputs: list[tuple[Outputs, Outputs]] = []
    in_double, in_single = reference.runner(ends, "fp64"), reference.runner(ends, "fp32")
    for _ in range(ROUNDS):
        parents = np.resize(_largest_first([rms for rms, _ in errors])[:PARENTS], children)
        levels = rng.integers(-LEVELS, LEVELS + 1, (children, *pixels.shape[1:]))
        born = np.clip(pixels[parents] + levels, 0, 255).astype(np.uint8)
        images = np.split(normalise(born, preprocess, takes), children)  # one at a time, as outputs are computed elsewhere
        names += [names[parent] for parent in parents]
        pixels = np.concatenate([pixels, born])
        made = [(in_double(image), in_single(image)) for image in images]
        errors += [_errors(exact, own, units) for exact, own in made]
        born_outputs += made
    first = len(probes.names)
    chosen = _largest_first([largest for _, largest in errors[first:]])[:KEPT]
    found = first + chosen
    noisiest = Probes(
        names=tuple(f"near {names[row]}, {place}" for place, row in enumerate(found, start=1)),
        inputs=normalise(pixels[found], preprocess, takes),
    )
    for place, arithmetic in enumerate(ARITHMETICS):
        outputs = [born_outputs[row][place] for row in chosen]
        kept = {name: np.concatenate([each[name] for each in outputs]) for name in ends.outputs}
        reference.remember(noisiest, ends, arithmetic, kept)
    return noisiest


def _row(outputs: Outputs, row: int) -> Outputs:
    return {name: values[row : row + 1] for name, values in outputs.items()}


def _errors(exact: Outputs, own: Outputs, units: dict[str, float]) -> tuple[float, float]:
    """Return one picture's root mean square error and its largest one, each summed over the outputs in their units."""
    differences = {name: own[name] - exact[name] for name in exact}
    rms = sum(float(np.sqrt(np.square(values).mean())) / units[name] for name, values in differences.items())
    return rms, sum(float(np.abs(values).max()) / units[name] for name, values in differences.items())


def _largest_first(errors: Sequence[float]) -> NDArray[np.int64]:
    """Return the places of some errors, largest first; those that are not finite teach nothing and come last."""
    values = np.array(errors)
    return np.argsort(-np.where(np.isfinite(values), values, -1.0), kind="stable")
