"""What a file's input can hold, and how large a tensor may be. Every layer asks here; no target has a case of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

InputKind = Literal["tensor", "image", "uint8"]
InputType = Literal["float32", "uint8"]

ITEM_BYTES: dict[InputType, int] = {"float32": 4, "uint8": 1}

MAX_TENSOR_BYTES = 2**31
"""Of one float32 input or output; what a file claims beyond that is not believed, and what a user asks beyond that not tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What one kind of input holds.

    Attributes:
        dtype: of its values.
        pixels: they are those of a picture, 0 to 255, and the file normalises them; otherwise they come normalised.
        holds: in a few words, for people.
    """

    dtype: InputType
    pixels: bool
    holds: str


INPUTS: dict[InputKind, Input] = {
    "tensor": Input(dtype="float32", pixels=False, holds="RGB, normalised as below"),
    "image": Input(dtype="float32", pixels=True, holds="RGB, 0 to 255, normalised inside the model"),
    "uint8": Input(dtype="uint8", pixels=True, holds="RGB, bytes from 0 to 255, normalised inside the model"),
}
"""`image` and `uint8` hold the same numbers, in another type; so truth, noise and bound are the same."""


def tensor_bytes(shape: Sequence[int], dtype: InputType = "float32") -> int:
    """Return how many bytes a tensor of that shape and type has."""
    return ITEM_BYTES[dtype] * math.prod(shape)


def too_large(size: int) -> str:
    """Return, for more bytes than one input or output may have, the end of a sentence that says so; else nothing."""
    return f"would take {size / 1e9:.3g} GB, more than {MAX_TENSOR_BYTES / 1e9:.3g} GB" if size > MAX_TENSOR_BYTES else ""
