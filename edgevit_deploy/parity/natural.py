"""Drawn pictures for quantised files: many, and all of them natural-like, for their yardstick is a mean square."""

import numpy as np

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.parity.probes import Probes, natural_picture
from edgevit_deploy.spec import InputKind, Preprocess, Size

NATURAL_PICTURES = 32
"""How many drawn pictures a quantised file is judged on: with fewer, single roundings show in the mean square."""

CONTRASTS = (0.22, 0.1, 0.05)


def natural_probes(size: Size, preprocess: Preprocess, takes: InputKind, seed: int) -> Probes:
    """Return seeded natural-like pictures of one size; no picture of a calibration is among them."""
    rng = np.random.default_rng([seed, *size, NATURAL_PICTURES, 1])
    drawn = [natural_picture(size, rng, CONTRASTS[place % len(CONTRASTS)]) for place in range(NATURAL_PICTURES)]
    names = tuple(f"natural {number}" for number in range(1, NATURAL_PICTURES + 1))
    return Probes(names=names, inputs=normalise(np.stack(drawn), preprocess, takes))
