"""The precisions of files: floating-point ones, judged by rounding noise, and quantised ones, judged by their own emulation."""

from typing import Literal, get_args

from edgevit_deploy.errors import UsageError

FloatPrecision = Literal["fp32", "fp16", "bf16"]
QuantisedPrecision = Literal["int8", "int8-dynamic", "fp8", "w8", "palette8"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "w8", "palette8"]
"""`int8` rounds weights and activations, by ranges that were observed; `int8-dynamic` takes each activation's range as it comes;
`fp8` rounds as `int8`, to floating-point numbers of eight bits (E4M3); `w8` and `palette8` store the weights alone in eight bits,
in equal steps or as places in a table."""

QUANTISED: frozenset[Precision] = frozenset(get_args(QuantisedPrecision))

ONLY: dict[Precision, str] = {
    "fp8": "floating point of eight bits is arithmetic of NVIDIA's GPUs, and only TensorRT's engines have it",
}
"""Why most targets do not have a precision, as a sentence without its end."""

BYTES_PER_WEIGHT: dict[Precision, int] = {
    "fp32": 4,
    "fp16": 2,
    "bf16": 2,
    "int8": 1,
    "int8-dynamic": 1,
    "fp8": 1,
    "w8": 1,
    "palette8": 1,
}
"""At least; a file may keep some, or all, in a larger type."""


def floating(precision: Precision, what: str) -> FloatPrecision:
    """Return a precision that is in floating point of 16 bits or more.

    Args:
        precision: of a file.
        what: only those have, for the message.

    Raises:
        UsageError: it is quantised.
    """
    for known in get_args(FloatPrecision):
        if precision == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"{what} is for files of 16 bits or more, and {precision} has eight; use fp32, or leave it out")
