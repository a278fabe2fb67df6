"""A program of operators in memory: compiled to steps once, evaluated in PyTorch as often as wanted.

What a runtime needs that evaluates a saved program operator by operator, whatever format the program is in: values as they are
declared, steps that know what nothing needs after them, and constants apart. Arithmetic is float32, and every result is rounded
to the type that the program declares for it, which is the whole emulation of half precision.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from edgevit_deploy.errors import RunError

ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "fp32": lambda value: value.to(torch.float32),
    "fp16": lambda value: value.to(torch.float16).to(torch.float32),
    "int8": lambda value: value.to(torch.int8),
    "uint8": lambda value: value.to(torch.uint8),
    "int32": lambda value: value.to(torch.int32),
    "int64": lambda value: value.to(torch.int64),
    "bool": lambda value: value.to(torch.bool),
}
"""Declared type -> how a result is stored; half precision is kept in float32, so that all arithmetic is float32."""

NOT_TENSORS = ("string", "dict")

FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What PyTorch raises on operands that an operator cannot work on."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand that is computed at run time: the value of that name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A value as the program declares it; a free axis is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def store(self, value: Any) -> Any:
        """Return the value rounded to the declared type; a classifier's label and dictionary as they are.

        Raises:
            RunError: its shape is not the declared one.
        """
        if self.dtype in NOT_TENSORS:
            return value
        found = tuple(value.shape)
        if len(found) != len(self.shape) or any(axis not in (None, size) for axis, size in zip(self.shape, found, strict=True)):
            raise RunError(f"{self.name}: the program declares shape {self.shape}, its operator gives {found}")
        return ROUND[self.dtype](value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator, ready to run.

    Attributes:
        op: what an error calls it.
        function: what it computes.
        operands: of the function, by name; a `Ref` is looked up.
        results: what it gives, in order.
        free: the values that nothing needs after it.
    """

    op: str
    function: Callable[..., Any]
    operands: dict[str, Any]
    results: tuple[Declared, ...]
    free: tuple[str, ...] = ()

    def run(self, values: dict[str, Any]) -> None:
        """Compute the results into `values` and drop what is no longer needed.

        Raises:
            RunError: the operator has something that is not implemented, or cannot work on these values.
        """
        operands = {name: _resolve(operand, values) for name, operand in self.operands.items()}
        try:
            results = self.function(**operands)
        except FAILURES as error:
            raise RunError(f"{self.op} ({self.results[0].name}) failed: {error}") from error
        for declared, result in zip(self.results, results if isinstance(results, tuple) else (results,), strict=True):
            values[declared.name] = declared.store(result)
        for name in self.free:
            del values[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a file computes; `constants` are the results of what is computed at load, by name."""

    inputs: tuple[Declared, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]

    def evaluate(self, feeds: Mapping[str, Tensor]) -> dict[str, Any]:
        """Run every operator in order.

        Args:
            feeds: one tensor for each input name.

        Returns:
            Each output by name: a tensor, or a classifier's label.

        Raises:
            RunError: an operator cannot do what the program asks, or a result has not its declared shape.
        """
        values = {**self.constants} | {declared.name: declared.store(feeds[declared.name]) for declared in self.inputs}
        with torch.inference_mode():
            for step in self.steps:
                step.run(values)
        return {name: values[name] for name in self.outputs}


def not_implemented(op: str, attribute: str, value: object, known: str) -> NoReturn:
    """Refuse an attribute's value, which is never approximated.

    Raises:
        RunError: naming operator, attribute, value and what is implemented.
    """
    raise RunError(f"{op}: {attribute}={value!r} is not implemented here; implemented: {known}")


def ints(values: Tensor) -> list[int]:
    """Return a vector of integers as a list."""
    return [int(value) for value in values.tolist()]


def freed_after(reads: Sequence[Sequence[str]], kept: Sequence[str]) -> list[tuple[str, ...]]:
    """Return for each step the values that no later one reads.

    Args:
        reads: what each step reads, in order.
        kept: what is needed in the end.
    """
    last_reader = {name: index for index, names in enumerate(reads) for name in names}
    for name in kept:
        last_reader.pop(name, None)
    return [tuple(name for name in dict.fromkeys(names) if last_reader.get(name) == index) for index, names in enumerate(reads)]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads; None leaves PyTorch's setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _resolve(operand: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(operand, Ref):
        return values[operand.name]
    return tuple(_resolve(item, values) for item in operand) if isinstance(operand, tuple) else operand
