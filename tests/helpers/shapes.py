"""A small data set with masks: discs, squares and stripes in colours that do not tell them apart, on a noisy ground."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "disc", "square", "stripes")
COLOURS = [(0, 0, 0), (220, 60, 60), (60, 200, 80), (70, 90, 230)]


def drawn(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """One picture (side, side, 3) and its mask (side, side): one shape of each kind, the border of the picture unlabelled."""
    rows, columns = np.mgrid[:side, :side]
    picture = rng.integers(70, 110, (side, side, 3)).astype(np.float64)
    mask = np.zeros((side, side), np.uint8)
    for kind in rng.permutation([1, 2, 3]):
        radius = side * rng.uniform(0.14, 0.24)
        row, column = rng.uniform(radius, side - radius, 2)
        inside = (abs(rows - row) < radius) & (abs(columns - column) < radius)
        if kind == 1:
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        colour = rng.uniform(150, 255, 3)
        picture[inside] = colour
        if kind == 3:
            picture[inside & (columns % 4 < 2)] = 20
        mask[inside] = kind
    mask[0] = mask[-1] = 255
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8), mask


def save_mask(path: Path, mask: np.ndarray) -> None:
    """As an indexed PNG with a palette, as labelling tools write it."""
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(
        [channel for colour in COLOURS for channel in colour] + 3 * (256 - len(COLOURS)) * [255]
    )  # else 2 bits a pixel
    image.save(path)


def write_shapes(folder: Path, count: int, *, side: int = 64, seed: int = 0) -> Path:
    """`images/` and `masks/` with so many pictures."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        picture, mask = drawn(rng, side)
        Image.fromarray(picture).save(folder / "images" / f"{number:04}.png")
        save_mask(folder / "masks" / f"{number:04}.png", mask)
    return folder
