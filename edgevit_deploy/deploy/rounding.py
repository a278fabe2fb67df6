"""Rounding of activations to the steps of a grid, and of weights to the steps of each output channel, in two dialects.

Rounding is to the nearest step, half to even (as in ONNX's QuantizeLinear); what lies beyond the grid becomes its end.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.e4m3 import E4M3Grid
from edgevit_deploy.deploy.ranges import Range
from edgevit_deploy.deploy.scheme import LARGEST_E4M3, LARGEST_WEIGHT, Dialect, Scheme
from edgevit_deploy.errors import UsageError

SMALLEST_HALF = 2.0**-14
"""Half precision has smaller numbers, with ever fewer digits, and hardware may take them for zero."""

SMALLEST_WEIGHT = 1e-9
"""A channel whose weights are all smaller, or zero, has the step that this one would have: kernels refuse steps that are far from
those of the activations, and would for a step of 1."""

ENDS = {"u8": (0, 255), "s8": (-128, 127)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Integers that stand for values: value = scale * (integer - zero_point); `scale` is a float32 or float16 number."""

    scale: float
    zero_point: int
    lowest: int
    highest: int

    def rounded(self, x: Tensor, dialect: Dialect) -> Tensor:
        """Any shape -> the same shape, of the nearest values that the grid has."""
        if dialect == "trace":
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.lowest, self.highest)
        return _there_and_back(x, self)


def grid_of(extent: Range, scheme: Scheme) -> Grid | E4M3Grid:
    """Return the grid that covers a range, and zero, which padding needs, exactly."""
    if scheme.activations == "e4m3":
        return E4M3Grid(scale=_step(max(-extent.low, extent.high, 0.0) / LARGEST_E4M3, scheme))
    return integer_grid(extent, scheme)


def integer_grid(extent: Range, scheme: Scheme) -> Grid:
    """Return the same for integers."""
    lowest, highest = ENDS[scheme.activations]
    low, high = min(extent.low, 0.0), max(extent.high, 0.0)
    if scheme.symmetric:
        scale = _step(max(-low, high) / highest, scheme)
        return Grid(scale=scale, zero_point=0, lowest=lowest, highest=highest)
    scale = _step((high - low) / (highest - lowest), scheme)
    zero_point = min(highest, max(lowest, round(lowest - low / scale)))
    return Grid(scale=scale, zero_point=zero_point, lowest=lowest, highest=highest)


def weight_scales(weight: Tensor, *, highest: float = LARGEST_WEIGHT, half: bool = False) -> Tensor:
    """Return the step of each output channel of a weight (out, ...), whose largest value becomes `highest`.

    Returns:
        float32 (out,), half-precision numbers where asked.
    """
    largest = weight.detach().float().abs().flatten(1).amax(dim=1)
    steps = largest.clamp(min=SMALLEST_WEIGHT) / highest
    return steps.clamp(min=SMALLEST_HALF).half().float() if half else steps


class Rounding(nn.Module):
    """Rounds a tensor to a grid and goes on in floating point: an operator between quantise and dequantise."""

    def __init__(self, grid: Grid | E4M3Grid, dialect: Dialect) -> None:
        super().__init__()
        self.grid, self.dialect = grid, dialect

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return self.grid.rounded(x, self.dialect)


class RoundingOfEachRun(nn.Module):
    """Rounds values to the s8 grid of their own range, as kernels do that take float32 and round it themselves.

    They have a range for each vector that they multiply the weights by: for each position of a 1x1 convolution and each row of a
    linear map. A wider convolution has one for each picture. Range and zero point are XNNPACK's
    (`xnn_f32_qd8_asymmetric_quantization_params`): the range holds zero, and the zero point is rounded from the end at which less
    is lost.
    """

    def __init__(self, operator: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.axes = (-1,) if isinstance(operator, nn.Linear) else (1,) if set(operator.kernel_size) == {1} else (1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """What the operator takes -> the same shape."""
        lowest, highest = ENDS["s8"]
        low, high = x.amin(self.axes, keepdim=True).clamp(max=0), x.amax(self.axes, keepdim=True).clamp(min=0)
        steps = torch.where(high > low, (highest - lowest) / (high - low), torch.ones_like(high))
        from_low, from_high = lowest - low * steps, highest - high * steps
        zero_points = torch.where(lowest + low * steps + highest + high * steps > 0, from_low, from_high)
        zero_points = zero_points.clamp(lowest, highest).round()
        integers = (x * steps + zero_points).round().clamp(lowest, highest)
        return (integers - zero_points) / steps


class WeightRounding(nn.Module):
    """Rounds a weight (out, ...) to the steps of each output channel, zero point 0."""

    scales: Tensor
    zero_points: Tensor

    def __init__(self, weight: Tensor, dialect: Dialect, *, half: bool = False) -> None:
        super().__init__()
        self.dialect = dialect
        self.register_buffer("scales", weight_scales(weight, half=half))
        self.register_buffer("zero_points", torch.zeros(len(weight), dtype=torch.int32 if dialect == "trace" else torch.int64))

    def forward(self, weight: Tensor) -> Tensor:
        """(out, ...) -> the same shape."""
        if self.dialect == "trace":
            return torch.fake_quantize_per_channel_affine(weight, self.scales, self.zero_points, 0, -128, LARGEST_WEIGHT)
        decomposed = _decomposed()
        grid = (self.scales, self.zero_points, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT, torch.int8)
        integers = decomposed.quantize_per_channel(weight, *grid)
        return decomposed.dequantize_per_channel(integers, *grid)  # type: ignore[no-any-return]

    def integers(self, weight: Tensor) -> Tensor:
        """Return the integers that are stored: int8 (out, n)."""
        steps = (weight.float() / self.scales.view(-1, *[1] * (weight.dim() - 1))).round()
        return steps.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT).to(torch.int8).flatten(1)

    def rounded(self, weight: Tensor) -> Tensor:
        """Return the values for which the stored integers stand: (out, ...) -> the same shape."""
        return (self.integers(weight).float() * self.scales[:, None]).view_as(weight)


class WeightRoundingInTraining(nn.Module):
    """As `WeightRounding`, but to the steps that the weight has at the moment: an update changes them.

    Its gradient, and that of `Rounding`, is straight-through: 1 where a value is on the grid, 0 beyond its ends.
    """

    def __init__(self, *, in_half: bool) -> None:
        super().__init__()
        self.in_half = in_half

    def forward(self, weight: Tensor) -> Tensor:
        """(out, ...) -> the same shape."""
        scales = weight_scales(weight, half=self.in_half)
        zero_points = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, -128, LARGEST_WEIGHT)


def _there_and_back(x: Tensor, grid: Grid) -> Tensor:
    if grid.lowest < -128 or grid.highest > 127:
        raise UsageError("torch.export's dialect is written for s8 activations; choose those")
    decomposed = _decomposed()
    arguments = (grid.scale, grid.zero_point, grid.lowest, grid.highest, torch.int8)
    integers = decomposed.quantize_per_tensor(x, *arguments)
    return decomposed.dequantize_per_tensor(integers, *arguments)  # type: ignore[no-any-return]


def _decomposed() -> "torch._ops._OpNamespace":
    """Return the namespace of the operators that mark rounding in an exported graph; importing the module registers them."""
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed


def _step(value: float, scheme: Scheme) -> float:
    """Return a positive step as the float32 number, or that of half precision, that files hold; of a range of nothing, 1."""
    if scheme.half:
        return float(np.float16(max(value, SMALLEST_HALF))) if value else 1.0
    return float(np.float32(value)) or 1.0
