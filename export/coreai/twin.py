"""Proof that a program in half precision is its fp32 twin with every constant rounded.

The tolerance of half precision is wide enough to hide a wrong operator, so numbers alone cannot judge such a file. Here both
programs are walked from their outputs to their input, over the casts: same operators, same wiring, same attributes, and constants
that differ by no more than rounding. The bodies of composites, which are declared the same, are compared by what they consist of.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.coreai import Program, load_program
from edgevit_deploy.formats.coreai.program import Graph, Operation

HALF_RTOL, HALF_ATOL = 2.0**-10, 2.0**-24
"""One step of half precision: its relative spacing, and the smallest subnormal for what lies below the normal range."""

FLOATS = ("float32", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinReport:
    """What was found the same: operators (without casts) and constants, of which `rounded_constants` are not bit-equal."""

    operators: int
    constants: int
    rounded_constants: int


def compare_with_twin(half_asset: Path, full_asset: Path) -> TwinReport:
    """Compare a program in half precision with the fp32 conversion of the same plan.

    Args:
        half_asset: the .aimodel in half precision.
        full_asset: its twin in float32.

    Raises:
        ExportError: naming the first operator, attribute or constant that differs by more than rounding.
    """
    return compare_programs(load_program(full_asset), load_program(half_asset))


def compare_programs(full: Program, half: Program) -> TwinReport:
    """Compare two programs; see `compare_with_twin`.

    Raises:
        ExportError: naming the first operator, attribute or constant that differs by more than rounding.
    """
    counts = {"operators": 0, "constants": 0, "rounded_constants": 0}
    graphs, seen = [(full.main, half.main)], set[tuple[str, str]]()
    while graphs:
        a, b = graphs.pop()
        if (a.name, b.name) not in seen:
            seen.add((a.name, b.name))
            graphs += [(full.graphs[one], half.graphs[other]) for one, other in _compare_graphs(a, b, counts)]
    return TwinReport(**counts)


class _View:
    """A graph by what its values come from."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.by_result = {result.key: operation for operation in graph.operations for result in operation.results}
        self.dtypes = {value.key: value.dtype for value in graph.inputs}
        self.dtypes |= {result.key: result.dtype for operation in graph.operations for result in operation.results}
        self.inputs = {value.key: position for position, value in enumerate(graph.inputs)}

    def before_casts(self, key: str) -> str:
        """Return the value that one is, but for rounding."""
        while (found := self.by_result.get(key)) is not None and found.kind == "cast":
            if self.dtypes[key] not in FLOATS or self.dtypes[found.operands[0]] not in FLOATS:
                break
            key = found.operands[0]
        return key

    def kind(self, key: str) -> str:
        """Return what a value comes from."""
        return f"input {self.inputs[key]}" if key in self.inputs else self.by_result[key].kind


def _compare_graphs(full: Graph, half: Graph, counts: dict[str, int]) -> list[tuple[str, str]]:
    """Compare two graphs; return the pairs of graphs that they invoke."""
    a, b = _View(full), _View(half)
    if full.composite != half.composite or len(full.outputs) != len(half.outputs):
        raise ExportError(f"fp16 has the graph {half.name} as {half.composite}, fp32 {full.name} as {full.composite}")
    if full.composite is not None:
        _compare_bodies(full, half, counts)
        return []
    pairs, seen, invoked = list(zip(full.outputs, half.outputs, strict=True)), set[tuple[str, str]](), list[tuple[str, str]]()
    while pairs:
        one, other = pairs.pop()
        one, other = a.before_casts(one), b.before_casts(other)
        if (one, other) in seen:
            continue
        seen.add((one, other))
        if a.kind(one) != b.kind(other):
            raise ExportError(f"fp16 has {b.kind(other)} where fp32 has {a.kind(one)} (in {full.name}); use --precision fp32")
        if one in a.inputs:
            continue
        mine, theirs = a.by_result[one], b.by_result[other]
        if mine.constant is not None and theirs.constant is not None:
            counts["constants"] += 1
            counts["rounded_constants"] += _check_constant(full.name, mine.constant, theirs.constant)
            continue
        counts["operators"] += 1
        _check_attributes(full.name, mine, theirs)
        pairs += list(zip(mine.operands, theirs.operands, strict=True))
        if mine.callee:
            invoked.append((mine.callee, theirs.callee))
    return invoked


def _compare_bodies(full: Graph, half: Graph, counts: dict[str, int]) -> None:
    """Compare what two bodies of one composite consist of: the converter writes some in another order in half precision."""
    kinds = [Counter(one.kind for one in graph.operations if one.kind not in ("cast", "constant")) for graph in (full, half)]
    if kinds[0] != kinds[1]:
        raise ExportError(f"fp16 {half.name} has the operators {dict(kinds[1])}, in fp32 it has {dict(kinds[0])}")
    constants = [
        sorted((one.constant for one in graph.operations if one.constant is not None), key=_rank) for graph in (full, half)
    ]
    if len(constants[0]) != len(constants[1]):
        raise ExportError(f"fp16 {half.name} has {len(constants[1])} constants, in fp32 it has {len(constants[0])}")
    for mine, theirs in zip(*constants, strict=True):
        counts["constants"] += 1
        counts["rounded_constants"] += _check_constant(full.name, mine, theirs)
    counts["operators"] += kinds[0].total()


def _rank(constant: NDArray[Any]) -> tuple[str, tuple[int, ...], list[float]]:
    return constant.dtype.kind, constant.shape, constant.astype(np.float64).flatten().tolist()


def _check_attributes(graph: str, full: Operation, half: Operation) -> None:
    said = [{name: text for name, text in one.attributes.items() if name != "callee"} for one in (full, half)]
    if said[0] != said[1] or len(full.operands) != len(half.operands):
        raise ExportError(f"fp16 {half.kind} has {said[1]}, in fp32 it has {said[0]} (in {graph}); use --precision fp32")


def _check_constant(graph: str, full: NDArray[Any], half: NDArray[Any]) -> bool:
    """Compare one constant; return whether it was rounded."""
    if full.shape != half.shape:
        raise ExportError(f"an fp16 constant has shape {half.shape}, in fp32 it has {full.shape} (in {graph})")
    if full.dtype.kind != "f":
        if not np.array_equal(full, half):
            raise ExportError(f"an fp16 constant is {half.tolist()}, in fp32 it is {full.tolist()} (in {graph})")
        return False
    a, b = full.astype(np.float64), half.astype(np.float64)
    error = np.abs(a - b)
    if not np.all(error <= HALF_ATOL + HALF_RTOL * np.abs(a)):
        raise ExportError(f"an fp16 constant is off by {np.nanmax(error):.3g}, more than rounding (in {graph})")
    return bool(error.any())
