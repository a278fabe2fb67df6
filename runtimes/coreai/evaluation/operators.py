"""What each Core AI operator computes: one pure function an operator, in PyTorch on the CPU.

A function takes its operator's operands in their order (integers, bool, or float32, also for values that a program declares half
precision, because the caller rounds every result), and its attributes, by name, as MLIR prints them. Source of every semantics:
the operator documentation of coreai-core 1.0.0b3 (`coreai._compiler.dialects._coreai_ops_gen`). A value outside what is
implemented is refused by name, never approximated.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from edgevit_deploy.dataflow import ints, not_implemented
from runtimes.coreai.evaluation.rounding import blockwise_shift_scale, dequantize, lut_to_dense, quantize

VARIADIC = "values"
"""What the function of an operator calls its last operands, where it takes any number."""


# Arithmetic; broadcasting is NumPy's.


def broadcasting_add(x: Tensor, y: Tensor) -> Tensor:
    """Return x + y."""
    return x + y


def broadcasting_sub(x: Tensor, y: Tensor) -> Tensor:
    """Return x - y."""
    return x - y


def broadcasting_mul(x: Tensor, y: Tensor) -> Tensor:
    """Return x * y."""
    return x * y


def broadcasting_divide(x: Tensor, y: Tensor) -> Tensor:
    """Return x / y for floats; integers are refused, whose rounding is another operator's."""
    if not x.is_floating_point():
        not_implemented("Core AI operator broadcasting_divide", "element type", x.dtype, "floats")
    return x / y


def sqrt(x: Tensor) -> Tensor:
    """Return the square root."""
    return x.sqrt()


def rsqrt(x: Tensor) -> Tensor:
    """Return 1 / sqrt(x)."""
    return 1 / x.sqrt()


def cast(x: Tensor) -> Tensor:
    """Change the type, which the caller does; floats are truncated towards zero when they become integers."""
    return x


def gelu(x: Tensor, approximate: str) -> Tensor:
    """GELU by the error function, or one of its two documented approximations."""
    mode = _word(approximate)
    if mode == "sigmoid":
        return x * torch.sigmoid(1.702 * x)
    if mode not in ("none", "tanh"):
        not_implemented("Core AI operator gelu", "approximate", approximate, "none, tanh, sigmoid")
    return F.gelu(x, approximate=mode)


def softmax(x: Tensor, axis: Tensor) -> Tensor:
    """Softmax along one axis."""
    return x.softmax(dim=int(axis))


def broadcasting_batch_matmul(x: Tensor, y: Tensor) -> Tensor:
    """Matrix product of the last two axes; those before broadcast."""
    return x @ y


def reduce_mean(x: Tensor, axes: Tensor) -> Tensor:
    """Mean over the axes, which stay with extent 1."""
    return x.mean(dim=ints(axes), keepdim=True)


# Windows over the last two axes of (batch, channels, height, width).


def conv2d(x: Tensor, weight: Tensor, stride: Tensor, dilation: Tensor, groups: Tensor) -> Tensor:
    """2-D convolution without padding; weight (out, in / groups, kernel_h, kernel_w)."""
    return F.conv2d(x, weight, stride=ints(stride), dilation=ints(dilation), groups=int(groups))


def conv_transpose2d(
    x: Tensor, weight: Tensor, stride: Tensor, padding: Tensor, dilation: Tensor, output_pad: Tensor, groups: Tensor
) -> Tensor:
    """2-D transposed convolution; weight (in, out / groups, kernel_h, kernel_w)."""
    return F.conv_transpose2d(
        x,
        weight,
        stride=ints(stride),
        padding=ints(padding),
        dilation=ints(dilation),
        output_padding=ints(output_pad),
        groups=int(groups),
    )


def max_pool_2d(x: Tensor, kernel_size: Tensor, stride: Tensor, dilation: Tensor, ceil_mode: Tensor) -> Tensor:
    """2-D maximum without padding."""
    if bool(ceil_mode):
        not_implemented("Core AI operator max_pool_2d", "ceil_mode", True, "false")
    return F.max_pool2d(x, ints(kernel_size), ints(stride), dilation=ints(dilation))


def sum_pool_2d(x: Tensor, kernel_size: Tensor, stride: Tensor, dilation: Tensor) -> Tensor:
    """2-D sum without padding."""
    if ints(dilation) != [1, 1]:
        not_implemented("Core AI operator sum_pool_2d", "dilation", ints(dilation), "[1, 1]")
    return F.avg_pool2d(x, ints(kernel_size), ints(stride), divisor_override=1)


# Shapes and indices.


def pad(x: Tensor, padding: Tensor, value: Tensor, padding_mode: str) -> Tensor:
    """Pad every axis, before and after it, by a constant."""
    if _word(padding_mode) != "constant":
        not_implemented("Core AI operator pad", "padding_mode", padding_mode, "constant")
    amounts = ints(padding)
    # PyTorch begins with the last axis.
    pairs = [amounts[2 * axis : 2 * axis + 2] for axis in reversed(range(x.ndim))]
    return F.pad(x, [amount for pair in pairs for amount in pair], value=value.item())


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """Same elements, new shape; one -1 is computed."""
    return x.reshape(ints(shape))


def transpose(x: Tensor, permutation: Tensor) -> Tensor:
    """Permute the axes."""
    return x.permute(ints(permutation))


def slice_axes(x: Tensor, begin: Tensor, end: Tensor, stride: Tensor) -> Tensor:
    """Core AI's `slice`: NumPy slicing by axis, positive strides only."""
    steps = ints(stride)
    if min(steps, default=1) < 1:
        not_implemented("Core AI operator slice", "strides", steps, "positive strides")
    return x[tuple(slice(*cut) for cut in zip(ints(begin), ints(end), steps, strict=True))]


def concat(dimension: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Join along an axis; scalars become vectors."""
    return torch.cat([value[None] if value.ndim == 0 else value for value in values], dim=int(dimension))


def broadcast_to(x: Tensor, shape: Tensor) -> Tensor:
    """Repeat along axes of extent 1, and new ones in front."""
    return x.broadcast_to(ints(shape))


def broadcast_shapes(x: Tensor, y: Tensor) -> Tensor:
    """Return the shape that both broadcast to."""
    return torch.tensor(np.broadcast_shapes(tuple(ints(x)), tuple(ints(y))))


def get_shape(x: Tensor) -> Tensor:
    """Return the shape."""
    return torch.tensor(x.shape)


def shrink_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Drop axes of extent 1."""
    extents = [x.shape[axis] for axis in ints(axes)]
    if extents != [1] * len(extents):
        not_implemented("Core AI operator shrink_dims", "axes", ints(axes), f"axes of extent 1, these have {extents}")
    return x.squeeze(ints(axes))


def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Insert axes of extent 1; their numbers are those of the result."""
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in ints(axes)):
        x = x.unsqueeze(axis)
    return x


FUNCTIONS: tuple[Callable[..., Tensor], ...] = (
    *(broadcasting_add, broadcasting_sub, broadcasting_mul, broadcasting_divide, sqrt, rsqrt, cast, gelu, softmax),
    *(broadcasting_batch_matmul, reduce_mean, conv2d, conv_transpose2d, max_pool_2d, sum_pool_2d, pad, reshape, transpose),
    *(concat, broadcast_to, broadcast_shapes, get_shape, shrink_dims, expand_dims),
    *(quantize, dequantize, blockwise_shift_scale, lut_to_dense),
)

OPERATORS = {function.__name__: function for function in FUNCTIONS} | {"slice": slice_axes}
"""Kind of operation -> its function."""


def _word(attribute: str) -> str:
    """Return the word of an attribute that MLIR prints as `#coreai.approximate<none>`."""
    found = re.fullmatch(r"#coreai\.\w+<(\w+)>", attribute)
    return found[1] if found else attribute
