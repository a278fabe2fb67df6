"""The coefficients of export/mnn/gelu.py: the polynomial P for which x * sigmoid(x * P(x^2)) is nearest to GELU, and how near.

    python docs/measurements/scripts/fit_gelu.py [COEFFICIENTS] [LARGEST SQUARE]

Lawson's iteration: least squares of log(Phi(x) / Phi(-x)) / x, weighted by what an error of it does to GELU and, again and
again, by the error that was left, which makes the largest one as small as it can be. Then its errors in float32, and PyTorch's.
"""

import math
import sys

import numpy as np
import torch

ROUNDS = 400


def fit(count: int, largest_square: float) -> tuple[np.ndarray, float]:
    """Return the coefficients, the constant first, and the largest error of GELU by them, in float64."""
    x = np.linspace(1e-3, 10, 60001)
    tail = np.array([math.erfc(value / math.sqrt(2)) / 2 for value in x])
    exponent = np.log1p(-tail) - np.log(tail)
    slope = x * x * tail * (1 - tail)
    powers = np.stack([(np.minimum(x * x, largest_square) / largest_square) ** power for power in range(count)], axis=1)
    weights, best = np.ones_like(x), (np.zeros(count), math.inf)
    for _ in range(ROUNDS):
        by = slope * np.sqrt(weights)
        found, *_ = np.linalg.lstsq(powers * by[:, None], exponent / x * by)
        errors = np.abs(x / (1 + np.exp(x * (powers @ found))) - x * tail)
        if errors.max() < best[1]:
            best = found / largest_square ** np.arange(count), float(errors.max())
        weights *= np.sqrt(errors / errors.max()) + 1e-4
        weights /= weights.mean()
    return best


def in_float32(x: np.ndarray, coefficients: np.ndarray, largest_square: float) -> np.ndarray:
    square = np.minimum(x * x, np.float32(largest_square))
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * square + np.float32(coefficient)
    return x * (1 / (1 + np.exp(-x * value)))


def main(count: int = 7, largest_square: float = 28) -> None:
    coefficients, error = fit(count, largest_square)
    print(", ".join(f"{value:.9g}" for value in coefficients), f"\nlargest error in float64: {error:.2e}")
    x = np.linspace(-8, 8, 200001).astype(np.float32)
    exact = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    ours, pytorch = in_float32(x, coefficients, largest_square), torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    for name, values in (("by the polynomial", ours), ("PyTorch", pytorch)):
        errors = np.abs(values - exact)
        print(f"in float32 on [-8, 8], {name}: largest {errors.max():.2e}, root mean square {np.sqrt((errors**2).mean()):.2e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
