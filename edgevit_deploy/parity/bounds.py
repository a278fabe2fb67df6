"""How far a file may be from the truth, in multiples of PyTorch's own rounding noise; at most 10, each with its reason.

Each target states its own multiples beside its exporter (`Exporter.precisions`); `convert.py doctor --bounds` prints them all.
The bound is `k * noise`, where noise is the largest absolute error against float64 of PyTorch's own run on the same probes:
in float32 for an fp32 file, in the emulation of 16-bit storage (`reference.RoundEveryOutput`) for an fp16 or bf16 file. There
is no default.

An input in integers has no noise of its own: 0 to 255 are exact in every precision here (bfloat16 has just the 8 bits), and the
truth is given the same ones. So noise and k are about what is computed from the input on, the cast being exact; `--input image`
and `--input uint8` have one truth, one noise and one bound, to the last bit (a test says so).

A quantised file is measured by the root of the mean square instead, against that of its own emulation (`parity.integers`): one
rounding that falls the other way spreads through the network, so that single outputs differ as much as the error is large, while
their mean square does not.
"""

from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.spec import QUANTISED, Precision

MAX_K = 10.0

Measure = Literal["largest", "rms"]
"""What of the errors is bounded: the largest, or the root of their mean square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseMultiple:
    """A bound in units of noise, and why it is as large as it is.

    Raises:
        ValueError: `k` is not above 0 and at most `MAX_K`, or there is no reason.
    """

    k: float
    reason: str

    def __post_init__(self) -> None:
        if not 0 < self.k <= MAX_K or not self.reason.strip():
            raise ValueError(f"a bound needs a k above 0 and at most {MAX_K:g} and a reason, got {self.k:g} and {self.reason!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """An absolute bound on one file's error, with its derivation; `noise` is PyTorch's own error in the same measure."""

    atol: float
    k: float
    noise: float
    reason: str
    measure: Measure = "largest"


def measure_of(precision: Precision) -> Measure:
    """Return what of the errors is bounded in a precision."""
    return "rms" if precision in QUANTISED else "largest"


NOISE_CEILING: dict[Precision, float] = {
    "fp32": 1e-5,
    "fp16": 2e-2,
    "bf16": 1e-1,
    **dict.fromkeys(QUANTISED, 0.5),
}
"""The largest noise that is believed, as a share of the largest output; of quantised files, of the outputs' root mean square.

Seen: about 3e-7 in float32, 1e-3 in fp16 and 1e-2 in bf16, whose steps are 8 times as large. More than this means that the
network itself does not fit the precision (an fp16 overflow makes the noise infinite), and then no bound may grow with it. An
emulation of integers that loses half of the outputs (6 dB) is no yardstick either; whether less is good enough, decisions say.
"""


def tolerance_for(multiple: NoiseMultiple, precision: Precision, noise: float, scale: float) -> Tolerance:
    """Return the bound for one file.

    Args:
        multiple: what the file's target states for its precision.
        precision: of the file.
        noise: PyTorch's own error in that precision, in its measure.
        scale: of the true outputs: the largest absolute value, or their root mean square.
    """
    ceiling, measure = NOISE_CEILING[precision] * scale, measure_of(precision)
    if noise <= ceiling:
        return Tolerance(atol=multiple.k * noise, k=multiple.k, noise=noise, reason=multiple.reason, measure=measure)
    reason = f"PyTorch's own {precision} noise exceeds {NOISE_CEILING[precision]:g} of the outputs, so it is not the yardstick"
    return Tolerance(atol=multiple.k * ceiling, k=multiple.k, noise=ceiling, reason=reason, measure=measure)
