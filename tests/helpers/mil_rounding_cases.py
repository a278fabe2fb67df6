"""What the MIL operators that round, and those of constants in eight bits, must compute: their documented formulas in numpy."""

import numpy as np

from tests.helpers.mil_cases import Case, ints, real

RNG = np.random.default_rng(1)

TIES = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, 0.51, 126.5, 127.6, 300, -127.5, -128.6, -300])


def int8s(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def uint8s(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def _quantised(x: np.ndarray, scale: np.ndarray | float, zero_point: np.ndarray | int, low: int, high: int) -> np.ndarray:
    """clip(round(input / scale) + zero_point), the rounding half to even."""
    return np.clip(np.rint(x.astype(np.float64) / scale) + zero_point, low, high)


def rounding_cases() -> dict[str, list[Case]]:
    x, scales, zeros = real(2, 3, 4), np.float32([0.5, 0.25, 2.0]), np.int8([-3, 0, 100])
    spread, moved = scales[:, None], zeros.astype(int)[:, None]
    signed, unsigned = int8s(2, 3, 4), uint8s(2, 3, 4)
    return {
        "quantize": [
            ({"input": TIES, "scale": 1.0, "output_dtype": "int8"}, _quantised(TIES, 1, 0, -128, 127)),
            ({"input": TIES, "scale": 0.5, "zero_point": -7, "output_dtype": "int8"}, _quantised(TIES, 0.5, -7, -128, 127)),
            ({"input": TIES, "scale": 2.0, "zero_point": 128, "output_dtype": "uint8"}, _quantised(TIES, 2, 128, 0, 255)),
            (
                {"input": x, "scale": scales, "zero_point": zeros, "axis": -2, "output_dtype": "int8"},
                _quantised(x, spread, moved, -128, 127),
            ),
        ],
        "dequantize": [
            ({"input": signed, "scale": 0.75}, signed * 0.75),
            ({"input": unsigned, "scale": 0.75, "zero_point": 130}, (unsigned.astype(int) - 130) * 0.75),
            ({"input": signed, "scale": scales, "zero_point": zeros, "axis": 1}, (signed.astype(int) - moved) * spread),
        ],
        "constexpr_affine_dequantize": [
            ({"quantized_data": signed, "zero_point": 0, "scale": scales, "axis": 1}, signed * spread),
            ({"quantized_data": unsigned, "zero_point": 9, "scale": 0.5, "axis": 0}, (unsigned.astype(int) - 9) * 0.5),
            ({"quantized_data": signed, "zero_point": zeros, "scale": scales, "axis": -2}, (signed.astype(int) - moved) * spread),
        ],
        "constexpr_blockwise_shift_scale": [
            ({"data": signed, "scale": scales.reshape(1, 3, 1)}, signed * spread),
            ({"data": signed, "scale": (blocks := real(1, 3, 2))}, signed * np.repeat(blocks, 2, axis=2)),
            (
                {"data": unsigned, "scale": blocks, "offset": (offset := uint8s(1, 3, 2))},
                (unsigned.astype(int) - np.repeat(offset, 2, axis=2)) * np.repeat(blocks, 2, axis=2),
            ),
        ],
        "constexpr_lut_to_dense": [
            (
                {"indices": unsigned.reshape(-1), "lut": (table := real(256)), "shape": np.uint32([2, 3, 4])},
                [[[table[place] for place in row] for row in block] for block in unsigned],
            ),
            ({"indices": unsigned, "lut": table.reshape(1, 1, 1, 256, 1), "vector_axis": 0}, table[unsigned]),
            ({"indices": ints(0, 255, 255).astype(np.uint8), "lut": table.reshape(1, 256, 1)}, table[[0, 255, 255]]),
        ],
    }
