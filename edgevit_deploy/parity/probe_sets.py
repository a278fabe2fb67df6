"""All probes of one network, made once for each image size and kind of input: the given ones, and the noisiest near them."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.parity.noisiest import find_noisiest
from edgevit_deploy.parity.probes import Probes, make_probes, probe_pictures
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import InputKind, Preprocess, Size

Pictures = Mapping[str, NDArray[np.uint8]]
"""Name -> pixels, uint8 (height, width, 3)."""


class ProbeSets:
    """The probes on which files of one network are compared; the same object each time.

    Args:
        reference: of the network.
        preprocess: turns pictures into normalised inputs.
        photographs: the user's own at one size; none at most.
        seed: of all that is drawn.
    """

    def __init__(self, reference: Reference, preprocess: Preprocess, photographs: Callable[[Size], Pictures], seed: int) -> None:
        self._reference = reference
        self._preprocess = preprocess
        self._photographs = photographs
        self._seed = seed
        self._given: dict[tuple[Size, InputKind], Probes] = {}
        self._noisiest: dict[tuple[Size, InputKind], Probes] = {}

    def given(self, size: Size, takes: InputKind) -> Probes:
        """Return the seeded probes of a size, then the photographs."""
        key = (size, takes)
        if key not in self._given:
            probes = make_probes(size, self._preprocess, takes, self._seed)
            if pictures := self._photographs(size):
                inputs = normalise(np.stack(list(pictures.values())), self._preprocess, takes)
                probes = probes.join(tuple(pictures), inputs)
            self._given[key] = probes
        return self._given[key]

    def noisiest(self, size: Size, takes: InputKind) -> Probes:
        """Return the pictures near the given ones on which PyTorch's own error is the largest that a search finds."""
        key = (size, takes)
        if key not in self._noisiest:
            given = self.given(size, takes)
            pixels = np.stack([*probe_pictures(size, self._seed).values(), *self._photographs(size).values()])
            self._noisiest[key] = find_noisiest(self._reference, given, pixels, self._preprocess, takes, self._seed)
        return self._noisiest[key]
