"""The inputs on which an artifact is compared with the truth: never one, never only noise.

Each kind is there for a fault that the others hide: noise at two amplitudes (a wrong epsilon shows on the dim one), natural
pictures with a 1/f spectrum (smooth, correlated channels, as a camera gives), constant and saturated pictures (padding,
clipping, channel order), and the user's own photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import Images, normalise
from edgevit_deploy.spec import INPUTS, InputKind, Preprocess, Size

GOLDEN_PROBES = 2
"""How many probes, counted from the first, a bundle carries as golden data: one natural-like, one noise."""

MAX_GOLDEN_BYTES = 32 * 2**20
"""Of all golden outputs together: of maps for large images only the first probe is kept, or the first run of a fixed batch."""


def golden_rows(batch: int, values: Sequence[int]) -> int:
    """Return how many probes are golden data: whole runs of `GOLDEN_PROBES` or more, or one where that would be too many bytes.

    Args:
        batch: images a run.
        values: how many values each output has for one image.
    """
    rows = -(-GOLDEN_PROBES // batch) * batch
    return rows if rows * sum(values) * 4 <= MAX_GOLDEN_BYTES else batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """Named inputs of one size, (len(names), 3, height, width), in a file's type; equal only to itself, and so a key."""

    names: tuple[str, ...]
    inputs: Images

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.inputs.shape[2], self.inputs.shape[3]

    def first(self, count: int) -> "Probes":
        """Return the first of these probes."""
        return Probes(names=self.names[:count], inputs=self.inputs[:count])

    def join(self, names: tuple[str, ...], inputs: Images) -> "Probes":
        """Return these probes followed by others of the same size."""
        return Probes(names=self.names + names, inputs=np.concatenate([self.inputs, inputs]))


def make_probes(size: Size, preprocess: Preprocess, takes: InputKind, seed: int) -> Probes:
    """Make the seeded probes for one image size; the same arguments give the same bytes.

    Args:
        size: (height, width) in pixels.
        preprocess: turns pictures into normalised inputs.
        takes: what the file takes; probes of pixels are whole numbers, the noise among them too.
        seed: of the noise and the natural-like pictures.
    """
    rng = np.random.default_rng([seed, *size])
    pictures = _draw(size, rng)
    inputs = normalise(np.stack(list(pictures.values())), preprocess, takes)
    if not INPUTS[takes].pixels:
        for name, amplitude in (("noise", 1.0), ("noise dim", 0.01)):
            inputs[list(pictures).index(name)] = amplitude * rng.standard_normal((3, *size))
    return Probes(names=tuple(pictures), inputs=inputs)


def probe_pictures(size: Size, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return the seeded probes in pixels: name -> uint8 (height, width, 3). As tensors, the two of noise are other draws."""
    return _draw(size, np.random.default_rng([seed, *size]))


def _draw(size: Size, rng: np.random.Generator) -> dict[str, NDArray[np.uint8]]:
    pictures: dict[str, NDArray[Any]] = {
        "natural": natural_picture(size, rng, contrast=0.22),
        "noise": rng.integers(0, 256, (*size, 3)),
        "noise dim": rng.integers(124, 131, (*size, 3)),
        "natural flat": natural_picture(size, rng, contrast=0.03),
        "black": np.zeros((*size, 3)),
        "white": np.full((*size, 3), 255),
        "grey": np.full((*size, 3), 124),
        "saturated stripes": saturated_stripes(size),
    }
    return {name: pixels.astype(np.uint8) for name, pixels in pictures.items()}


def natural_picture(size: Size, rng: np.random.Generator, contrast: float) -> NDArray[np.uint8]:
    """Draw a picture with the 1/f amplitude spectrum of natural images (Field 1987) and correlated colour channels.

    Args:
        size: (height, width) in pixels.
        rng: source of the phases.
        contrast: standard deviation of the brightness, in units of the full range.

    Returns:
        uint8 (height, width, 3).
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij"))
    frequency[0, 0] = np.inf

    def layer() -> NDArray[np.float64]:
        plane = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) / frequency).real
        return np.asarray(plane / plane.std(), dtype=np.float64)

    brightness = layer()
    channels = [0.45 + contrast * (brightness + 0.3 * layer()) for _ in range(3)]
    return np.asarray(np.clip(np.stack(channels, axis=-1), 0, 1) * 255, dtype=np.uint8)


def saturated_stripes(size: Size) -> NDArray[np.uint8]:
    """Draw pure red, green, blue and white stripes, 5 pixels wide and slanted, so that no window looks like another."""
    rows, columns = np.indices(size)
    palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)
    return np.asarray(palette[(columns + 2 * rows) // 5 % 4], dtype=np.uint8)
