"""Random draws as functions of what they are for.

Every draw of a training follows from the seed and from what it is drawn for: which picture in which epoch, which update. So the
number of worker processes and of training processes changes nothing, and a run that resumes needs no generator's state.
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What is drawn; the numbers are part of what a seed stands for."""

    WEIGHTS = 0
    ORDER = 1
    AUGMENTATION = 2
    MIXING = 3
    DROP_PATH = 4
    HOLD_OUT = 5


def draw(purpose: Purpose, *key: int) -> int:
    """Return 63 bits that follow from the key alone."""
    packed = struct.pack(f"<{len(key) + 1}q", purpose, *key)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def seed_all(purpose: Purpose, *key: int) -> None:
    """Seed the generators that augmentations draw from: Python's, NumPy's and PyTorch's."""
    import torch

    value = draw(purpose, *key)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.default_generator.manual_seed(value)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Give the caller's generators back as they were."""
    import torch

    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.default_generator.set_state(pytorch)
