"""MIL reference evaluation: the program of a saved Core ML package, walked operator by operator in PyTorch on any platform.

This is never Core ML: no compiler and no device of Apple's takes part. The saved package is read back through coremltools' own
MIL loader, which infers every type again and refuses a program that contradicts itself; arithmetic is float32, and every
result is rounded to the type that the program declares for it, which is the whole emulation of half precision.
"""

import inspect
import sys
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
from runtimes.mil_ops import OPS

ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "fp32": lambda value: value.to(torch.float32),
    "fp16": lambda value: value.to(torch.float16).to(torch.float32),
    "int32": lambda value: value.to(torch.int32),
    "bool": lambda value: value.to(torch.bool),
}
"""Declared type -> how a result is stored; half precision is kept in float32, so that all arithmetic is float32."""

NOT_TENSORS = ("string", "dict")

FOREIGN_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What coremltools' loader and PyTorch's operators raise on a program that they cannot follow."""

Shape = tuple[int, ...]


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
        except FOREIGN_ERRORS as error:
            raise RunError(f"MIL op {self.op} ({self.results[0].name}) failed: {error}") from error
        for declared, result in zip(self.results, results if isinstance(results, tuple) else (results,), strict=True):
            values[declared.name] = declared.store(result)
        for name in self.free:
            del values[name]


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
        refuse_unknown_operators(spec)
        self._accepted = {feature.name: accepted_shapes(feature) for feature in spec.description.input}
        # A classifier's probabilities have a name of Core ML's own; an artifact calls them by what they hold.
        self._renamed = {spec.description.predictedProbabilitiesName: self.outputs[0].name}
        try:
            function = self._read_program(spec)
            self._inputs = tuple(_declare(var) for var in function.inputs.values())
            self._steps = tuple(_compile(function))
        except FOREIGN_ERRORS as error:
            raise RunError(f"{self.path.name}: coremltools cannot read the program ({error}); convert again") from error
        names = [declared.name for declared in self._inputs]
        if set(names) != {expected.name for expected in self.inputs} or set(names) != set(self._accepted):
            raise RunError(f"{self.path.name}: the program takes {names}, expected {[spec.name for spec in self.inputs]}")

    def _read_program(self, spec: Any) -> Any:
        from coremltools.converters.mil.frontend.milproto.load import load

        weights = self.path / DATA_FOLDER / WEIGHTS_PATH
        return load(spec, spec.specificationVersion, str(weights)).functions["main"]

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        values: dict[str, Any] = {}
        for declared in self._inputs:
            array = feeds[declared.name]
            if not any(_fits(array.shape, ranges) for ranges in self._accepted[declared.name]):
                raise RunError(
                    f"{self.path.name}: the description of {declared.name!r} does not allow shape {array.shape}; "
                    "convert again with other --batch, --max-batch, --image-size or --max-side"
                )
            values[declared.name] = declared.store(torch.tensor(array))
        with torch.inference_mode(), _threads(self.threads):
            for step in self._steps:
                step.run(values)
        return {self._renamed.get(name, name): value.numpy() for name, value in values.items() if isinstance(value, Tensor)}

    def _unload(self) -> None:
        self._inputs, self._steps = (), ()


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


def accepted_shapes(feature: Any) -> list[list[tuple[int, int]]]:
    """Read from a model description which shapes Core ML takes for an input.

    Returns:
        Alternatives; each gives the lowest and highest extent of every axis.

    Raises:
        RunError: the input is neither an array nor an RGB image.
    """
    kind = feature.type.WhichOneof("Type")
    if kind == "multiArrayType":
        array = feature.type.multiArrayType
        if array.WhichOneof("ShapeFlexibility") == "shapeRange":
            return [[_range(axis) for axis in array.shapeRange.sizeRanges]]
        shapes = [choice.shape for choice in array.enumeratedShapes.shapes] or [array.shape]
        return [[(size, size) for size in shape] for shape in shapes]
    image = feature.type.imageType
    if kind != "imageType" or image.colorSpace != image.RGB:
        raise RunError(f"input {feature.name!r} is neither an array nor an RGB image; convert again")
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        sides = [(_range(image.imageSizeRange.heightRange), _range(image.imageSizeRange.widthRange))]
    else:
        sizes = image.enumeratedSizes.sizes or [image]
        sides = [((size.height, size.height), (size.width, size.width)) for size in sizes]
    return [[(1, 1), (3, 3), height, width] for height, width in sides]


def _range(axis: Any) -> tuple[int, int]:
    """Return an axis' lowest and highest extent; the format writes "no limit" as a negative number."""
    return int(axis.lowerBound), int(axis.upperBound) if axis.upperBound >= 0 else sys.maxsize


def _fits(shape: Shape, ranges: list[tuple[int, int]]) -> bool:
    return len(shape) == len(ranges) and all(low <= size <= high for size, (low, high) in zip(shape, ranges, strict=True))


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


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads; None leaves PyTorch's setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
