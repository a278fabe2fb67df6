"""The MIL operators that a network is made of; feature maps are (batch, channels, height, width).

See `runtimes.coreml.mil.ops` for what all of them have in common.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from runtimes.coreml.mil.operands import Number, ints, refuse


def gelu(*, x: Tensor, mode: str) -> Tensor:
    """GELU by the error function, or one of its two documented approximations."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    approximate = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    if mode not in approximate:
        refuse("gelu", "mode", mode, ", ".join([*approximate, "SIGMOID_APPROXIMATION"]))
    return F.gelu(x, approximate=approximate[mode])


def softmax(*, x: Tensor, axis: int) -> Tensor:
    """Softmax along one axis."""
    return x.softmax(dim=axis)


def conv(
    *,
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: int,
    bias: Tensor | None = None,
) -> Tensor:
    """2-D convolution; weight (out, in / groups, kernel_h, kernel_w), pad (top, bottom, left, right)."""
    _check_2d("conv", x)
    return F.conv2d(
        F.pad(x, _pads("conv", pad_type, pad)), weight, bias, stride=ints(strides), dilation=ints(dilations), groups=groups
    )


def conv_transpose(
    *,
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: int,
    bias: Tensor | None = None,
    output_shape: Tensor | None = None,
) -> Tensor:
    """2-D transposed convolution, then cropped by pad; weight (in, out / groups, kernel_h, kernel_w)."""
    _check_2d("conv_transpose", x)
    left, right, top, bottom = _pads("conv_transpose", pad_type, pad)
    full = F.conv_transpose2d(x, weight, bias, stride=ints(strides), dilation=ints(dilations), groups=groups)
    result = full[..., top : full.shape[-2] - bottom, left : full.shape[-1] - right]
    if output_shape is not None and ints(output_shape) != list(result.shape):
        refuse("conv_transpose", "output_shape", ints(output_shape), f"the one that follows, {list(result.shape)}")
    return result


def avg_pool(
    *,
    x: Tensor,
    kernel_sizes: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    ceil_mode: bool,
    exclude_padding_from_average: bool,  # noqa: ARG001 - without padding there is nothing to exclude
) -> Tensor:
    """2-D average pooling without padding."""
    _check_pool("avg_pool", x, pad_type, pad, ceil_mode)
    return F.avg_pool2d(x, ints(kernel_sizes), ints(strides))


def max_pool(*, x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: bool) -> Tensor:
    """2-D maximum pooling without padding."""
    _check_pool("max_pool", x, pad_type, pad, ceil_mode)
    return F.max_pool2d(x, ints(kernel_sizes), ints(strides))


def batch_norm(
    *, x: Tensor, mean: Tensor, variance: Tensor, epsilon: float, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    """Normalise each channel (axis 1) by stored statistics."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


def layer_norm(*, x: Tensor, axes: Tensor, epsilon: float, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """Normalise over the axes together, by the biased variance; gamma and beta have the shape of these axes."""
    over = {axis % x.ndim for axis in ints(axes)}
    variance, mean = torch.var_mean(x, dim=tuple(over), correction=0, keepdim=True)
    result = (x - mean) / (variance + epsilon).sqrt()
    affine = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    if gamma is not None:
        result = result * gamma.reshape(affine)
    return result if beta is None else result + beta.reshape(affine)


def linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight^T + bias; weight (out, in)."""
    return F.linear(x, weight, bias)


def matmul(*, x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
    """Batched matrix product of the last two axes, either operand transposed first."""
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def scaled_dot_product_attention(*, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Softmax(query key^T / sqrt(channels) + mask) value; False in a boolean mask means no attention."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
    return torch.matmul(scores.softmax(dim=-1), value)


def reduce_mean(*, x: Tensor, axes: Tensor | None = None, keep_dims: bool) -> Tensor:
    """Mean over the axes; over all without them."""
    return x.mean(dim=list(range(x.ndim)) if axes is None else ints(axes), keepdim=keep_dims)


def reduce_sum(*, x: Tensor, axes: Tensor | None = None, keep_dims: bool) -> Tensor:
    """Sum over the axes; over all without them."""
    return x.sum(dim=list(range(x.ndim)) if axes is None else ints(axes), keepdim=keep_dims)


def pixel_shuffle(*, x: Tensor, upscale_factor: int) -> Tensor:
    """(batch, channels * factor^2, height, width) -> (batch, channels, height * factor, width * factor)."""
    return F.pixel_shuffle(x, upscale_factor)


def upsample_nearest_neighbor(*, x: Tensor, scale_factor_height: Number, scale_factor_width: Number) -> Tensor:
    """Repeat rows and columns (the last two axes) a whole number of times."""
    for name, factor in (("scale_factor_height", scale_factor_height), ("scale_factor_width", scale_factor_width)):
        if factor != int(factor):
            refuse("upsample_nearest_neighbor", name, factor, "whole factors")
    return x.repeat_interleave(int(scale_factor_height), -2).repeat_interleave(int(scale_factor_width), -1)


def upsample_bilinear(
    *,
    x: Tensor,
    scale_factor_height: Number,
    scale_factor_width: Number,
    align_corners: bool,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Interpolate rows and columns (the last two axes) linearly, a whole number of times as many of them."""
    _check_2d("upsample_bilinear", x)
    for name, factor in (("scale_factor_height", scale_factor_height), ("scale_factor_width", scale_factor_width)):
        if factor != int(factor):
            refuse("upsample_bilinear", name, factor, "whole factors")
    if half_pixel_centers not in (None, not align_corners):
        refuse("upsample_bilinear", "half_pixel_centers", half_pixel_centers, f"{not align_corners}, as align_corners leaves it")
    size = x.shape[-2] * int(scale_factor_height), x.shape[-1] * int(scale_factor_width)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def _check_2d(op: str, x: Tensor) -> None:
    if x.ndim != 4:
        refuse(op, "rank of x", x.ndim, "4")


def _pads(op: str, pad_type: str, pad: Tensor) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom) from MIL's (top, bottom, left, right)."""
    if pad_type == "valid":
        return 0, 0, 0, 0
    if pad_type != "custom":
        refuse(op, "pad_type", pad_type, "valid, custom")
    top, bottom, left, right = ints(pad)
    return left, right, top, bottom


def _check_pool(op: str, x: Tensor, pad_type: str, pad: Tensor, ceil_mode: bool) -> None:
    _check_2d(op, x)
    if ceil_mode:
        refuse(op, "ceil_mode", ceil_mode, "False")
    if any(_pads(op, pad_type, pad)):
        refuse(op, "pad", ints(pad), "zeros")
