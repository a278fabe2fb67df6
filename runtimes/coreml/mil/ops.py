"""What each MIL operator computes: one pure function an operator, in PyTorch on the CPU.

A function takes its operator's inputs under their MIL names: tensors as `Tensor` (integers, bool, or float32, also for values
that a program declares half precision, because the caller rounds every result), scalars and strings as Python values. Source
of every semantics: the operator documentation of coremltools 9.0 (`coremltools.converters.mil.mil.ops.defs`), iOS 15 to 18.
A value outside what is implemented is refused by name, never approximated.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from runtimes.coreml.mil import layers, rounding
from runtimes.coreml.mil.operands import Operand, ints, refuse

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
        refuse("real_div", "x", result.dtype, "floats")
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


def square(*, x: Tensor) -> Tensor:
    """Return x * x."""
    return x * x


def relu(*, x: Tensor) -> Tensor:
    """Return x where it is above 0, else 0."""
    return x.relu()


def sigmoid(*, x: Tensor) -> Tensor:
    """Return the logistic function."""
    return x.sigmoid()


def cast(*, x: Operand, dtype: str) -> Tensor:  # noqa: ARG001 - the caller rounds to the declared type, which is this one
    """Change the type; floats are truncated towards zero when they become integers."""
    return torch.as_tensor(x)


def identity(*, x: Tensor) -> Tensor:
    """Return x."""
    return x


# Shapes and indices.


def shape(*, x: Tensor) -> Tensor:
    """Return the shape as int32."""
    return torch.tensor(x.shape, dtype=torch.int32)


def reshape(*, x: Tensor, shape: Tensor) -> Tensor:
    """Same elements, new shape; 0 keeps the extent of that axis, one -1 is computed."""
    sizes = ints(shape)
    if 0 in sizes and len(sizes) != x.ndim:
        refuse("reshape", "shape", sizes, f"0 only among as many axes as x has, {x.ndim}")
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)])


def transpose(*, x: Tensor, perm: Tensor) -> Tensor:
    """Permute the axes."""
    return x.permute(ints(perm))


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
    steps = [1] * x.ndim if stride is None else ints(stride)
    if min(steps) < 1:
        refuse("slice_by_index", "stride", steps, "positive strides")
    unset = torch.zeros(x.ndim, dtype=torch.bool)
    begins, ends = ints(begin), ints(end)
    no_begin, no_end, squeezed = ((unset if mask is None else mask).tolist() for mask in (begin_mask, end_mask, squeeze_mask))
    index: list[int | slice] = []
    for axis in range(x.ndim):
        first = None if no_begin[axis] else begins[axis]
        last = None if no_end[axis] else ends[axis]
        index.append((first or 0) if squeezed[axis] else slice(first, last, steps[axis]))
    return x[tuple(index)]


def gather(*, x: Tensor, indices: Operand, axis: int, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Take entries along one axis; the axes of `indices` replace it."""
    if batch_dims != 0:
        refuse("gather", "batch_dims", batch_dims, "0")
    wanted = torch.as_tensor(indices, dtype=torch.int64)
    size = x.shape[axis]
    if wanted.numel() and not 0 <= int(wanted.min()) <= int(wanted.max()) < size:
        # From iOS 17 on, whatever validate_indices says, a device may answer anything here, negative indices included.
        refuse("gather", "indices", (int(wanted.min()), int(wanted.max()), validate_indices), f"0 to {size - 1}")
    axis %= x.ndim
    return x.index_select(axis, wanted.flatten()).reshape(x.shape[:axis] + wanted.shape + x.shape[axis + 1 :])


def concat(*, values: Sequence[Operand], axis: int, interleave: bool) -> Tensor:
    """Join along an axis; scalars become a vector."""
    if interleave:
        refuse("concat", "interleave", interleave, "False")
    tensors = [torch.as_tensor(value) for value in values]
    return torch.cat([tensor[None] if tensor.ndim == 0 else tensor for tensor in tensors], dim=axis)


def stack(*, values: Sequence[Operand], axis: int) -> Tensor:
    """Join along a new axis."""
    return torch.stack([torch.as_tensor(value) for value in values], dim=axis)


def split(*, x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Cut along an axis, into given sizes or into equal parts."""
    size = x.shape[axis]
    if split_sizes is not None:
        return tuple(x.split_with_sizes(ints(split_sizes), axis))
    if not num_splits or size % num_splits:
        refuse("split", "num_splits", num_splits, f"divisors of {size}")
    return tuple(x.split_with_sizes([size // num_splits] * num_splits, axis))


def squeeze(*, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop the given axes of extent 1, or all such axes."""
    if axes is None:
        return x.squeeze()
    extents = [x.shape[axis] for axis in ints(axes)]
    if extents != [1] * len(extents):
        refuse("squeeze", "axes", ints(axes), f"axes of extent 1, these have {extents}")
    return x.squeeze(ints(axes))


def expand_dims(*, x: Tensor, axes: Tensor) -> Tensor:
    """Insert axes of extent 1; their numbers are those of the result."""
    x = torch.as_tensor(x)
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in ints(axes)):
        x = x.unsqueeze(axis)
    return x


def tile(*, x: Tensor, reps: Tensor) -> Tensor:
    """Repeat the whole tensor along each axis."""
    return x.tile(ints(reps))


def classify(*, probabilities: Tensor, classes: Sequence[str]) -> tuple[str, Tensor]:
    """Return the label of the largest probability, and the probabilities in the order of the labels."""
    return classes[int(probabilities.argmax())], probabilities


Result = Tensor | tuple[Tensor, ...] | tuple[str, Tensor]

FUNCTIONS: tuple[Callable[..., Result], ...] = (
    *(add, sub, mul, real_div, floor_div, sqrt, rsqrt, square, relu, sigmoid, cast, identity),
    *(layers.gelu, layers.softmax, layers.linear, layers.matmul, layers.scaled_dot_product_attention),
    *(layers.conv, layers.conv_transpose, layers.avg_pool, layers.max_pool, layers.batch_norm, layers.layer_norm),
    *(layers.reduce_mean, layers.reduce_sum, layers.pixel_shuffle),
    *(layers.upsample_nearest_neighbor, layers.upsample_bilinear),
    *(rounding.quantize, rounding.dequantize, rounding.constexpr_affine_dequantize),
    *(rounding.constexpr_blockwise_shift_scale, rounding.constexpr_lut_to_dense),
    *(shape, reshape, transpose, slice_by_index, gather, concat, stack, split, squeeze, expand_dims, tile, classify),
)

OPS = {function.__name__: function for function in FUNCTIONS} | {"pow": power}
"""MIL operator name -> its function."""
