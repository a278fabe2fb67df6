"""litert-torch in a child process, behind it a quantiser where one is asked for, and what the file says of itself.

The converter is a compiler in C++ that can abort, and it, JAX, absl and torchao print as they like; the child holds both. It also
counts what XNNPACK takes of the file, which only the runtime knows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import zeros
from edgevit_deploy.formats.litert import find_signature, read_ends, read_operators
from edgevit_deploy.process.child import ChildFailure, python, run_once
from edgevit_deploy.process.scratch import scratch_beside
from edgevit_deploy.spec import TensorSpec

if TYPE_CHECKING:
    from torch import nn

CHILD = "import sys; from export.litert.convert import serve; serve(*sys.argv[1:])"
CONVERT_TIMEOUT_S = 1800.0
"""A converted network takes 10 s to a minute, the original one up to three on a busy machine; more than this is a hang."""

DELEGATE = "DELEGATE"
"""What the interpreter calls the one node that stands for a whole partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """To what a converted network is rounded; it is then a `PreparedModel`, whose network the ranges are of."""

    scheme: Scheme
    ranges: Ranges | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a written file holds, as the interpreter reads it.

    Attributes:
        inputs: of its one signature.
        outputs: of its one signature, in the order of the file's, by which metadata describe them.
        operators: how many there are of each, before any delegate takes them.
        partitions: how many pieces of the graph XNNPACK runs.
        outside: operators that are left to the interpreter's own kernels.
        rounded: how many operators have integer weights.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: dict[str, int]
    partitions: int
    outside: dict[str, int]
    rounded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The child's one message: what was written, or why nothing was."""

    written: Written | None = None
    error: str = ""


def convert_in_child(
    module: "nn.Module",
    path: Path,
    input_spec: TensorSpec,
    output_names: tuple[str, ...],
    code: str = CHILD,
    integers: Integers | None = None,
) -> Written:
    """Convert a module to a `.tflite` in a child process and return what the file holds.

    Args:
        module: evaluation mode, with one input, and one output or a tuple.
        path: where to write.
        input_spec: of the input, all sizes fixed; its name becomes the signature's.
        output_names: the signature's names of the outputs.
        code: what the child runs.
        integers: to what it is rounded; None leaves it in floating point.

    Raises:
        ExportError: the converter or the quantiser failed, with its own words, crashed, or took too long.
    """
    import torch

    with scratch_beside(path.parent) as scratch:
        source, raw, answer = (scratch / name for name in ("module.pt", path.name, "answer.json"))
        torch.save((module, integers), source)
        ends = [msgspec.json.encode(end).decode() for end in (input_spec, output_names)]
        arguments = [str(source), str(raw), str(answer), *ends]
        try:
            ended = run_once(python(code, *arguments), timeout_s=CONVERT_TIMEOUT_S)
        except ChildFailure as failure:
            raise ExportError(f"litert-torch {failure}") from failure
        if ended.status or not answer.is_file():
            raise ExportError(f"litert-torch {ended.how}")
        said = msgspec.json.decode(answer.read_bytes(), type=Answer)
        if said.written is None:
            raise ExportError(f"litert-torch could not convert the model: {said.error}")
        raw.rename(path)
    return said.written


def serve(source: str, destination: str, answer: str, input_spec: str, output_names: str) -> None:
    """Be the child: convert the module of a file that the parent wrote, look at the result, and write one answer."""
    import torch

    from edgevit_deploy.model.peers import make_torchvision_importable

    spec, names = msgspec.json.decode(input_spec, type=TensorSpec), msgspec.json.decode(output_names, type=tuple[str, ...])
    path = Path(destination)
    make_torchvision_importable()  # the module may be a peer, whose classes are timm's
    try:
        module, integers = torch.load(source, weights_only=False)  # the parent's own, from its scratch folder
        if integers is None:
            convert(module, path, spec, names)
        else:
            convert_rounded(module, path, spec, names, integers)
        said = Answer(written=look_at(path))
    except Exception as error:  # noqa: BLE001 - the converter has no exception of its own; whatever it raises is the answer
        said = Answer(error=f"{type(error).__name__}: {first_line(error)}")
    Path(answer).write_bytes(msgspec.json.encode(said))


def convert(module: "nn.Module", destination: Path, input_spec: TensorSpec, output_names: tuple[str, ...]) -> None:
    """Convert a module; the names of a signature come from those of keyword arguments and of a dictionary."""
    import litert_torch
    import torch

    from edgevit_deploy.model.ends import as_tuple

    class Named(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return dict(zip(output_names, as_tuple(self.module(*inputs.values())), strict=True))

    example = zeros([int(size) for size in input_spec.shape], input_spec.dtype)
    litert_torch.convert(Named(module).eval(), sample_kwargs={input_spec.name: example}).export(str(destination))


def convert_rounded(
    module: "nn.Module", destination: Path, input_spec: TensorSpec, output_names: tuple[str, ...], integers: Integers
) -> None:
    """Convert a module to a float file beside the destination, and round that."""
    from export.litert.quantise import quantise

    floats = destination.with_suffix(".float.tflite")
    convert(module, floats, input_spec, output_names)
    quantise(floats, destination, module.get_submodule("network"), integers.scheme, integers.ranges)


def look_at(path: Path) -> Written:
    """Load a file with XNNPACK and say what it holds and what XNNPACK takes of it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()  # only now the delegate takes its operators
    nodes = interpreter._get_ops_details()
    signature = find_signature(interpreter)
    places = [int(detail["index"]) for detail in interpreter.get_output_details()]
    outputs = sorted(signature.get_output_details().items(), key=lambda output: places.index(int(output[1]["index"])))
    return Written(
        inputs=read_ends(signature.get_input_details()),
        outputs=read_ends(dict(outputs)),
        operators=_count(node for node in nodes if node["op_name"] != DELEGATE),
        partitions=sum(node["op_name"] == DELEGATE for node in nodes),
        outside=_count(node for node in executed(nodes, set(places)) if node["op_name"] != DELEGATE),
        rounded=sum(operator.scales is not None for operator in read_operators(path)),
    )


def executed(nodes: list[dict[str, Any]], outputs: set[int]) -> list[dict[str, Any]]:
    """Return the nodes that run, found backwards from the outputs' tensors.

    A node that a delegate has taken stays in the list; the delegate's node, behind it, has the same outputs and replaces it.
    """
    producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    found: dict[int, dict[str, Any]] = {}
    wanted = list(outputs)
    while wanted:
        node = producer.get(wanted.pop())
        if node is not None and node["index"] not in found:
            found[node["index"]] = node
            wanted += [int(tensor) for tensor in node["inputs"]]
    return [found[index] for index in sorted(found)]


def _count(nodes: Iterator[dict[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(str(node["op_name"]) for node in nodes).items()))
