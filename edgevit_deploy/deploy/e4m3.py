"""Eight-bit floating point: E4M3 numbers (four bits of exponent, three of mantissa, 448 the largest) times a scale.

A value is divided by the scale, clipped to 448 on either side, rounded to the nearest E4M3 number, half to even, and multiplied
by the scale again: as NVIDIA defines it ("Quantization Schemes" in the documentation of TensorRT). The scale makes the largest
value 448, as in NVIDIA's Model Optimizer (`448 / amax` in its `tensor_quant.py`).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.scheme import LARGEST_E4M3, Dialect

E4M3 = torch.float8_e4m3fn


@torch.library.custom_op("edgevit_deploy::through_e4m3", mutates_args=())
def through_e4m3(x: Tensor, scales: Tensor) -> Tensor:
    """Round to E4M3 numbers times a scale: one operator, so that a trace shows it as one.

    Args:
        x: any shape.
        scales: one, or (n,): one for each of the n that the first axis has.
    """
    steps = _beside(scales, x)
    return _e4m3(x / steps).to(x.dtype) * steps


@dataclass(frozen=True, slots=True, kw_only=True)
class E4M3Grid:
    """E4M3 numbers that stand for values: value = scale * number; `scale` is a float32 number."""

    scale: float
    zero_point: ClassVar[int] = 0

    def rounded(self, x: Tensor, dialect: Dialect) -> Tensor:  # noqa: ARG002 - the same operator in both
        """Any shape -> the same shape, of the nearest values that the grid has."""
        return through_e4m3(x, torch.tensor(self.scale))  # type: ignore[no-any-return]


class E4M3WeightRounding(nn.Module):
    """Rounds a weight (out, ...) to E4M3 numbers times a scale for each output channel.

    Args:
        scales: float32 (out,).
    """

    scales: Tensor

    def __init__(self, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("scales", scales)

    def forward(self, weight: Tensor) -> Tensor:
        """(out, ...) -> the same shape."""
        return through_e4m3(weight, self.scales)  # type: ignore[no-any-return]

    def integers(self, weight: Tensor) -> Tensor:
        """Return the bits of the numbers that are stored: int8 (out, n)."""
        return _e4m3(weight / _beside(self.scales, weight)).view(torch.int8).flatten(1)

    def rounded(self, weight: Tensor) -> Tensor:
        """Return the values for which the stored numbers stand: (out, ...) -> the same shape."""
        return self(weight)  # type: ignore[no-any-return]


def _e4m3(numbers: Tensor) -> Tensor:
    """Return the nearest E4M3 numbers; the type by itself has no value for what is beyond its largest."""
    return numbers.clamp(-LARGEST_E4M3, LARGEST_E4M3).to(E4M3)


def _beside(scales: Tensor, x: Tensor) -> Tensor:
    """Return scales in a shape that multiplies the first axis of a tensor."""
    return scales.view(-1, *[1] * (x.dim() - 1)) if scales.dim() else scales
