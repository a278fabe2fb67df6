"""A MIL program in memory: loaded from a saved package, compiled to steps once, evaluated as often as wanted."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreml import LOADER_ERRORS, load_main, main_operations
from runtimes.coreml.mil.ops import OPS

ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "fp32": lambda value: value.to(torch.float32),
    "fp16": lambda value: value.to(torch.float16).to(torch.float32),
    "int8": lambda value: value.to(torch.int8),
    "uint8": lambda value: value.to(torch.uint8),
    "int32": lambda value: value.to(torch.int32),
    "bool": lambda value: value.to(torch.bool),
}
"""Declared type -> how a result is stored; half precision is kept in float32, so that all arithmetic is float32."""

AT_LOAD = "constexpr_"
"""What the names of operators begin with whose operands are constants, and whose results therefore are."""

NOT_TENSORS = ("string", "dict")


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand that is computed at run time: the value of that name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A value as the program declares it; a symbolic axis is None."""

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
    """One operator, ready to run; `free` names the values that nothing needs after it."""

    op: str
    operands: dict[str, Any]
    results: tuple[Declared, ...]
    free: tuple[str, ...]

    def run(self, values: dict[str, Any]) -> None:
        """Compute the results into `values` and drop what is no longer needed.

        Raises:
            RunError: the operator has something that is not implemented, or cannot work on these values.
        """
        operands = {name: _resolve(operand, values) for name, operand in self.operands.items()}
        try:
            results = OPS[self.op](**operands)
        except LOADER_ERRORS as error:
            raise RunError(f"MIL op {self.op} ({self.results[0].name}) failed: {error}") from error
        for declared, result in zip(self.results, results if isinstance(results, tuple) else (results,), strict=True):
            values[declared.name] = declared.store(result)
        for name in self.free:
            del values[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The function `main` of a package; `constants` are the results of its operators that compute at load, by name."""

    inputs: tuple[Declared, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]

    def evaluate(self, feeds: Mapping[str, Tensor]) -> dict[str, Any]:
        """Run every operator in order.

        Args:
            feeds: one float32 tensor for each input name.

        Returns:
            Each output by name: a float32 tensor, or a classifier's label.

        Raises:
            RunError: an operator cannot do what the program asks, or a result has not its declared shape.
        """
        values = {**self.constants} | {declared.name: declared.store(feeds[declared.name]) for declared in self.inputs}
        with torch.inference_mode():
            for step in self.steps:
                step.run(values)
        return {name: values[name] for name in self.outputs}


def load_program(spec: Any, package: Path) -> Program:
    """Load the program of a package that `read_package` has accepted, its weights included.

    coremltools infers every type and shape again while it loads, and refuses a program that contradicts itself.

    Args:
        spec: what `read_package` returned.
        package: the .mlpackage folder, for the weights.

    Raises:
        RunError: an operator or a type is not known here, or coremltools cannot read the program.
    """
    refuse_unknown_operators(spec)
    try:
        function = load_main(spec, package)
        steps, constants = list(_compile(function)), dict[str, Tensor]()
        for step in steps:
            if step.op.startswith(AT_LOAD):
                step.run(constants)
        return Program(
            inputs=tuple(_declare(var) for var in function.inputs.values()),
            outputs=tuple(var.name for var in function.outputs),
            steps=tuple(step for step in steps if not step.op.startswith(AT_LOAD)),
            constants=constants,
        )
    except LOADER_ERRORS as error:
        raise RunError(f"{package.name}: coremltools cannot read the program ({error}); convert again") from error


def refuse_unknown_operators(spec: Any) -> None:
    """Refuse a program with an operator outside the table, before anything of it is read.

    Raises:
        RunError: naming the operators that are not known and all that are.
    """
    operations = main_operations(spec)
    unknown = sorted({operation.type for operation in operations} - set(OPS) - {"const"})
    if unknown:
        raise RunError(f"MIL op {', '.join(unknown)} is not known to the reference evaluation; known: {', '.join(sorted(OPS))}")
    nested = sorted({operation.type for operation in operations if operation.blocks})
    if nested:
        raise RunError(f"MIL op {', '.join(nested)} holds a nested block, which the reference evaluation does not run")


def _compile(function: Any) -> Iterator[Step]:
    """Turn a loaded program into steps: constants become tensors once, and every value knows its last reader."""
    operations = [operation for operation in function.operations if operation.op_type != "const"]
    last_reader = {name: index for index, operation in enumerate(operations) for name in _reads(operation)}
    for var in function.outputs:
        last_reader.pop(var.name, None)
    for index, operation in enumerate(operations):
        operands = {name: _operand(value) for name, value in operation.inputs.items()}
        try:
            inspect.signature(OPS[operation.op_type]).bind(**operands)
        except TypeError as error:
            raise RunError(f"MIL op {operation.op_type}: {error} in the reference evaluation") from error
        yield Step(
            op=operation.op_type,
            operands=operands,
            results=tuple(_declare(var) for var in operation.outputs),
            free=tuple(name for name in dict.fromkeys(_reads(operation)) if last_reader.get(name) == index),
        )


def _reads(operation: Any) -> Iterator[str]:
    for value in operation.inputs.values():
        for var in value if isinstance(value, list | tuple) else (value,):
            if not _is_constant(var):
                yield var.name


def _is_constant(var: Any) -> bool:
    return var.op is not None and var.op.op_type == "const"


def _operand(value: Any) -> Any:
    """Return a program's operand as a constant, a reference, or a tuple of these."""
    if isinstance(value, list | tuple):
        return tuple(_operand(item) for item in value)
    return _constant(value.val) if _is_constant(value) else Ref(value.name)


def _constant(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return tuple(value)
    array = np.asarray(value)
    if array.ndim == 0:
        return array.item()
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


def _resolve(operand: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(operand, Ref):
        return values[operand.name]
    return tuple(_resolve(item, values) for item in operand) if isinstance(operand, tuple) else operand


def _declare(var: Any) -> Declared:
    from coremltools.converters.mil.mil import types

    dtype = types.builtin_to_string(var.dtype)
    if dtype not in (*ROUND, *NOT_TENSORS):
        raise RunError(f"{var.name}: type {dtype} is not known to the reference evaluation; known: {', '.join(ROUND)}")
    # A symbolic axis is an expression of coremltools' own, not a number.
    shape = () if dtype in NOT_TENSORS else tuple(int(a) if isinstance(a, int | np.integer) else None for a in var.shape)
    return Declared(name=var.name, dtype=dtype, shape=shape)
