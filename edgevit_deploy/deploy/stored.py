"""What a file states of a rounding, and whether that is what its graph was rounded by."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """The rounded weights of one operator.

    Attributes:
        scales: float32 (out,); of weights with a table, the table.
        values: int8 (out, n); in which order the n are is the format's own. Of weights with a table, places in it less 128; of
            E4M3 numbers, their bits.
    """

    scales: NDArray[np.float32]
    values: NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored of a rounding; in which order is of no account.

    Attributes:
        activations: scale and zero point of every value that is rounded to a grid.
        weights: of every operator that is rounded.
    """

    activations: tuple[tuple[float, int], ...]
    weights: tuple[StoredWeights, ...]


def differences(found: Stored, expected: Stored) -> list[str]:
    """Return in sentences what of a rounding a file states otherwise; nothing where it states the same.

    Formats share a tensor's grid among its readers, or split one, so of activations each must be there and no other. Weights
    are compared channel by channel: the scale, and how often each integer occurs.
    """
    sentences = []
    missing, extra = (set(a.activations) - set(b.activations) for a, b in ((expected, found), (found, expected)))
    if missing or extra:
        sentences.append(
            f"{len(missing)} of {len(set(expected.activations))} grids of activations are missing"
            f"{_example(missing)}, {len(extra)} are of none{_example(extra)}"
        )
    here, there = (Counter(map(_channels, side.weights)) for side in (found, expected))
    if here != there:
        sentences.append(
            f"the weights of {sum((there - here).values())} of {len(expected.weights)} operators are missing, and of "
            f"{sum((here - there).values())} there are others"
        )
    return sentences


def _channels(weights: StoredWeights) -> tuple[bytes, bytes]:
    return weights.scales.astype("<f4").tobytes(), _sorted(weights.values).tobytes()


def _sorted(values: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.sort(values, axis=1)


def _example(grids: set[tuple[float, int]]) -> str:
    if not grids:
        return ""
    scale, zero_point = min(grids)
    return f" (scale {scale:.6g}, zero point {zero_point})"
