"""What an IR model rounds to integers, read from models made by hand: what is right is read, what we never write is refused."""

from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.openvino import load_openvino, one_convolution
from edgevit_deploy.formats.openvino.integers import integer_weights, rounded_weights, what_is_rounded

SCALE = np.float32(0.0123)


def opset() -> Any:
    return load_openvino().opset13


def rounding(low: Any, high: Any, low_out: Any = None, high_out: Any = None, levels: int = 256) -> Any:
    """A model that only rounds."""
    x = opset().parameter([1, 4], name="x")
    ends = (low, high, low if low_out is None else low_out, high if high_out is None else high_out)
    return load_openvino().Model([opset().fake_quantize(x, *(np.float32(end) for end in ends), levels)], [x])


def weighted(values: Any, scales: Any, *, times: bool = True) -> Any:
    """A linear map with int8 weights (out, in) and a scale for each output channel."""
    x = opset().parameter([1, values.shape[1]], name="x")
    weight: Any = opset().convert(opset().constant(values), "f32")
    if times:
        weight = opset().multiply(weight, opset().constant(scales))
    return load_openvino().Model([opset().matmul(x, weight, False, True)], [x])


@pytest.mark.parametrize("zero_point", [0, 1, -1, 17, 127, -128])
def test_scale_and_zero_point_of_an_activation(zero_point: int) -> None:
    ((scale, found),) = what_is_rounded(rounding(SCALE * (-128 - zero_point), SCALE * (127 - zero_point))).activations
    assert found == zero_point
    assert scale == pytest.approx(float(SCALE), rel=1e-6)


def test_the_scale_of_a_symmetric_one_is_exact() -> None:
    for scale in np.random.default_rng(0).uniform(1e-4, 10, 100).astype(np.float32):
        assert what_is_rounded(rounding(scale * -128, scale * 127)).activations == ((float(scale), 0),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 255}, "does not round to 256 levels of one scale"),
        ({"low": [-1.28] * 4, "high": [1.27] * 4}, "does not round to 256 levels of one scale"),
        ({"high_out": 2.54}, "rounds -1.28 to 1.27 and gives -1.28 to 2.54"),
        ({"low": 1.27, "high": -1.28}, "rounds 1.27 to -1.28"),
        ({"low": -1.285}, "no steps of one size with a whole zero point"),
    ],
)
def test_an_activation_that_we_never_write_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        what_is_rounded(rounding(**{"low": -1.28, "high": 1.27, **changes}))
    assert "\n" not in str(caught.value)


def test_weights_and_their_scales() -> None:
    values = np.array([[-127, 3], [127, -5], [0, 1]], np.int8)
    scales = np.array([[0.5], [0.25], [0.125]], np.float32)
    model = weighted(values, scales)
    (weights,) = what_is_rounded(model).weights
    np.testing.assert_array_equal(weights.values, values)
    np.testing.assert_array_equal(weights.scales, scales.ravel())
    assert integer_weights(model) == len(rounded_weights(model)) == 1


@pytest.mark.parametrize(
    ("scales", "times", "message"),
    [
        (np.ones((1, 2), np.float32), True, "has 2 scales, expected one for each of its 3 channels"),
        (np.ones((3, 1), np.float32), False, "is read by MatMul, expected one Multiply"),
    ],
)
def test_weights_that_we_never_write_are_refused(scales: Any, times: bool, message: str) -> None:
    with pytest.raises(RunError, match=message):
        what_is_rounded(weighted(np.ones((3, 2), np.int8), scales, times=times))


def test_a_float_model_rounds_nothing() -> None:
    """Negative control of the count that a session compares with what is executed."""
    stored = what_is_rounded(one_convolution())
    assert (stored.activations, stored.weights, integer_weights(one_convolution())) == ((), (), 0)
