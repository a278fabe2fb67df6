"""Proof that an fp16 program is its fp32 twin with every constant rounded.

The tolerance of half precision is wide enough to hide a wrong operator (knowledge: one GELU in its tanh form moves the outputs
by 1e-4, half precision by 7e-3), so numbers alone cannot judge an fp16 file. Here both programs are walked from their outputs
to their input, over the casts: same operators, same wiring, same attributes, and constants that differ by no more than rounding.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.coreml import load_main, read_package

HALF_RTOL, HALF_ATOL = 2.0**-10, 2.0**-24
"""One step of half precision: its relative spacing, and the smallest subnormal for what lies below the normal range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinReport:
    """What was found the same: operators (without casts) and constants, of which `rounded_constants` are not bit-equal."""

    operators: int
    constants: int
    rounded_constants: int


def compare_with_twin(half_package: Path, full_package: Path) -> TwinReport:
    """Compare an fp16 program with the fp32 conversion of the same plan.

    Args:
        half_package: the .mlpackage in half precision.
        full_package: its twin in float32.

    Raises:
        ExportError: naming the first operator, attribute or constant that differs by more than rounding.
    """
    full, half = (load_main(read_package(package), package) for package in (full_package, half_package))
    pairs = list(zip(full.outputs, half.outputs, strict=True))
    seen: dict[tuple[str, str], tuple[Any, Any]] = {}
    rounded = 0
    while pairs:
        a, b = (_before_casts(var) for var in pairs.pop())
        if (a.name, b.name) in seen:
            continue
        seen[a.name, b.name] = a, b
        if _kind(a) != _kind(b):
            raise ExportError(f"fp16 has {_kind(b)} ({b.name}) where fp32 has {_kind(a)} ({a.name}); use --precision fp32")
        if _kind(a) == "const":
            rounded += _check_constant(b.name, a.val, b.val)
        elif a.op is not None:
            pairs += _input_pairs(a.op, b.op)
    kinds = [_kind(a) for a, _ in seen.values()]
    operators = {id(a.op) for a, _ in seen.values() if _kind(a) not in ("const", "input")}
    return TwinReport(operators=len(operators), constants=kinds.count("const"), rounded_constants=rounded)


def _kind(var: Any) -> str:
    return "input" if var.op is None else str(var.op.op_type)


def _before_casts(var: Any) -> Any:
    while _kind(var) == "cast" and var.op.inputs["dtype"].val in ("fp16", "fp32"):
        var = var.op.inputs["x"]
    return var


def _input_pairs(full: Any, half: Any) -> list[tuple[Any, Any]]:
    """Return the operands of two operators side by side."""
    if set(full.inputs) != set(half.inputs):
        raise ExportError(f"fp16 {half.op_type} ({half.name}) has inputs {sorted(half.inputs)}, fp32 has {sorted(full.inputs)}")
    pairs = []
    for name in full.inputs:
        a, b = (value if isinstance(value, list | tuple) else (value,) for value in (full.inputs[name], half.inputs[name]))
        pairs += list(zip(a, b, strict=True))
    return pairs


def _check_constant(name: str, full: Any, half: Any) -> bool:
    """Compare one constant; return whether it was rounded."""
    a, b = np.asarray(full), np.asarray(half)
    if a.shape != b.shape:
        raise ExportError(f"fp16 constant {name} has shape {b.shape}, in fp32 it has {a.shape}; use --precision fp32")
    if a.dtype.kind != "f":
        if not np.array_equal(a, b):
            raise ExportError(f"fp16 constant {name} is {b.tolist()}, in fp32 it is {a.tolist()}; use --precision fp32")
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    error = np.abs(a - b)
    if not np.all(error <= HALF_ATOL + HALF_RTOL * np.abs(a)):
        raise ExportError(f"fp16 constant {name} is off by {np.nanmax(error):.3g}, more than rounding; use --precision fp32")
    return bool(error.any())
