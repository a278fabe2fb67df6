"""Drawn pictures for quantised files: many, and all of them natural-like, for their yardstick is a mean square."""

import numpy as np

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.parity.probes import Probes, natural_picture
from edgevit_deploy.spec import InputKind, Preprocess, Size

FEWEST, MOST = 32, 256
"""Drawn pictures on which a quantised file is judged."""

VALUES = 2560
"""How many outputs of them must be compared. Single roundings that fall to the other side of a step show in the mean square of a
few: on a network of 10 classes 32 pictures gave an error of 0.85 to 1.18 of the emulation's, with nothing wrong, and 256 one of
0.96 to 1.04; with 1000 classes 32 pictures gave 1.00 to 1.01."""

CONTRASTS = (0.22, 0.1, 0.05)


def pictures_for(values: int) -> int:
    """Return how many pictures judge a file that returns so many values for each."""
    return min(max(FEWEST, -(-VALUES // values)), MOST)


def natural_probes(size: Size, preprocess: Preprocess, takes: InputKind, seed: int, count: int = FEWEST) -> Probes:
    """Return seeded natural-like pictures of one size; no picture of a calibration is among them."""
    rng = np.random.default_rng([seed, *size, FEWEST, 1])
    drawn = [natural_picture(size, rng, CONTRASTS[place % len(CONTRASTS)]) for place in range(count)]
    names = tuple(f"natural {number}" for number in range(1, count + 1))
    return Probes(names=names, inputs=normalise(np.stack(drawn), preprocess, takes))
