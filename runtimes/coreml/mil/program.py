"""A MIL program in memory: loaded from a saved package and compiled to steps."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgevit_deploy.dataflow import NOT_TENSORS, ROUND, Declared, Program, Ref, Step, freed_after
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreml import LOADER_ERRORS, load_main, main_operations
from runtimes.coreml.mil.ops import OPS

AT_LOAD = "constexpr_"
"""What the names of operators begin with whose operands are constants, and whose results therefore are."""


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
            if _at_load(step):
                step.run(constants)
        return Program(
            inputs=tuple(_declare(var) for var in function.inputs.values()),
            outputs=tuple(var.name for var in function.outputs),
            steps=tuple(step for step in steps if not _at_load(step)),
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


def _at_load(step: Step) -> bool:
    return step.function.__name__.startswith(AT_LOAD)


def _compile(function: Any) -> Iterator[Step]:
    """Turn a loaded program into steps: constants become tensors once, and every value knows its last reader."""
    operations = [operation for operation in function.operations if operation.op_type != "const"]
    free = freed_after([list(_reads(operation)) for operation in operations], [var.name for var in function.outputs])
    for operation, freed in zip(operations, free, strict=True):
        operands = {name: _operand(value) for name, value in operation.inputs.items()}
        try:
            inspect.signature(OPS[operation.op_type]).bind(**operands)
        except TypeError as error:
            raise RunError(f"MIL op {operation.op_type}: {error} in the reference evaluation") from error
        yield Step(
            op=f"MIL op {operation.op_type}",
            function=OPS[operation.op_type],
            operands=operands,
            results=tuple(_declare(var) for var in operation.outputs),
            free=freed,
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


def _declare(var: Any) -> Declared:
    from coremltools.converters.mil.mil import types

    dtype = types.builtin_to_string(var.dtype)
    if dtype not in (*ROUND, *NOT_TENSORS):
        raise RunError(f"{var.name}: type {dtype} is not known to the reference evaluation; known: {', '.join(ROUND)}")
    # A symbolic axis is an expression of coremltools' own, not a number.
    shape = () if dtype in NOT_TENSORS else tuple(int(a) if isinstance(a, int | np.integer) else None for a in var.shape)
    return Declared(name=var.name, dtype=dtype, shape=shape)
