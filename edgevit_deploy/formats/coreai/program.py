"""The program of a Core AI asset as plain values: its graphs, their operations in order, and their constants as arrays.

It is read through the Python interface of MLIR that the library has; only large constants, to which that interface gives no
access, are taken from the resource section at the end of the module's printed form.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import RunError

MAIN = "main"

DTYPES: dict[str, str] = {
    "f32": "float32",
    "f16": "float16",
    "i1": "bool",
    "si8": "int8",
    "ui8": "uint8",
    "si16": "int16",
    "ui16": "uint16",
    "si32": "int32",
    "ui32": "uint32",
    "si64": "int64",
    "ui64": "uint64",
}
"""Element types of MLIR as NumPy calls them; any other is refused by name."""

PREFIXES = ("coreai.decomposable.", "coreai.")
"""What the names of operations begin with; the first kind is what the library itself may take apart."""

RESOURCE = re.compile(r"^\s*([\w.$-]+|\"[^\"]*\"): \"0x([0-9A-Fa-f]*)\",?$", re.MULTILINE)
RESOURCE_NAME = re.compile(r"dense_resource<([\w.$-]+|\"[^\"]*\")>")
ALIGNMENT_BYTES = 4
"""Before the bytes of a printed resource stands its alignment."""

CALLEE = re.compile(r"@([\w.$-]+)")
NAMES = r'\[([\w", ]*)\]'
COMPOSITE = re.compile(
    rf'#coreai\.composite_declaration<"(\w+)" = \{{input_names = {NAMES}, op_attrs = \{{(.*)\}}, output_names = {NAMES}\}}>'
)
"""The whole of a declaration: what it has besides would be for a compiler, and was not looked at here."""

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
TYPED_NUMBER = rf"{NUMBER}(?: : \w+)?"
ATTRIBUTE = re.compile(rf"(\w+) = ({TYPED_NUMBER}|\[(?:{TYPED_NUMBER}(?:, {TYPED_NUMBER})*)?\])(?:, (?=\w)|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """One value of a graph: `key` is its own in the graph, `dtype` NumPy's name, a free axis is None."""

    key: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation; `attributes` are as MLIR prints them, `constant` is a constant's array, `callee` an invoked graph."""

    kind: str
    operands: tuple[str, ...]
    results: tuple[Typed, ...]
    attributes: dict[str, str]
    constant: NDArray[Any] | None = None
    callee: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """What a private graph is declared to be: a compiler may put its own kernel in place of the graph's body."""

    kind: str
    input_names: tuple[str, ...]
    attributes: dict[str, float | list[float]]
    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph; the names of inputs and outputs are empty where it says none."""

    name: str
    input_names: tuple[str, ...]
    inputs: tuple[Typed, ...]
    operations: tuple[Operation, ...]
    output_names: tuple[str, ...]
    outputs: tuple[str, ...]
    composite: Composite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All graphs of a program, by name; `main` is what an app runs."""

    graphs: dict[str, Graph]

    @property
    def main(self) -> Graph:
        """The graph that an app runs."""
        return self.graphs[MAIN]

    def count_operators(self) -> dict[str, int]:
        """Return what computes, type -> count: composites as what they are declared to be, without constants."""
        kinds = Counter[str]()
        for operation in self.main.operations:
            composite = self.graphs[operation.callee].composite if operation.callee else None
            kinds[composite.kind if composite else operation.kind] += operation.kind != "constant"
        return dict(sorted((+kinds).items()))


def read_program(module: Any) -> Program:
    """Read a module of Core AI's library.

    Raises:
        RunError: it has something that is not read here.
    """
    resources = read_resources(module)
    graphs = dict[str, Graph]()
    for operation in module.body.operations:
        if operation.operation.name != "coreai.graph":
            raise RunError(f"the program holds {operation.operation.name} beside its graphs, which is not read here")
        graph = _graph(operation.operation, resources)
        if graph.name in graphs:
            raise RunError(f"the program has two graphs {graph.name!r}")
        graphs[graph.name] = graph
    if MAIN not in graphs:
        raise RunError(f"the program has the graphs {', '.join(sorted(graphs)) or '(none)'}, expected {MAIN} among them")
    missing = {operation.callee for graph in graphs.values() for operation in graph.operations if operation.callee} - set(graphs)
    if missing:
        raise RunError(f"the program invokes {', '.join(sorted(missing))}, which it does not have")
    return Program(graphs=graphs)


def read_resources(module: Any) -> dict[str, bytes]:
    """Return the bytes of a module's large constants by name."""
    text = module.operation.get_asm(enable_debug_info=False)
    start = text.rfind("{-#")
    section = text[start:] if start >= 0 else ""
    return {found[1]: bytes.fromhex(found[2])[ALIGNMENT_BYTES:] for found in RESOURCE.finditer(section)}


def read_constant(operation: Any, resources: dict[str, bytes]) -> NDArray[Any]:
    """Return the array of a constant of MLIR.

    Raises:
        RunError: it has another kind of value, or its bytes are not there.
    """
    value, expected = operation.attributes["value"], _typed(operation.results[0], "")
    shape, dtype = tuple(size or 0 for size in expected.shape), np.dtype(expected.dtype)
    named = RESOURCE_NAME.search(str(value)) if not hasattr(value, "is_splat") else None
    if named is not None:
        content = resources.get(named[1])
        if content is None or len(content) != int(np.prod(shape)) * dtype.itemsize:
            raise RunError(f"the constant {named[1]} has not the bytes that its type {expected.dtype} {shape} needs")
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)
    array = np.array(value)
    if array.dtype != dtype or array.shape != shape:
        raise RunError(f"a constant is {array.dtype} {array.shape}, its type says {dtype} {shape}")
    return array


def _graph(graph: Any, resources: dict[str, bytes]) -> Graph:
    attributes = {named.name: named.attr for named in graph.attributes}
    (block,) = graph.regions[0].blocks
    keys = dict[Any, str]()
    inputs = tuple(_typed(argument, _key(argument, keys)) for argument in block.arguments)
    operations, outputs = list[Operation](), tuple[str, ...]()
    for wrapped in block.operations:
        operation = wrapped.operation
        if operation.name == "coreai.output":
            outputs = tuple(keys[value] for value in operation.operands)
            continue
        operations.append(_operation(operation, keys, resources))
    return Graph(
        name=attributes["sym_name"].value,
        input_names=tuple(_names(attributes["arg_attrs"])),
        inputs=inputs,
        operations=tuple(operations),
        output_names=tuple(_names(attributes["res_attrs"])),
        outputs=outputs,
        composite=read_composite(str(attributes["composite_decl"])) if "composite_decl" in attributes else None,
    )


def _operation(operation: Any, keys: dict[Any, str], resources: dict[str, bytes]) -> Operation:
    if len(operation.regions):
        raise RunError(f"{operation.name} holds a graph of its own, which is not read here")
    kind = next((operation.name.removeprefix(prefix) for prefix in PREFIXES if operation.name.startswith(prefix)), operation.name)
    attributes = {named.name: str(named.attr) for named in operation.attributes if kind != "constant"}
    callee = CALLEE.search(attributes["callee"]) if kind == "invoke" else None
    return Operation(
        kind=kind,
        operands=tuple(keys[value] for value in operation.operands),
        results=tuple(_typed(value, _key(value, keys)) for value in operation.results),
        attributes=attributes,
        constant=read_constant(operation, resources) if kind == "constant" else None,
        callee=callee[1] if callee else "",
    )


def _key(value: Any, keys: dict[Any, str]) -> str:
    keys[value] = f"v{len(keys)}"
    return keys[value]


def _typed(value: Any, key: str) -> Typed:
    kind = value.type
    if not hasattr(kind, "element_type"):
        raise RunError(f"a value is {kind}, which is no tensor; convert again")
    element = str(kind.element_type)
    if element not in DTYPES:
        raise RunError(f"element type {element} is not read here; known: {', '.join(DTYPES)}")
    shape = tuple(None if kind.is_dynamic_dim(axis) else kind.get_dim_size(axis) for axis in range(kind.rank))
    return Typed(key=key, dtype=DTYPES[element], shape=shape)


def _names(attributes: Any) -> Iterator[str]:
    for table in attributes:
        named = {entry.name: entry.attr for entry in table}
        yield named["coreai.name"].value if "coreai.name" in named else ""


def read_composite(declaration: str) -> Composite:
    """Read a declaration as MLIR prints it.

    Raises:
        RunError: something of it is not read here: attributes that are no numbers, or anything besides names and attributes.
    """
    found = COMPOSITE.fullmatch(declaration)
    attributes, position = dict[str, float | list[float]](), 0
    while found is not None and position < len(found[3]):
        attribute = ATTRIBUTE.match(found[3], position)
        if attribute is None:
            raise RunError(f"a composite is declared to be {found[1]} with {found[3][position:][:80]}, which is not read here")
        attributes[attribute[1]] = _value(attribute[2])
        position = attribute.end()
    if found is None:
        raise RunError(f"a composite is declared as {declaration[:80]}, which is not read here")
    names = [tuple(name.strip('"') for name in found[group].split(", ") if name) for group in (2, 4)]
    return Composite(kind=found[1], input_names=names[0], attributes=attributes, output_names=names[1])


def _value(text: str) -> float | list[float]:
    numbers = [float(number.partition(" : ")[0]) for number in text.strip("[]").split(", ") if number]
    return numbers if text.startswith("[") else numbers[0]
