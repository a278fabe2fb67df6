"""What a private graph is declared to be, beside its body: Core AI may run a kernel of its own by the declaration.

So both must compute the same. On drawn values, small enough that a wrong epsilon shows, the body is evaluated and the declaration
computed; a program in which they differ is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from edgevit_deploy.dataflow import ROUND, Declared, Program, ints, not_implemented
from edgevit_deploy.errors import RunError

DRAWN_AMPLITUDE = 1e-3
"""The square is the published epsilon."""

FREE_EXTENT = 2
"""What a free axis is taken for."""

TOLERANCE = 1e-2
"""Of the largest value; rounding in half precision leaves 1e-3, another epsilon or axis changes all."""


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, axes: list[float], eps: float) -> Tensor:
    """Normalise over axes by the biased variance."""
    over = [int(axis) for axis in axes]
    variance, mean = torch.var_mean(x, dim=over, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * gamma + beta


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    """Normalise each channel (axis 1) by stored statistics."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=eps)


def pixel_shuffle(x: Tensor, *, upscale_factor: float) -> Tensor:
    """(batch, channels * factor^2, height, width) -> (batch, channels, height * factor, width * factor)."""
    return F.pixel_shuffle(x, int(upscale_factor))


def avg_pool_2d(
    x: Tensor, kernel_size: Tensor, stride: Tensor, padding: Tensor, ceil_mode: Tensor, include_pad: Tensor, divisor: Tensor
) -> Tensor:
    """2-D mean; a divisor of 0 is none."""
    return F.avg_pool2d(
        x,
        ints(kernel_size),
        ints(stride),
        padding=ints(padding),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(include_pad),
        divisor_override=int(divisor) or None,
    )


DECLARED: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (layer_norm, batch_norm, pixel_shuffle, avg_pool_2d)
}
"""Kind of composite -> what it computes by its declaration."""


def check_composite(kind: str, attributes: dict[str, Any], body: Program, constants: dict[str, Tensor]) -> None:
    """Compare a body with its declaration on drawn values.

    Args:
        kind: what the graph is declared to be.
        attributes: of the declaration.
        body: the graph's own operations, as a program.
        constants: what callers give it as constants of whole numbers, by the name of the input.

    Raises:
        RunError: they differ, or the declaration is not known here.
    """
    if kind not in DECLARED:
        not_implemented("a composite", "kind", kind, ", ".join(DECLARED))
    generator = torch.Generator().manual_seed(0)
    drawn = {value.name: constants[value.name] if value.name in constants else _draw(value, generator) for value in body.inputs}
    (computed,) = body.evaluate(drawn).values()
    stored = [value.store(drawn[value.name]) for value in body.inputs]
    expected = DECLARED[kind](*stored, **{name: value for name, value in attributes.items() if name != "version"})
    error = float((computed - expected).abs().max()) if computed.shape == expected.shape else float("inf")
    if not error <= TOLERANCE * float(expected.abs().max()):
        said = ", ".join(f"{name} = {value}" for name, value in attributes.items())
        raise RunError(f"a graph is declared to be {kind} ({said}), and computes something else: off by {error:.3g}")


def _draw(value: Declared, generator: torch.Generator) -> Tensor:
    """Return small noise; a vector (a scale or statistics, which may be a variance) is positive and about 1."""
    shape = [size or FREE_EXTENT for size in value.shape]
    noise = torch.randn(shape, generator=generator)
    drawn = DRAWN_AMPLITUDE * noise if value.dtype in ("fp32", "fp16") and len(shape) > 1 else 1e-3 * noise.abs()
    return ROUND[value.dtype](drawn)
