"""Every MIL operator against an implementation written out by hand, and every refusal by its text."""

from typing import Any

import numpy as np
import pytest
import torch

from edgevit_deploy.errors import RunError
from runtimes.coreml.mil.ops import OPS
from tests.helpers.mil_cases import CASES as FLOATING
from tests.helpers.mil_cases import ints, real
from tests.helpers.mil_rounding_cases import rounding_cases, uint8s

CASES = FLOATING | rounding_cases()


def operand(value: Any) -> Any:
    """As the program loader hands it over: arrays as tensors, scalars and strings as Python values."""
    if isinstance(value, tuple):
        return tuple(operand(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    return value.item() if isinstance(value, np.generic) else value


def run(op: str, operands: dict[str, Any]) -> Any:
    return OPS[op](**{name: operand(value) for name, value in operands.items()})


def assert_same(actual: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, str):
        assert actual == expected
    else:
        # float32 sums of at most 30 products of order one, against float64.
        np.testing.assert_allclose(actual.numpy(), np.asarray(expected), rtol=1e-5, atol=1e-5, strict=False)
        assert actual.shape == np.asarray(expected).shape


def test_every_operator_of_the_table_has_a_case() -> None:
    assert set(CASES) == set(OPS)


@pytest.mark.parametrize(("op", "number"), [(op, number) for op, cases in CASES.items() for number in range(len(cases))])
def test_an_operator_computes_its_definition(op: str, number: int) -> None:
    operands, expected = CASES[op][number]
    assert_same(run(op, operands), expected)


@pytest.mark.parametrize("op", ["add", "mul", "shape", "gather", "floor_div"])
def test_integers_stay_integers(op: str) -> None:
    """Sizes of a dynamic program are computed in int32."""
    sizes = ints(12, 7)
    operands = {"shape": {"x": sizes}, "gather": {"x": sizes, "indices": 1, "axis": 0}}.get(op, {"x": sizes, "y": 3})
    assert not run(op, operands).is_floating_point()


CONV = {
    "x": real(1, 2, 4, 4),
    "weight": real(2, 2, 1, 1),
    "strides": ints(1, 1),
    "pad": ints(0, 0, 0, 0),
    "dilations": ints(1, 1),
    "groups": 1,
}
POOL = {"x": real(1, 2, 4, 4), "kernel_sizes": ints(2, 2), "strides": ints(2, 2), "pad": ints(1, 1, 1, 1)}
AVERAGE = {**POOL, "exclude_padding_from_average": False}
PAIR = {"x": real(2, 3), "axis": 0}


@pytest.mark.parametrize(
    ("op", "operands", "text"),
    [
        ("conv", {**CONV, "pad_type": "same"}, "conv: pad_type='same' .* valid, custom"),
        ("conv", {**CONV, "pad_type": "valid", "x": real(1, 2, 4)}, "conv: rank of x=3"),
        ("conv_transpose", {**CONV, "pad_type": "same_lower"}, "conv_transpose: pad_type='same_lower'"),
        ("conv_transpose", {**CONV, "pad_type": "valid", "output_shape": ints(1, 2, 5, 4)}, "output_shape=.* one that follows"),
        ("avg_pool", {**AVERAGE, "pad_type": "valid", "ceil_mode": True}, "avg_pool: ceil_mode=True"),
        ("avg_pool", {**AVERAGE, "pad_type": "custom", "ceil_mode": False}, r"avg_pool: pad=\[1, 1, 1, 1\] .* zeros"),
        ("max_pool", {**POOL, "pad_type": "same", "ceil_mode": False}, "max_pool: pad_type='same'"),
        ("gelu", {"x": real(2), "mode": "EXACTLY"}, "gelu: mode='EXACTLY' .* EXACT, TANH_APPROXIMATION, SIGMOID"),
        ("real_div", {"x": ints(4), "y": 2}, "real_div: x=torch.int32"),
        ("upsample_nearest_neighbor", {"x": real(1, 1, 2, 2), "scale_factor_height": 1.5, "scale_factor_width": 1}, "height=1.5"),
        (
            "upsample_bilinear",
            {"x": real(1, 1, 2, 2), "scale_factor_height": 2, "scale_factor_width": 1.5, "align_corners": True},
            "scale_factor_width=1.5",
        ),
        (
            "upsample_bilinear",
            {"x": real(1, 1, 2, 2), "scale_factor_height": 2, "scale_factor_width": 2, "align_corners": True}
            | {"half_pixel_centers": True},
            "half_pixel_centers=True",
        ),
        ("reshape", {"x": real(2, 3), "shape": ints(0, 3, 1)}, r"reshape: shape=\[0, 3, 1\]"),
        ("slice_by_index", {"x": real(3), "begin": ints(2), "end": ints(0), "stride": ints(-1)}, r"stride=\[-1\] .* positive"),
        ("gather", {**PAIR, "indices": 2}, r"gather: indices=\(2, 2, False\) .* 0 to 1"),
        ("gather", {**PAIR, "indices": -1}, r"gather: indices=\(-1, -1, False\)"),
        ("gather", {**PAIR, "indices": 0, "batch_dims": 1}, "gather: batch_dims=1"),
        ("concat", {"values": (real(2), real(2)), "axis": 0, "interleave": True}, "concat: interleave=True"),
        ("split", {"x": real(5), "axis": 0, "num_splits": 2}, "split: num_splits=2 .* divisors of 5"),
        ("split", {"x": real(5), "axis": 0}, "split: num_splits=None"),
        ("quantize", {"input": real(3), "scale": 1.0, "output_dtype": "int4"}, "quantize: output_dtype='int4' .* int8, uint8"),
        (
            "quantize",
            {"input": real(3), "scale": real(3), "output_dtype": "int8"},
            r"quantize: shape of scale .*\(3,\).* axis None",
        ),
        ("dequantize", {"input": uint8s(2, 3), "scale": real(3), "axis": 0}, r"dequantize: shape of scale .*\(3,\).* axis 0"),
        ("constexpr_blockwise_shift_scale", {"data": uint8s(2, 3), "scale": real(1, 2)}, r"shape of scale=\(1, 2\).*\(2, 3\)"),
        ("constexpr_lut_to_dense", {"indices": uint8s(4), "lut": real(16), "shape": ints(8)}, r"shape of lut=\(16,\).*256"),
        ("constexpr_lut_to_dense", {"indices": uint8s(4), "lut": real(1, 256, 2)}, r"lut=\(1, 256, 2\).*\(1, 256, 1\)"),
        ("constexpr_lut_to_dense", {"indices": uint8s(4), "lut": real(2, 256, 1)}, r"lut=\(2, 256, 1\)"),
        ("squeeze", {"x": real(2, 3), "axes": ints(1)}, r"squeeze: axes=\[1\] .* extent 1, these have \[3\]"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(op: str, operands: dict[str, Any], text: str) -> None:
    with pytest.raises(RunError, match=text):
        run(op, operands)
