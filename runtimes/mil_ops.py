"""What each MIL operator computes: one pure function an operator, in PyTorch on the CPU.

A function takes its operator's inputs under their MIL names: tensors as `Tensor` (int32, bool, or float32, also for values
that a program declares half precision, because the caller rounds every result), scalars and strings as Python values. Source
of every semantics: the operator documentation of coremltools 9.0 (`coremltools.converters.mil.mil.ops.defs`), iOS 15 to 18.
A value outside what is implemented is refused by name, never approximated.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from edgevit_deploy.errors import RunError

Number = int | float
Operand = Tensor | Number


def _refuse(op: str, attribute: str, value: object, known: str) -> NoReturn:
    raise RunError(f"MIL op {op}: {attribute}={value!r} is not implemented here; implemented: {known}")


def _ints(values: Tensor) -> list[int]:
    return [int(value) for value in values.tolist()]


# Arithmetic. Two integers stay integers; broadcasting is NumPy's.


def add(*, x: Operand, y: Operand) -> Tensor:
    """Return x + y."""
    return torch.as_tensor(x) + y


def sub(*, x: Operand, y: Operand) -> Tensor:
    """Return x - y."""
    return torch.as_tensor(x) - y


def mul(*, x: Operand, y: Operand) -> Tensor:
    """Return x * y."""
    return torch.as_tensor(x) * y


def real_div(*, x: Operand, y: Operand) -> Tensor:
    """Return x / y for floats; what a device does with integers is not documented, so they are refused."""
    result = torch.as_tensor(x)
    if not result.is_floating_point():
        _refuse("real_div", "x", result.dtype, "floats")
    return result / y


def floor_div(*, x: Operand, y: Operand) -> Tensor:
    """Return x / y rounded towards minus infinity."""
    return torch.div(torch.as_tensor(x), torch.as_tensor(y), rounding_mode="floor")


def power(*, x: Operand, y: Operand) -> Tensor:
    """MIL `pow`: x to the power of y."""
    return torch.pow(torch.as_tensor(x), torch.as_tensor(y))


def sqrt(*, x: Tensor) -> Tensor:
    """Return the square root."""
    return x.sqrt()


def rsqrt(*, x: Tensor, epsilon: float) -> Tensor:
    """Return 1 / sqrt(x + epsilon)."""
    return 1 / (x + epsilon).sqrt()


def sigmoid(*, x: Tensor) -> Tensor:
    """Return the logistic function."""
    return x.sigmoid()


def gelu(*, x: Tensor, mode: str) -> Tensor:
    """GELU by the error function, or one of its two documented approximations."""
    if mode == "EXACT":
        return F.gelu(x)
    if mode == "TANH_APPROXIMATION":
        return F.gelu(x, approximate="tanh")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    _refuse("gelu", "mode", mode, "EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION")


def softmax(*, x: Tensor, axis: int) -> Tensor:
    """Softmax along one axis."""
    return x.softmax(dim=axis)


def cast(*, x: Operand, dtype: str) -> Tensor:  # noqa: ARG001 - the caller rounds to the declared type, which is this one
    """Change the type; floats are truncated towards zero when they become integers."""
    return torch.as_tensor(x)


def identity(*, x: Tensor) -> Tensor:
    """Return x."""
    return x


# Layers. Feature maps are (batch, channels, height, width).


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
        F.pad(x, _pads("conv", pad_type, pad)), weight, bias, stride=_ints(strides), dilation=_ints(dilations), groups=groups
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
    full = F.conv_transpose2d(x, weight, bias, stride=_ints(strides), dilation=_ints(dilations), groups=groups)
    result = full[..., top : full.shape[-2] - bottom, left : full.shape[-1] - right]
    if output_shape is not None and _ints(output_shape) != list(result.shape):
        _refuse("conv_transpose", "output_shape", _ints(output_shape), f"the one that follows, {list(result.shape)}")
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
    return F.avg_pool2d(x, _ints(kernel_sizes), _ints(strides))


def max_pool(*, x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: bool) -> Tensor:
    """2-D maximum pooling without padding."""
    _check_pool("max_pool", x, pad_type, pad, ceil_mode)
    return F.max_pool2d(x, _ints(kernel_sizes), _ints(strides))


def batch_norm(
    *, x: Tensor, mean: Tensor, variance: Tensor, epsilon: float, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    """Normalise each channel (axis 1) by stored statistics."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


def layer_norm(
    *, x: Tensor, axes: Tensor, epsilon: float, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    """Normalise over the axes together, by the biased variance; gamma and beta have the shape of these axes."""
    over = {axis % x.ndim for axis in _ints(axes)}
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


def scaled_dot_product_attention(
    *, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """Softmax(query key^T / sqrt(channels) + mask) value; False in a boolean mask means no attention."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
    return scores.softmax(dim=-1) @ value


def reduce_mean(*, x: Tensor, axes: Tensor | None = None, keep_dims: bool) -> Tensor:
    """Mean over the axes; over all without them."""
    return x.mean(dim=list(range(x.ndim)) if axes is None else _ints(axes), keepdim=keep_dims)


def pixel_shuffle(*, x: Tensor, upscale_factor: int) -> Tensor:
    """(batch, channels * factor^2, height, width) -> (batch, channels, height * factor, width * factor)."""
    return F.pixel_shuffle(x, upscale_factor)


def upsample_nearest_neighbor(*, x: Tensor, scale_factor_height: Number, scale_factor_width: Number) -> Tensor:
    """Repeat rows and columns (the last two axes) a whole number of times."""
    for name, factor in (("scale_factor_height", scale_factor_height), ("scale_factor_width", scale_factor_width)):
        if factor != int(factor):
            _refuse("upsample_nearest_neighbor", name, factor, "whole factors")
    return x.repeat_interleave(int(scale_factor_height), -2).repeat_interleave(int(scale_factor_width), -1)


def classify(*, probabilities: Tensor, classes: Sequence[str]) -> tuple[str, Tensor]:
    """Return the label of the largest probability, and the probabilities in the order of the labels."""
    return classes[int(probabilities.argmax())], probabilities


# Shapes and indices.


def shape(*, x: Tensor) -> Tensor:
    """Return the shape as int32."""
    return torch.tensor(x.shape, dtype=torch.int32)


def reshape(*, x: Tensor, shape: Tensor) -> Tensor:
    """Same elements, new shape; 0 keeps the extent of that axis, one -1 is computed."""
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(_ints(shape))])


def transpose(*, x: Tensor, perm: Tensor) -> Tensor:
    """Permute the axes."""
    return x.permute(_ints(perm))


def slice_by_index(
    *,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """NumPy slicing by axis; a mask drops that begin or end, the squeeze mask turns the slice into an index."""
    steps = [1] * x.ndim if stride is None else _ints(stride)
    if min(steps) < 1:
        _refuse("slice_by_index", "stride", steps, "positive strides")
    unset = torch.zeros(x.ndim, dtype=torch.bool)
    begins, ends = _ints(begin), _ints(end)
    no_begin, no_end, squeeze = (
        (unset if mask is None else mask).tolist() for mask in (begin_mask, end_mask, squeeze_mask)
    )
    index: list[int | slice] = []
    for axis in range(x.ndim):
        first = None if no_begin[axis] else begins[axis]
        last = None if no_end[axis] else ends[axis]
        index.append((first or 0) if squeeze[axis] else slice(first, last, steps[axis]))
    return x[tuple(index)]


def gather(
    *, x: Tensor, indices: Operand, axis: int, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """Take entries along one axis; the axes of `indices` replace it."""
    if batch_dims != 0:
        _refuse("gather", "batch_dims", batch_dims, "0")
    wanted = torch.as_tensor(indices, dtype=torch.int64)
    size = x.shape[axis]
    if wanted.numel() and not 0 <= int(wanted.min()) <= int(wanted.max()) < size:
        # From iOS 17 on, whatever validate_indices says, a device may answer anything here, negative indices included.
        _refuse("gather", "indices", (int(wanted.min()), int(wanted.max()), validate_indices), f"0 to {size - 1}")
    axis %= x.ndim
    return x.index_select(axis, wanted.flatten()).reshape(x.shape[:axis] + wanted.shape + x.shape[axis + 1 :])


def concat(*, values: Sequence[Operand], axis: int, interleave: bool) -> Tensor:
    """Join along an axis; scalars become a vector."""
    if interleave:
        _refuse("concat", "interleave", interleave, "False")
    return torch.cat([torch.atleast_1d(torch.as_tensor(value)) for value in values], dim=axis)


def split(*, x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Cut along an axis, into given sizes or into equal parts."""
    if split_sizes is not None:
        return x.split(_ints(split_sizes), dim=axis)
    if not num_splits or x.shape[axis] % num_splits:
        _refuse("split", "num_splits", num_splits, f"divisors of {x.shape[axis]}")
    return x.split(x.shape[axis] // num_splits, dim=axis)


def squeeze(*, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop the given axes of extent 1, or all such axes."""
    if axes is None:
        return x.squeeze()
    extents = [x.shape[axis] for axis in _ints(axes)]
    if extents != [1] * len(extents):
        _refuse("squeeze", "axes", _ints(axes), f"axes of extent 1, these have {extents}")
    return x.squeeze(_ints(axes))


def expand_dims(*, x: Tensor, axes: Tensor) -> Tensor:
    """Insert axes of extent 1; their numbers are those of the result."""
    x = torch.as_tensor(x)
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


def tile(*, x: Tensor, reps: Tensor) -> Tensor:
    """Repeat the whole tensor along each axis."""
    return x.tile(_ints(reps))


def _check_2d(op: str, x: Tensor) -> None:
    if x.ndim != 4:
        _refuse(op, "rank of x", x.ndim, "4")


def _pads(op: str, pad_type: str, pad: Tensor) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom) from MIL's (top, bottom, left, right)."""
    if pad_type == "valid":
        return 0, 0, 0, 0
    if pad_type != "custom":
        _refuse(op, "pad_type", pad_type, "valid, custom")
    top, bottom, left, right = _ints(pad)
    return left, right, top, bottom


def _check_pool(op: str, x: Tensor, pad_type: str, pad: Tensor, ceil_mode: bool) -> None:
    _check_2d(op, x)
    if ceil_mode:
        _refuse(op, "ceil_mode", ceil_mode, "False")
    if any(_pads(op, pad_type, pad)):
        _refuse(op, "pad", _ints(pad), "zeros")


Result = Tensor | tuple[Tensor, ...] | tuple[str, Tensor]

OPS: dict[str, Callable[..., Result]] = {
    function.__name__: function
    for function in (
        *(add, sub, mul, real_div, floor_div, sqrt, rsqrt, sigmoid, gelu, softmax, cast, identity),
        *(conv, conv_transpose, avg_pool, max_pool, batch_norm, layer_norm, linear, matmul, scaled_dot_product_attention),
        *(reduce_mean, pixel_shuffle, upsample_nearest_neighbor, classify),
        *(shape, reshape, transpose, slice_by_index, gather, concat, split, squeeze, expand_dims, tile),
    )
} | {"pow": power}
"""MIL operator name -> its function."""
