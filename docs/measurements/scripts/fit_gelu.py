"""The coefficients of export/mnn/gelu.py: the polynomials for which x * (1/2 + x * P(x^2) / Q(x^2)) is nearest to GELU.

    python docs/measurements/scripts/fit_gelu.py [DEGREE]

Lawson's iteration: least squares of erf(x / sqrt(2)) / 2x, weighted by what an error of it does to Phi and, again and again, by
the error that was left, which makes the largest one as small as it can be. Then errors in float32 beside PyTorch's.
"""

import math
import sys

import numpy as np
import torch

from export.mnn.gelu import LARGEST_SQUARE

ROUNDS = 400


def fit(degree: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the coefficients above and below, the constants first, and the largest error of Phi by them, in float64."""
    x = np.linspace(1e-3, math.sqrt(LARGEST_SQUARE), 12001)
    wanted = np.array([math.erf(value / math.sqrt(2)) for value in x]) / (2 * x)
    powers = np.stack([(x * x / LARGEST_SQUARE) ** power for power in range(degree + 1)], axis=1)
    terms = np.concatenate([powers, -powers[:, 1:] * wanted[:, None]], axis=1)
    weights, divisor, least = np.ones_like(x), np.ones_like(x), math.inf
    for number in range(ROUNDS):
        by = x * np.sqrt(weights) / divisor
        found, *_ = np.linalg.lstsq(terms * by[:, None], wanted * by)
        above, below = found[: degree + 1], np.concatenate([[1.0], found[degree + 1 :]])
        divisor = powers @ below
        errors = np.abs(x * (powers @ above / divisor - wanted))
        if errors.max() < least and (divisor > 0).all():
            least, best = float(errors.max()), (above, below)
        if number > ROUNDS // 10:
            weights *= np.sqrt(errors / errors.max()) + 1e-3
            weights /= weights.mean()
    scale = LARGEST_SQUARE ** np.arange(degree + 1)
    return best[0] / scale, best[1] / scale, least


def in_float32(x: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    square = np.minimum(x * x, np.float32(LARGEST_SQUARE))
    values = []
    for coefficients in (above, below):
        value = np.full_like(x, coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = value * square + np.float32(coefficient)
        values.append(value)
    share = x * values[0] / values[1] + np.float32(0.5)
    return x * np.clip(share, np.float32(0), np.float32(1))


def main(degree: int = 5) -> None:
    above, below, error = fit(degree)
    for coefficients in (above, below):
        print(", ".join(f"{value:.9g}" for value in coefficients))
    print(f"largest error of Phi in float64: {error:.2e}")
    for reach in (1, 8):
        x = np.linspace(-reach, reach, 200001).astype(np.float32)
        exact = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
        ours, pytorch = in_float32(x, above, below), torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
        for name, values in (("by the quotient", ours), ("PyTorch", pytorch)):
            errors = np.abs(values - exact)
            print(
                f"float32, |x| <= {reach}, {name}: largest {errors.max():.2e}, root mean square {np.sqrt((errors**2).mean()):.2e}"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
