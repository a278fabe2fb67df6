"""A trained network and labelled pictures of its own kind: what random weights cannot show."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

HERE = Path(__file__).parent.parent / "fixtures" / "trained"
WEIGHTS = HERE / "edgevit_xxs_fashion-mnist_64.safetensors"
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
"""In the order of the data set's own targets; the weights' class order is in their file."""

BORDER = 2
"""Black pixels around each picture: the published evaluation's crop then keeps the 28 x 28 of the data set."""


def write_other(path: Path) -> Path:
    """Write a checkpoint that differs from the trained one by the bias of its head, and return the file."""
    with safe_open(WEIGHTS, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        save_file({**tensors, "head.bias": tensors["head.bias"] + 1}, path, file.metadata())
    return path


def write_pictures(root: Path, split: Literal["train", "val"], per_class: int, classes: tuple[str, ...] = LABELS) -> Path:
    """Write the first pictures of some classes as root/CLASS/NNNN.png, and return root."""
    with np.load(HERE / "pictures.npz") as stored:
        pictures, targets = stored[split], stored[f"{split}_targets"]
    for label in classes:
        (root / label).mkdir(parents=True)
        of_class = np.flatnonzero(targets == LABELS.index(label))[:per_class]
        if len(of_class) < per_class:
            raise ValueError(f"{split} has {len(of_class)} pictures of {label}")
        for position in of_class.tolist():
            Image.fromarray(np.pad(pictures[position], BORDER)).save(root / label / f"{position:04}.png")
    return root
