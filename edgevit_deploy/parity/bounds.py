"""How far each target may be from the truth, in multiples of PyTorch's own rounding noise; at most 10, each with its reason.

The bound is `k * noise`, where noise is the largest absolute error against float64 of PyTorch's own run on the same probes:
in float32 for an fp32 file, in the emulation of 16-bit storage (`reference.RoundEveryOutput`) for an fp16 or bf16 file. There
is no default.
"""

from dataclasses import dataclass

from edgevit_deploy.spec import Precision

MAX_K = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseMultiple:
    """A bound in units of noise, and why it is as large as it is."""

    k: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """An absolute bound on one file's largest error, with its derivation."""

    atol: float
    k: float
    noise: float
    reason: str


NOISE_CEILING: dict[Precision, float] = {"fp32": 1e-5, "fp16": 2e-2, "bf16": 1e-1}
"""The largest noise that is believed, as a share of the largest output.

Seen: about 3e-7 in float32, 1e-3 in fp16 and 1e-2 in bf16, whose steps are 8 times as large. More than this means that the
network itself does not fit the precision (an fp16 overflow makes the noise infinite), and then no bound may grow with it.
"""

NOISE_MULTIPLES: dict[tuple[str, Precision], NoiseMultiple] = {
    ("onnx", "fp32"): NoiseMultiple(
        k=4, reason="ONNX Runtime sums in another order than PyTorch (blocked convolutions, fused GELU and LayerNorm)"
    ),
    ("onnx", "fp16"): NoiseMultiple(
        k=2, reason="same storage precision as the emulation, casts at other places; fp32 islands only lower the error"
    ),
    ("torchscript", "fp32"): NoiseMultiple(
        k=4, reason="same kernels as PyTorch; the mobile generation (1.13) sums in another order"
    ),
    ("coreml", "fp32"): NoiseMultiple(
        k=4, reason="float32 on another BLAS path; folded scales and a fused GELU change the order of rounding"
    ),
    ("coreml", "fp16"): NoiseMultiple(k=2, reason="same storage precision as the emulation, rounded after fused operations"),
    ("ncnn", "fp32"): NoiseMultiple(
        k=4, reason="float32 in ncnn's own blocked kernels: other sums, another erf and exp, than PyTorch's"
    ),
    ("ncnn", "fp16"): NoiseMultiple(
        k=2, reason="weights and activations in half as in the emulation, but not between fused operations; sums in float32"
    ),
    ("litert", "fp32"): NoiseMultiple(
        k=4, reason="float32 in XNNPACK's kernels: other sums, another exp and erf, than PyTorch's; means written out"
    ),
    ("executorch", "fp32"): NoiseMultiple(
        k=4, reason="float32 in XNNPACK's own blocked kernels: other sums, another erf and exp, than PyTorch's"
    ),
    ("openvino", "fp32"): NoiseMultiple(
        k=4, reason="float32 in oneDNN's blocked kernels: other sums, another erf and exp, than PyTorch's; 0.9 to 1.9 measured"
    ),
    ("openvino", "bf16"): NoiseMultiple(
        k=2, reason="same storage precision as the emulation, rounded after fused operations; 0.6 to 1.2 measured"
    ),
    ("openvino", "fp16"): NoiseMultiple(
        k=2,
        reason="weights in half as in the emulation, activations where the CPU can; in float32 arithmetic 0.7 to 1.1 measured",
    ),
    ("tensorrt", "fp32"): NoiseMultiple(
        k=10,
        reason="GPU kernels reduce in trees and fuse freely; TF32 is off, so only the order of float32 sums differs",
    ),
    ("tensorrt", "fp16"): NoiseMultiple(
        k=4, reason="half-precision accumulation in some tensor-core kernels, which the emulation does not have"
    ),
}


def tolerance_for(target: str, precision: Precision, noise: float, scale: float) -> Tolerance:
    """Return the bound for one file.

    Args:
        target: registered name.
        precision: of the file.
        noise: PyTorch's own largest error in that precision.
        scale: largest absolute value of the true outputs.

    Raises:
        KeyError: the target has no row; the conformance suite refuses such a target.
    """
    multiple = NOISE_MULTIPLES[target, precision]
    ceiling = NOISE_CEILING[precision] * scale
    if noise <= ceiling:
        return Tolerance(atol=multiple.k * noise, k=multiple.k, noise=noise, reason=multiple.reason)
    reason = f"PyTorch's own {precision} noise exceeds {NOISE_CEILING[precision]:g} of the outputs, so it is not the yardstick"
    return Tolerance(atol=multiple.k * ceiling, k=multiple.k, noise=ceiling, reason=reason)
