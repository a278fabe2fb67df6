"""A Core AI program in memory: read from a saved asset, its graphs expanded into one, compiled to steps."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevit_deploy.dataflow import Declared, Program, Ref, Step, freed_after
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreai.program import Graph, Operation, Typed
from edgevit_deploy.formats.coreai.program import Program as Saved
from runtimes.coreai.evaluation.composites import check_composite
from runtimes.coreai.evaluation.operators import OPERATORS, VARIADIC

STORED = {"float32": "fp32", "float16": "fp16", "uint8": "uint8", "int8": "int8", "bool": "bool", "int32": "int32"}
"""NumPy's name of a type -> what it is kept as; every other integer as 64 bits."""

AT_LOAD = ("blockwise_shift_scale", "lut_to_dense")
"""What is computed once, from constants."""

MAX_DEPTH = 8
"""Of graphs that invoke graphs; ours have 1."""


def compile_program(saved: Saved) -> Program:
    """Compile the graph `main` of a saved program, with the graphs that it invokes expanded.

    Its inputs have the names that the program gives them, its outputs the order of `saved.main.output_names`.

    Raises:
        RunError: an operator outside the table, or a composite that computes something else than it is declared to be.
    """
    refuse_unknown_operators(saved)
    return _Compiler(saved).compile(saved.main)


def refuse_unknown_operators(saved: Saved) -> None:
    """Refuse a program with an operator outside the table, before anything of it is computed.

    Raises:
        RunError: naming the operators that are not known and all that are.
    """
    kinds = {operation.kind for graph in saved.graphs.values() for operation in graph.operations}
    if unknown := sorted(kinds - set(OPERATORS) - {"constant", "invoke"}):
        known = ", ".join(sorted(OPERATORS))
        raise RunError(f"Core AI operator {', '.join(unknown)} is not known to the reference evaluation; known: {known}")


class _Compiler:
    """Turns graphs into steps; every composite is checked where it is first invoked."""

    def __init__(self, saved: Saved) -> None:
        self.saved = saved
        self.checked = set[tuple[object, ...]]()
        self.count = 0

    def compile(self, graph: Graph, depth: int = 0) -> Program:
        """Return a graph as a program of its own; what it can compute at load is among the constants."""
        inputs = tuple(_declared(value, name or value.key) for value, name in zip(graph.inputs, graph.input_names, strict=True))
        names = {value.key: declared.name for value, declared in zip(graph.inputs, inputs, strict=True)}
        constants, steps = dict[str, Tensor](), list[Step]()
        for step in self._expand(graph, names, constants, depth):
            if step.function.__name__ in AT_LOAD and all(name in constants for name in _reads(step)):
                step.run(constants)
            else:
                steps.append(step)
        outputs = tuple(names[key] for key in graph.outputs)
        free = freed_after([[name for name in _reads(step) if name not in constants] for step in steps], outputs)
        steps = [replace(step, free=freed) for step, freed in zip(steps, free, strict=True)]
        return Program(inputs=inputs, outputs=outputs, steps=tuple(steps), constants=constants)

    def _expand(self, graph: Graph, names: dict[str, str], constants: dict[str, Tensor], depth: int) -> Iterator[Step]:
        """Yield the steps of a graph; `names` says what its values are called in the whole program, and is filled."""
        if depth > MAX_DEPTH:
            raise RunError(f"graphs invoke graphs more than {MAX_DEPTH} deep; convert again")
        for operation in graph.operations:
            operands = [names[key] for key in operation.operands]
            if operation.callee:
                yield from self._invoke(operation, operands, names, constants, depth)
                continue
            results = tuple(_declared(value, self._fresh(value, names)) for value in operation.results)
            if operation.constant is not None:
                constants[results[0].name] = _tensor(operation.constant)
                continue
            yield Step(
                op=f"Core AI operator {operation.kind}",
                function=OPERATORS[operation.kind],
                operands=_arguments(operation, operands),
                results=results,
            )

    def _invoke(
        self, operation: Operation, operands: list[str], names: dict[str, str], constants: dict[str, Tensor], depth: int
    ) -> Iterator[Step]:
        callee = self.saved.graphs[operation.callee]
        if len(operands) != len(callee.inputs) or len(operation.results) != len(callee.outputs):
            raise RunError(f"{operation.callee} takes {len(callee.inputs)} values, and is given {len(operands)}; convert again")
        if callee.composite is not None:
            given = zip(
                (name or value.key for value, name in zip(callee.inputs, callee.input_names, strict=True)), operands, strict=True
            )
            whole = {own: constants[name] for own, name in given if name in constants and _is_whole(constants[name])}
            called = (callee.name, *((own, tuple(value.flatten().tolist())) for own, value in sorted(whole.items())))
            if called not in self.checked:  # with another number it may be another function
                self.checked.add(called)
                check_composite(callee.composite, self.compile(callee, depth + 1), whole)
        inner = {value.key: name for value, name in zip(callee.inputs, operands, strict=True)}
        yield from self._expand(callee, inner, constants, depth + 1)
        for value, key in zip(operation.results, callee.outputs, strict=True):
            names[value.key] = inner[key]

    def _fresh(self, value: Typed, names: dict[str, str]) -> str:
        self.count += 1
        names[value.key] = f"value {self.count}"
        return names[value.key]


def _arguments(operation: Operation, operands: list[str]) -> dict[str, Any]:
    """Return the operands by the names that the operator's function has for them, with the attributes.

    Raises:
        RunError: the function takes others.
    """
    signature = inspect.signature(OPERATORS[operation.kind])
    references: list[Any] = [Ref(name) for name in operands]
    if VARIADIC in signature.parameters:
        position = list(signature.parameters).index(VARIADIC)
        references = [*references[:position], tuple(references[position:])]
    try:
        return dict(signature.bind(*references, **operation.attributes).arguments)
    except TypeError as error:
        raise RunError(f"Core AI operator {operation.kind}: {error} in the reference evaluation") from error


def _reads(step: Step) -> list[str]:
    found = []
    for operand in step.operands.values():
        found += [one.name for one in (operand if isinstance(operand, tuple) else (operand,)) if isinstance(one, Ref)]
    return found


def _declared(value: Typed, name: str) -> Declared:
    return Declared(name=name, dtype=STORED.get(value.dtype, "int64"), shape=value.shape)


def _tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(array.dtype.name if array.dtype.name in STORED else "int64"))


def _is_whole(tensor: Tensor) -> bool:
    return not tensor.is_floating_point()
