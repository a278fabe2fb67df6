"""MNN files (`.mnn`): what one holds, read without running or importing anything of MNN.

A file is one FlatBuffer: operators in the order in which they run, each with the numbers of the tensors that it reads and writes,
and with its own constants. The exporter asks what the converter has written, the runtime whether a file from anywhere may be
loaded: MNN verifies the tables, but not what they say of each other.
"""

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flatbuffers.number_types import Int32Flags, Uint8Flags

from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.mnn.integers import check_grids, read_grids
from edgevit_deploy.formats.mnn.operators import (
    BINARIES,
    BINARY,
    CONSTANT,
    CONVOLUTION_PARAMETERS,
    DTYPES,
    GELU,
    LAYER_NORM,
    OPERATORS,
    PRODUCT,
    SCALE,
    STORED,
    UNARIES,
    UNARY,
)
from edgevit_deploy.formats.mnn.parameters import Parameters, read_parameters
from edgevit_deploy.formats.mnn.weights import Constant, expect, read_constant, read_shape, read_weights, refuse_elsewhere
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.outside.flat_table import DAMAGED, FlatTable, TooManyError
from edgevit_deploy.spec import TensorSpec

FILE_NAME = "model.mnn"

MAX_BYTES = 2**31
"""A FlatBuffer's own places have 32 bits, one of them for the sign."""

MAX_OPERATORS = 1 << 13
"""A file of ours has some 500, one that is written shuffled some 2000."""

FREE, FREE_BATCH = -1, 1
"""The size of an axis that is free; the converter writes the first axis as 1 then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MnnOperator:
    """One operator.

    Attributes:
        kind: in the schema; of one with several functions also which, for example `UnaryOp GELU`.
        name: the converter's, with the path of the module that it was traced in.
        inputs: the numbers of the tensors that it reads.
        outputs: the numbers of those that it writes.
        constant: its weights, or the numbers of a constant.
        parameters: all else that it is told.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constant: Constant | None
    parameters: Parameters


@dataclass(frozen=True, kw_only=True)
class MnnModel:
    """What a file holds.

    Attributes:
        version: of the converter.
        uuid: that the converter gave it.
        inputs: name, sizes (-1 where one is free) and type of each.
        outputs: their names.
        tensors: the names of all tensors, by which operators number them.
        operators: in the order in which they run.
    """

    version: str
    uuid: str
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]
    outputs: tuple[str, ...]
    tensors: tuple[str, ...]
    operators: tuple[MnnOperator, ...]

    def operator_counts(self) -> dict[str, int]:
        """Count what computes, kind -> how many."""
        return dict(sorted(collections.Counter(op.kind for op in self.operators if op.kind not in STORED).items()))

    @cached_property
    def weights(self) -> tuple[MnnOperator, ...]:
        """The convolutions and the constants that are no integers."""
        return tuple(op for op in self.operators if op.constant is not None and op.constant.storage != "int32")

    def storages(self) -> dict[str, int]:
        """Count weights and constants that are no integers by the type that they are stored in."""
        found = collections.Counter(op.constant.storage for op in self.weights if op.constant is not None)
        return dict(sorted(found.items()))


def read_mnn(path: Path) -> MnnModel:
    """Read a file, and refuse in it what no file of ours has.

    Raises:
        RunError: it cannot be read, is damaged, has operators that no network here has, or lists that are not as long as their
            operator reads.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror}); copy or convert it again") from error
    try:
        return _read(content)
    except DAMAGED as error:
        raise RunError(f"{path.name} is damaged: a table of it points outside of it; copy or convert it again") from error
    except (ValueError, TooManyError) as error:
        raise RunError(f"{path.name} is no file of ours: {error}; convert it again") from error
    except MemoryError as error:
        raise RunError(f"{path.name} needs more memory than there is, only to be read; convert it again") from error


def read_stored(path: Path) -> Stored:
    """Return by what a file is rounded: the steps of activations, where it rounds some, and its int8 weights.

    Raises:
        RunError: as `read_mnn`.
    """
    constants = [op.constant for op in read_mnn(path).weights]
    rounded = [constant for constant in constants if constant is not None and constant.storage == "int8"]
    grids = [grid for constant in rounded if constant.ends for grid in (constant.ends.input, constant.ends.output)]
    return Stored(
        activations=tuple((grid.scale, grid.zero_point) for grid in grids),
        weights=tuple(constant.stored() for constant in rounded),
    )


def check_ends(model: MnnModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Compare a model's inputs and outputs with what they should be; of outputs it keeps the names alone.

    Raises:
        RunError: another name, type or shape.
    """
    asked = tuple(
        (
            spec.name,
            tuple(size if isinstance(size, int) else FREE if axis else FREE_BATCH for axis, size in enumerate(spec.shape)),
            spec.dtype,
        )
        for spec in inputs
    )
    names = tuple(sorted(spec.name for spec in outputs))
    if (model.inputs, tuple(sorted(model.outputs))) != (asked, names):
        raise RunError(
            f"it has the inputs {model.inputs} and the outputs {model.outputs}, expected {asked} and {names}; convert it again"
        )


def _read(content: bytes) -> MnnModel:
    if not content:
        raise ValueError("it is empty")
    root = FlatTable.root(content)
    if root.children(10):
        raise ValueError("it has graphs within its graph")
    names = root.texts(7)
    tables = root.children(3)
    if len(tables) > MAX_OPERATORS or len({table.place for table in tables}) != len(tables):
        raise ValueError(f"it has {len(tables)} operators, expected at most {MAX_OPERATORS} and each once")
    operators = tuple(_operator(table) for table in tables)
    _refuse_other_orders(operators, len(names))
    check_grids(
        read_grids(root.children(1)),
        [
            (op.name, op.inputs, op.outputs, op.constant.ends)
            for op in operators
            if op.constant is not None and op.constant.ends is not None
        ],
    )
    inputs = tuple(
        (names[op.outputs[0]], *_input(table.child(2))) for op, table in zip(operators, tables, strict=True) if op.kind == "Input"
    )
    outputs = root.texts(4)
    written = {names[place] for op in operators for place in op.outputs}
    if not inputs or not outputs or not written.issuperset(outputs) or len(set(names)) != len(names):
        raise ValueError("it has no inputs, no outputs, one that nothing computes, or two tensors of one name")
    version, uuid = root.child(2).text(2), root.text(11)
    return MnnModel(version=version, uuid=uuid, inputs=inputs, outputs=outputs, tensors=names, operators=operators)


def _operator(table: FlatTable) -> MnnOperator:
    number, main, name = table.number(5, Int32Flags), table.number(1, Uint8Flags), table.text(3)
    known = OPERATORS.get(number)
    if known is None or main not in known.parameters or table.text(7):
        raise ValueError(f"{name or 'an operator'} is of a kind ({number}, with parameters {main}) that no network here has")
    function, constant = _parameters(known.name, main, table)
    return MnnOperator(
        kind=f"{known.name}{function}",
        name=name,
        inputs=tuple(table.numbers(0)),
        outputs=tuple(table.numbers(4)),
        constant=constant,
        parameters=read_parameters(main, table),
    )


def _parameters(kind: str, main: int, table: FlatTable) -> tuple[str, Constant | None]:
    """Return which function an operator computes, where it has several, and its weights; its lists are counted."""
    if main == CONVOLUTION_PARAMETERS:
        return "", read_weights(kind, table.child(2))
    if main == CONSTANT:
        return "", read_constant(table.child(2))[1]
    if main == UNARY:
        function = UNARIES[table.child(2).number(0, Uint8Flags)]
        if function == GELU:
            raise ValueError(f"{table.text(3)} is a GELU by a tanh, which the networks here do not have")
        return f" {function}", None
    if main == BINARY:
        number = table.child(2).number(0, Uint8Flags)
        if number not in BINARIES:
            raise ValueError(f"{table.text(3)} computes what no network here does of two values ({number})")
        return f" {BINARIES[number]}", None
    if main == LAYER_NORM:
        parameters = table.child(2)
        refuse_elsewhere(parameters, 5)
        expect(kind, "biases", len(parameters.array(3, "<f4")), len(parameters.array(2, "<f4")))
    if main == SCALE:
        parameters = table.child(2)
        refuse_elsewhere(parameters, 3)
        channels = parameters.number(0, Int32Flags)
        expect(kind, "factors", len(parameters.array(1, "<f4")), channels)
        expect(kind, "biases", len(parameters.array(2, "<f4")), channels)
    if main == PRODUCT:
        parameters = table.child(2)
        expect(kind, "constants", len(parameters.array(3, "<f4")) + len(parameters.array(4, "<f4")), 0)
    return "", None


def _input(parameters: FlatTable) -> tuple[tuple[int, ...], str]:
    sizes = read_shape(parameters, 0)
    dtype = DTYPES.get(parameters.number(1, Int32Flags), "")
    if dtype not in ("float32", "uint8") or any(size != FREE and size < 1 for size in sizes):
        raise ValueError(f"an input has the type {dtype or 'of no network'} and the sizes {sizes}")
    return sizes, dtype


def _refuse_other_orders(operators: Sequence[MnnOperator], tensors: int) -> None:
    """Refuse operators that read what was not written before, or write what is not there or was written."""
    written: set[int] = set()
    for op in operators:
        if not written.issuperset(op.inputs):
            raise ValueError(f"{op.name} reads what no operator before it writes")
        if not op.outputs or any(place >= tensors or place in written for place in op.outputs):
            raise ValueError(f"{op.name} writes what is not there, or was written before")
        written.update(op.outputs)
