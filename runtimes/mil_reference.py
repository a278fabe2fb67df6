"""MIL reference evaluation: the program of a saved Core ML package, walked operator by operator in PyTorch on any platform.

This is never Core ML: no compiler and no device of Apple's takes part. The saved package is read back through coremltools' own
MIL loader, which infers every type again and refuses a program that contradicts itself; arithmetic is float32, and every
result is rounded to the type that the program declares for it, which is the whole emulation of half precision.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgevit_deploy.apple import DATA_FOLDER, WEIGHTS_PATH, main_operations, read_package
from edgevit_deploy.errors import RunError
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import TensorSpec
from runtimes.mil_ops import OPS

ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "fp32": lambda value: value.to(torch.float32),
    "fp16": lambda value: value.to(torch.float16).to(torch.float32),
    "int32": lambda value: value.to(torch.int32),
    "bool": lambda value: value.to(torch.bool),
}
"""Declared type -> how a result is stored; half precision is kept in float32, so that all arithmetic is float32."""

LOADER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What coremltools' loader and PyTorch's operators raise on a program that they cannot follow."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand that is computed at run time: the value of that name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A value as the program declares it: symbolic axes are None, and so is the shape of what is no tensor."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def store(self, value: Any) -> Any:
        """Return the value rounded to the declared type.

        Raises:
            RunError: its shape is not the declared one.
        """
        if self.shape is None:
            return value
        if len(self.shape) != value.ndim or any(axis not in (None, size) for axis, size in zip(self.shape, value.shape, strict=True)):
            raise RunError(f"{self.name}: the program declares shape {self.shape}, its operator gives {tuple(value.shape)}")
        return ROUND[self.dtype](value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator, ready to run; `free` names the values that nothing needs after it."""

    op: str
    operands: dict[str, Any]
    results: tuple[Declared, ...]
    free: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRanges:
    """What the model description lets an input's axes be: one of several lists of (lowest, highest)."""

    choices: tuple[tuple[tuple[int, int], ...], ...]

    def accept(self, shape: tuple[int, ...]) -> bool:
        """Say whether Core ML would take this shape."""
        return any(
            len(choice) == len(shape) and all(low <= size <= high for size, (low, high) in zip(shape, choice, strict=True))
            for choice in self.choices
        )


class MilReferenceSession(Session):
    """Evaluates a saved .mlpackage; right numbers, no device's own arithmetic, no claim about latency."""

    name = "MIL reference evaluation"
    executes_target = False

    _inputs: tuple[Declared, ...] = ()
    _steps: tuple[Step, ...] = ()

    @classmethod
    def probe(cls) -> Availability:
        """Say whether coremltools, which reads the package, is installed."""
        return requires("coremltools")

    def _load(self) -> None:
        spec = read_package(self.path)
        _refuse_unknown_operators(spec)
        self._ranges = {feature.name: _ranges(feature) for feature in spec.description.input}
        # A classifier returns its probabilities under a name of Core ML's choosing; ours are by the artifact's name.
        probabilities = spec.description.predictedProbabilitiesName
        self._output_names = {probabilities: self.outputs[0].name} if probabilities else {}
        try:
            function = _load_program(spec, self.path).functions["main"]
            self._inputs = tuple(_declared(var) for var in function.inputs.values())
            self._steps = tuple(_compile(function))
        except LOADER_ERRORS as error:
            raise RunError(f"{self.path.name}: coremltools cannot read the program ({error}); convert again") from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        ...

    def _unload(self) -> None:
        self._inputs, self._steps = (), ()
