"""Makes `edgevit_deploy/examples/vectors.json`: what the samples' own preprocessing must give, by Pillow and NumPy.

Every language of the samples reads that file and makes the pictures itself, from a seed: no pixels are stored, only the hash of
what Pillow makes of them. `python -m tests.helpers.vectors` writes it; a test makes it again and compares.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgevit_deploy.data.pictures import _upright
from edgevit_deploy.data.preprocess import _resize_and_crop, normalise
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.parity.gate import top_classes
from edgevit_deploy.spec import Preprocess

VECTORS = Path(__file__).parents[2] / "edgevit_deploy/examples/vectors.json"

ABOUT = (
    "Made by Pillow and NumPy (tests/helpers/vectors.py). A picture is made from its seed, byte by byte, rows from the top, "
    "three bytes (R, G, B) a pixel: state = seed, then for each byte state = (state * 1664525 + 1013904223) mod 2^32; the byte "
    "is state >> 24 for the kind noise, and 255 * (state >> 31) for extremes. sha256 is of the resulting bytes in the same "
    "order; of a tensor, of its little-endian float32 values (3, height, width)."
)

MULTIPLIER, INCREMENT = 1664525, 1013904223
SIZES = 300
SEED = 20260131

Pixels = NDArray[np.uint8]


def made(seed: int, kind: str, width: int, height: int) -> Pixels:
    """Return the picture of a seed: uint8 (height, width, 3)."""
    count = 3 * width * height
    powers = np.cumprod(np.full(count, MULTIPLIER, dtype=np.uint32), dtype=np.uint32)  # all of it modulo 2^32
    sums = np.cumsum(np.concatenate([[np.uint32(1)], powers[:-1]]), dtype=np.uint32)
    states = powers * np.uint32(seed) + sums * np.uint32(INCREMENT)
    values = states >> 24 if kind == "noise" else (states >> 31) * 255
    return values.astype(np.uint8).reshape(height, width, 3)


def resize_vectors() -> Iterator[dict[str, Any]]:
    """Yield pictures of many sizes and what becomes of them: smaller, larger, odd, of one pixel, four times as wide as high."""
    draw = random.Random(SEED)
    fixed = [
        (1, 1, 1, 1),
        (1, 1, 7, 5),
        (64, 64, 1, 1),
        (1, 97, 1, 13),
        (97, 1, 13, 1),
        (640, 160, 256, 64),
        (33, 57, 33, 20),
        (33, 57, 20, 57),
        (224, 224, 224, 224),
        (2, 2, 256, 256),
        (400, 300, 341, 256),
        (255, 257, 256, 256),
    ]
    drawn = [tuple(1 + int(draw.random() ** 2 * 320) for _ in range(4)) for _ in range(SIZES - len(fixed))]
    for number, (width, height, to_width, to_height) in enumerate([*fixed, *drawn]):
        kind, interpolation = ("noise", "extremes")[number % 2], ("bicubic", "bicubic", "bilinear")[number % 3]
        filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
        picture = Image.fromarray(made(number, kind, width, height)).resize((to_width, to_height), filters[interpolation])
        yield {
            "seed": number,
            "kind": kind,
            "size": [height, width],
            "resized": [to_height, to_width],
            "interpolation": interpolation,
            "sha256": _sha256(np.asarray(picture)),
        }


def picture_vectors() -> Iterator[dict[str, Any]]:
    """Yield whole pictures and their preprocessing: the pixels after resize and crop, and the tensor that a network takes."""
    plain = Preprocess(resize=(256, 256), crop=(224, 224))
    small = Preprocess(resize=(73, 73), crop=(64, 64), interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    cases = [
        (plain, 640, 427),
        (plain, 427, 640),
        (plain, 1000, 250),
        (plain, 31, 47),
        (plain, 256, 256),
        (plain, 257, 256),
        (small, 640, 481),
        (small, 75, 64),
        (replace(small, fit="stretch"), 200, 111),
        (replace(plain, resize=(101, 160), crop=(96, 128)), 333, 500),
        (replace(plain, value_range=(-1.0, 1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), 300, 300),
        (plain, 4000, 3000),
    ]
    for number, (preprocess, width, height) in enumerate(cases, start=1000):
        picture = Image.fromarray(made(number, "noise", width, height))
        pixels = np.asarray(_resize_and_crop(picture, preprocess))
        yield {
            "seed": number,
            "kind": "noise",
            "size": [height, width],
            "preprocess": preprocess,
            "sha256": _sha256(pixels),
            "tensor_sha256": _sha256(normalise(pixels[None], preprocess, "tensor")),
            "image_sha256": _sha256(normalise(pixels[None], preprocess, "image")),
            "uint8_sha256": _sha256(normalise(pixels[None], preprocess, "uint8")),
        }


def upright_vectors() -> Iterator[dict[str, Any]]:
    """Yield a picture turned upright from each orientation that EXIF knows, and from numbers that it does not."""
    for orientation in range(10):
        picture = Image.fromarray(made(2000 + orientation, "noise", 7, 5))
        turned = _upright(picture, orientation)
        yield {
            "seed": 2000 + orientation,
            "kind": "noise",
            "size": [5, 7],
            "orientation": orientation,
            "upright": [turned.height, turned.width],
            "sha256": _sha256(np.asarray(turned)),
        }


def top_vectors() -> Iterator[dict[str, Any]]:
    """Yield outputs and the places of the largest five: of equal ones the first."""
    draw = random.Random(SEED)
    rows = [[0.0], [1.0, 1.0, 1.0], [3.0, -2.0, 3.0, 9.5, 9.5, 0.0, 3.0], [float(draw.randrange(-9, 9)) for _ in range(40)]]
    rows.append([-3.0, -0.0, 0.0, -0.0, -1.0])  # a zero is a zero, whatever its sign
    for row in rows:
        (best,) = top_classes(np.array([row], dtype=np.float32), [str(place) for place in range(len(row))])
        yield {"values": row, "top": [int(place) for place, _ in best]}


def vectors() -> bytes:
    """Return the whole file."""
    small = made(1, "noise", 3, 2)
    return json_bytes(
        {
            "about": ABOUT,
            "made": {"seed": 1, "kind": "noise", "size": [2, 3], "pixels": small.tobytes().hex()},
            "resize": list(resize_vectors()),
            "pictures": list(picture_vectors()),
            "upright": list(upright_vectors()),
            "top": list(top_vectors()),
        }
    )


def _sha256(values: NDArray[Any]) -> str:
    data = np.ascontiguousarray(values)
    return hashlib.sha256((data.astype("<f4") if data.dtype == np.float32 else data).tobytes()).hexdigest()


if __name__ == "__main__":
    VECTORS.write_bytes(vectors())
