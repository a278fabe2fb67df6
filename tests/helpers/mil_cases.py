"""What every MIL operator must compute, written out by hand."""

import itertools
import math
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def conv_by_hand(x, weight, bias, strides, pads, dilations, groups):
    """Direct sum over the definition, in float64; pads (top, bottom, left, right)."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pads[:2], pads[2:]))
    out_channels, per_group, *kernel = weight.shape
    sizes = [(x.shape[2 + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)]
    result = np.zeros((x.shape[0], out_channels, *sizes))
    for n, o, i, j in np.ndindex(*result.shape):
        group = o // (out_channels // groups)
        for c, a, b in itertools.product(range(per_group), range(kernel[0]), range(kernel[1])):
            pixel = x[n, group * per_group + c, i * strides[0] + a * dilations[0], j * strides[1] + b * dilations[1]]
            result[n, o, i, j] += pixel * weight[o, c, a, b]
    return result + (0 if bias is None else bias[:, None, None])


def conv_transpose_by_hand(x, weight, bias, strides, pads, dilations, groups):
    """Scatter each input pixel, then crop."""
    in_channels, per_group, *kernel = weight.shape
    sizes = [(x.shape[2 + i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    result = np.zeros((x.shape[0], per_group * groups, *sizes))
    for n, c, i, j in np.ndindex(*x.shape):
        group = c // (in_channels // groups)
        for o, a, b in itertools.product(range(per_group), range(kernel[0]), range(kernel[1])):
            place = (n, group * per_group + o, i * strides[0] + a * dilations[0], j * strides[1] + b * dilations[1])
            result[place] += float(x[n, c, i, j]) * weight[c, o, a, b]
    result = result[:, :, pads[0] : sizes[0] - pads[1], pads[2] : sizes[1] - pads[3]]
    return result + (0 if bias is None else bias[:, None, None])


def pool_by_hand(x, kernel, strides, reduce):
    sizes = [(x.shape[2 + i] - kernel[i]) // strides[i] + 1 for i in (0, 1)]
    result = np.zeros((*x.shape[:2], *sizes))
    for n, c, i, j in np.ndindex(*result.shape):
        top, left = i * strides[0], j * strides[1]
        result[n, c, i, j] = reduce(x[n, c, top : top + kernel[0], left : left + kernel[1]])
    return result


def interpolated_by_hand(x, axis, factor, aligned):
    """The grid of MIL's documentation along one axis, and the straight line between the two nearest values."""
    before, after = x.shape[axis], x.shape[axis] * factor
    result = []
    for i in range(after):
        spacing = (before - 1) / (after - 1) if aligned else before / after
        point = i * spacing if aligned else i * spacing + 0.5 * spacing - 0.5
        point = min(before - 1, max(0, point))
        low = min(int(point), before - 2)
        first, second = x.take(low, axis).astype(np.float64), x.take(low + 1, axis)
        result.append(first + (second - first) * (point - low))
    return np.stack(result, axis)


def softmax_by_hand(x, axis):
    e = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


ERF = np.vectorize(math.erf)

Case = tuple[dict[str, Any], Any]


def arithmetic_cases() -> dict[str, list[Case]]:
    a, b, row = real(2, 3, 4), real(2, 3, 4), real(4)
    positive = np.abs(a) + 0.1
    sevens = ints(7, -7, 8)
    return {
        "add": [({"x": a, "y": row}, a + row), ({"x": 2.5, "y": a}, a + 2.5), ({"x": ints(1, 2), "y": 3}, [4, 5])],
        "sub": [({"x": a, "y": b}, a - b), ({"x": 1.0, "y": a}, 1 - a)],
        "mul": [({"x": a, "y": b}, a * b), ({"x": a, "y": 0.5}, a / 2)],
        "real_div": [({"x": a, "y": positive}, a / positive), ({"x": 1.0, "y": positive}, 1 / positive)],
        "floor_div": [({"x": sevens, "y": 2}, [3, -4, 4]), ({"x": a, "y": 0.5}, np.floor(a / 0.5))],
        "pow": [({"x": positive, "y": 2.5}, positive**2.5), ({"x": a, "y": 2.0}, a * a)],
        "sqrt": [({"x": positive}, np.sqrt(positive))],
        "rsqrt": [({"x": positive, "epsilon": 0.25}, (positive + 0.25) ** -0.5)],
        "square": [({"x": a}, a * a)],
        "relu": [({"x": a}, np.maximum(a, 0))],
        "sigmoid": [({"x": a}, 1 / (1 + np.exp(-a)))],
        "cast": [({"x": a, "dtype": "fp16"}, a), ({"x": 3, "dtype": "int32"}, 3)],
        "identity": [({"x": a}, a)],
    }


def layer_cases() -> dict[str, list[Case]]:
    x = real(2, 3, 5, 4)
    wide = x.astype(np.float64)
    mean, variance, gamma, beta = real(3), np.abs(real(3)), real(3), real(3)
    normal = (wide - mean[:, None, None]) / np.sqrt(variance + 0.1)[:, None, None]
    centred = wide - wide.mean((1, 3), keepdims=True)
    layered = centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + 0.1)
    affine, shift = real(3, 4), real(3, 4)
    q, k, v, added = real(2, 2, 5, 4), real(2, 2, 6, 4), real(2, 2, 6, 3), real(5, 6)
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / 2
    allowed = RNG.random((5, 6)) < 0.7
    allowed[:, 0] = True
    masked = np.where(allowed, scores, -np.inf)
    left, right = real(2, 3, 4), real(2, 4, 5)
    product = left.astype(np.float64) @ right
    inner = np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
    shuffled = real(1, 8, 2, 3)
    by_hand = np.zeros((1, 2, 4, 6))
    for c, i, j in np.ndindex(2, 4, 6):
        by_hand[0, c, i, j] = shuffled[0, 4 * c + 2 * (i % 2) + j % 2, i // 2, j // 2]
    bias = real(6)
    return {
        "gelu": [
            ({"x": x, "mode": "EXACT"}, wide * (1 + ERF(wide / np.sqrt(2))) / 2),
            ({"x": x, "mode": "TANH_APPROXIMATION"}, wide * (1 + np.tanh(inner)) / 2),
            ({"x": x, "mode": "SIGMOID_APPROXIMATION"}, wide / (1 + np.exp(-1.702 * wide))),
        ],
        "softmax": [({"x": x, "axis": -1}, softmax_by_hand(x, -1)), ({"x": x, "axis": 1}, softmax_by_hand(x, 1))],
        "linear": [
            ({"x": x, "weight": (w := real(6, 4)), "bias": bias}, wide @ w.T + bias),
            ({"x": x, "weight": w}, wide @ w.T),
        ],
        "matmul": [
            ({"x": left, "y": right, "transpose_x": False, "transpose_y": False}, product),
            ({"x": left.swapaxes(1, 2), "y": right, "transpose_x": True, "transpose_y": False}, product),
            ({"x": left, "y": right.swapaxes(1, 2), "transpose_x": False, "transpose_y": True}, product),
        ],
        "scaled_dot_product_attention": [
            ({"query": q, "key": k, "value": v}, softmax_by_hand(scores, -1) @ v),
            ({"query": q, "key": k, "value": v, "attn_mask": added}, softmax_by_hand(scores + added, -1) @ v),
            ({"query": q, "key": k, "value": v, "attn_mask": allowed}, softmax_by_hand(masked, -1) @ v),
        ],
        "batch_norm": [
            ({"x": x, "mean": mean, "variance": variance, "epsilon": 0.1}, normal),
            (
                {"x": x, "mean": mean, "variance": variance, "gamma": gamma, "beta": beta, "epsilon": 0.1},
                normal * gamma[:, None, None] + beta[:, None, None],
            ),
        ],
        "layer_norm": [
            ({"x": x, "axes": ints(1, -1), "epsilon": 0.1}, layered),
            (
                {"x": x, "axes": ints(1, -1), "gamma": affine, "beta": shift, "epsilon": 0.1},
                layered * affine[:, None] + shift[:, None],
            ),
        ],
        "reduce_mean": [
            ({"x": x, "axes": ints(-1, 1), "keep_dims": False}, wide.mean((1, 3))),
            ({"x": x, "axes": ints(2), "keep_dims": True}, wide.mean(2, keepdims=True)),
            ({"x": x, "keep_dims": False}, wide.mean()),
        ],
        "reduce_sum": [
            ({"x": x, "axes": ints(-1, 1), "keep_dims": False}, wide.sum((1, 3))),
            ({"x": x, "axes": ints(0), "keep_dims": True}, wide.sum(0, keepdims=True)),
        ],
        "pixel_shuffle": [({"x": shuffled, "upscale_factor": 2}, by_hand)],
        "upsample_nearest_neighbor": [
            (
                {"x": x, "scale_factor_height": 2, "scale_factor_width": 3.0},
                [[[[x[n, c, i // 2, j // 3] for j in range(12)] for i in range(10)] for c in range(3)] for n in range(2)],
            )
        ],
        "upsample_bilinear": [
            (
                {
                    "x": x,
                    "scale_factor_height": 2,
                    "scale_factor_width": 3.0,
                    "align_corners": aligned,
                    "half_pixel_centers": half,
                },
                interpolated_by_hand(interpolated_by_hand(x, 2, 2, aligned), 3, 3, aligned),
            )
            for aligned, half in ((True, None), (False, None), (True, False), (False, True))
        ],
    }


def window_cases() -> dict[str, list[Case]]:
    x, weight, bias = real(2, 4, 7, 6), real(6, 2, 3, 2), real(6)
    spread, spread_bias = real(4, 3, 3, 2), real(6)
    grid = ints(2, 1), ints(1, 2)
    common = {"strides": grid[0], "dilations": grid[1], "groups": 2}
    pool = {"x": x, "kernel_sizes": ints(3, 2), "strides": ints(2, 1), "pad": ints(0, 0, 0, 0), "ceil_mode": False}

    def both(by_hand: Any, kernel: np.ndarray, shift: np.ndarray) -> list[Case]:
        operands = {"x": x, "weight": kernel, **common}
        return [
            (
                {**operands, "bias": shift, "pad_type": "custom", "pad": ints(1, 0, 2, 1)},
                by_hand(x, kernel, shift, grid[0], (1, 0, 2, 1), grid[1], 2),
            ),
            # With `valid` the pads that the file also holds are ignored.
            (
                {**operands, "pad_type": "valid", "pad": ints(9, 9, 9, 9)},
                by_hand(x, kernel, None, grid[0], (0, 0, 0, 0), grid[1], 2),
            ),
        ]

    transposed = both(conv_transpose_by_hand, spread, spread_bias)
    transposed.append(({**transposed[0][0], "output_shape": ints(*transposed[0][1].shape)}, transposed[0][1]))
    return {
        "conv": both(conv_by_hand, weight, bias),
        "conv_transpose": transposed,
        "avg_pool": [
            ({**pool, "pad_type": "valid", "exclude_padding_from_average": True}, pool_by_hand(x, (3, 2), (2, 1), np.mean)),
            ({**pool, "pad_type": "custom", "exclude_padding_from_average": False}, pool_by_hand(x, (3, 2), (2, 1), np.mean)),
        ],
        "max_pool": [({**pool, "pad_type": "valid"}, pool_by_hand(x, (3, 2), (2, 1), np.max))],
    }


def shape_cases() -> dict[str, list[Case]]:
    x = real(2, 3, 4)
    thin = real(2, 1, 3, 1)
    return {
        "shape": [({"x": x}, [2, 3, 4])],
        "reshape": [
            ({"x": x, "shape": ints(0, 2, -1)}, x.reshape(2, 2, 6)),
            ({"x": x, "shape": ints(-1)}, x.reshape(-1)),
        ],
        "transpose": [
            ({"x": x, "perm": ints(2, 0, 1)}, np.moveaxis(x, 2, 0)),
            ({"x": x, "perm": ints(0, -1, 1)}, x.swapaxes(1, 2)),
        ],
        "slice_by_index": [
            ({"x": x, "begin": ints(0, 1, 0), "end": ints(2, 3, 4), "stride": ints(1, 1, 2)}, x[0:2, 1:3, 0:4:2]),
            ({"x": x, "begin": ints(-1, 0, -3), "end": ints(2, -1, -1)}, x[-1:, :-1, -3:-1]),
            (
                {
                    "x": x,
                    "begin": ints(1, 2, 1),
                    "end": ints(1, 1, 1),
                    "begin_mask": np.array([True, False, False]),
                    "end_mask": np.array([True, True, False]),
                    "squeeze_mask": np.array([False, False, True]),
                },
                x[:, 2:, 1],
            ),
            (
                {
                    "x": x,
                    "begin": ints(1, 0, 0),
                    "end": ints(0, 0, 0),
                    "begin_mask": np.array([True, True, True]),
                    "end_mask": np.array([True, True, True]),
                    "squeeze_mask": np.array([True, False, False]),
                },
                x[0],
            ),
        ],
        "gather": [
            ({"x": x, "indices": 2, "axis": 1}, x[:, 2]),
            ({"x": x, "indices": ints(3, 0, 3), "axis": -1, "batch_dims": 0, "validate_indices": False}, x[..., [3, 0, 3]]),
            ({"x": x, "indices": np.array([[0, 1], [1, 1]], dtype=np.int32), "axis": 0}, x[[[0, 1], [1, 1]]]),
        ],
        "concat": [
            ({"values": (x, x[:, :1]), "axis": 1, "interleave": False}, np.concatenate([x, x[:, :1]], 1)),
            ({"values": (ints(5)[0], 7), "axis": 0, "interleave": False}, [5, 7]),
        ],
        "stack": [({"values": (x, 2 * x), "axis": 1}, np.stack([x, 2 * x], 1))],
        "split": [
            ({"x": x, "axis": -1, "num_splits": 2}, (x[..., :2], x[..., 2:])),
            ({"x": x, "axis": 2, "split_sizes": ints(1, 3), "num_splits": 2}, (x[..., :1], x[..., 1:])),
        ],
        "squeeze": [({"x": thin, "axes": ints(-1)}, thin[..., 0]), ({"x": thin}, thin[:, 0, :, 0])],
        "expand_dims": [({"x": x, "axes": ints(-1, 0)}, x[None, ..., None]), ({"x": 5, "axes": ints(0)}, [5])],
        "tile": [({"x": x, "reps": ints(2, 1, 3)}, np.tile(x, (2, 1, 3)))],
        "classify": [({"probabilities": np.float32([[0.2, 0.5, 0.3]]), "classes": ("z", "a", "m")}, ("a", [[0.2, 0.5, 0.3]]))],
    }


CASES = arithmetic_cases() | layer_cases() | window_cases() | shape_cases()
