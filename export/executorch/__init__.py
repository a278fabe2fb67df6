"""The ExecuTorch target: torch.export -> edge operators, partitioned for XNNPACK -> `model.pte`, read back and counted.

XNNPACK takes what it can into delegates; what it cannot, runs between them in ExecuTorch's own kernels. That is no error, and
nothing says so afterwards, so the written file is asked.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, RunError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.executorch import PteFile, read_pte_file
from edgevit_deploy.formats.executorch.stored import read_stored
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Placement, Precision, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_NAME = "model.pte"

FP32_ONLY = "Float32 only: half precision in XNNPACK was not verified, so it is not offered."
ROUNDED = (
    "Takes {input}, returns float32. {operators} operators have integer weights; normalisations, attention's products, softmax, "
    "GELU, LocalProp, the samplers and residual sums are float32 inside the delegate, between {quantise} that round and "
    "{dequantise} that undo it."
)
ALL_DELEGATED = "XNNPACK runs the whole network in one delegate; the app must be linked with the XNNPACK backend."
SOME_OUTSIDE = (
    "Outside XNNPACK ({count} delegates) run {calls} operators, in ExecuTorch's own kernels: {operators}; the app must be linked "
    "with the XNNPACK backend and with those kernels."
)
CAST_OUTSIDE = "One of them makes floats of the input's bytes: XNNPACK's partitioner takes no such conversion."
INTEGER_WEIGHT, QUANTISE, DEQUANTISE = "dequantize_per_channel", "quantize_per_tensor", "dequantize_per_tensor"
ORDER = "The method returns its outputs without names, in the order of the manifest: {names}."
ONE_SHAPE = "Batch {batch} and {height} x {width} only: ExecuTorch plans its memory for one shape."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuTorchOptions:
    """Flags of the ExecuTorch target: it has none of its own."""


class ExecuTorchExporter(Exporter[ExecuTorchOptions]):
    """Writes `model.pte`, for ExecuTorch 1.5 with the XNNPACK backend."""

    target: ClassVar[str] = "executorch"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4, reason="float32 in XNNPACK's own blocked kernels: other sums, another erf and exp, than PyTorch's"
        ),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "int8": Quantisation(
            scheme=Scheme(activations="s8", outputs=True, dialect="export"),
            bound=NoiseMultiple(
                k=1.1,
                reason="the emulation's grids, biases as int32 steps: 1.00 of its error on 500 pictures; roundings that fall "
                "to the other side move 32 of them by 5 to 8 %",
            ),
            form=form_beside(__file__, "form-int8.toml"),
            choices={  # XNNPACK takes an operator whose output is rounded with its input, or neither
                "symmetric": (False, True),
                "depthwise": (True, False),
                "floating": ("head", "patch_embed1"),
            },
        ),
    }
    packages: ClassVar[tuple[str, ...]] = ("executorch",)
    extra: ClassVar[str | None] = "executorch"
    options_type: ClassVar[type[ExecuTorchOptions]] = ExecuTorchOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    dynamic_batch: ClassVar[bool] = False
    dynamic_size: ClassVar[bool] = False
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def export(self, module: "nn.Module", plan: ExportPlan[ExecuTorchOptions], folder: Path) -> Artifact:
        """Write `model.pte` into `folder` and read back what was written.

        Raises:
            ExportError: ExecuTorch could not convert the model, or the written file is not what was asked for.
        """
        self.refuse(plan)
        path = folder / FILE_NAME
        lowered = lower(module if plan.scheme is None else _with_integers(module), plan.example())
        path.write_bytes(lowered.content)
        written = check_written(path, lowered, plan.outputs_at(plan.batch, plan.image_size))
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={"executorch": version("executorch")},
            operators=lowered.operators,
            placements={"XNNPACK": Placement(partitions=written.delegate_calls, outside=written.operators_outside)},
            facts={"program_bytes": written.program_bytes},
            notes=tuple(_notes(written, plan, lowered.operators)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read back from a quantised file what it rounds by.

        Raises:
            RunError: it cannot be read.
        """
        return read_stored(artifact.path)


def _with_integers(module: "nn.Module") -> "nn.Module":
    from export.executorch.integers import with_integers

    return with_integers(module)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A program as it will be written; `operators` counts those of the whole graph, inside the delegates and outside."""

    content: bytes
    delegates: int
    operators: dict[str, int]


def lower(module: "nn.Module", example: "Tensor") -> Lowered:
    """Convert a module that takes one such tensor; XNNPACK takes what it can.

    Raises:
        ExportError: with ExecuTorch's own words.
    """
    import torch

    with quiet(), torch.no_grad():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            exported = torch.export.export(module, (example,))
            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            graph = edge.exported_program().graph_module
            operators = count_operators(graph)
            delegates = sum("executorch_call_delegate" in str(node.target) for node in graph.graph.nodes)
            content = bytes(edge.to_executorch().buffer)
        except Exception as error:  # its stages have exceptions of their own, with no common base
            raise ExportError(f"ExecuTorch could not convert the model: {type(error).__name__}: {first_line(error)}") from error
    return Lowered(content=content, delegates=delegates, operators=operators)


def count_operators(graph: Any) -> dict[str, int]:
    """Count the edge operators of a partitioned graph module, those inside its delegates too: name -> count."""
    graphs = [
        graph,
        *(part.original_module.graph_module for _, part in graph.named_children() if hasattr(part, "original_module")),
    ]
    names = (node.target.name() for part in graphs for node in part.graph.nodes if hasattr(node.target, "_schema"))
    return dict(Counter(names).most_common())


def check_written(path: Path, lowered: Lowered, outputs: tuple[tuple[int, ...], ...]) -> PteFile:
    """Read a written program back and compare it with the graph that it was made from.

    Raises:
        ExportError: another number of delegates, another backend, other outputs, or what the runtime would refuse.
    """
    try:
        written = read_pte_file(path)
    except RunError as error:
        raise ExportError(f"ExecuTorch wrote what it could not run: {error}") from error
    if objections := written.objections():
        raise ExportError(f"ExecuTorch wrote what could not be run: {'; '.join(objections)}")
    if written.delegate_calls != lowered.delegates:
        raise ExportError(f"{path.name} has {written.delegate_calls} delegates, its graph had {lowered.delegates}")
    if written.outputs != outputs:
        raise ExportError(f"{path.name}: outputs in the written file: {written.outputs}, asked for: {outputs}")
    return written


@contextmanager
def quiet() -> Iterator[None]:
    """Silence ExecuTorch and what it imports: libraries for hardware that is not here, and deprecations inside of it."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _notes(written: PteFile, plan: ExportPlan[ExecuTorchOptions], operators: dict[str, int]) -> Iterator[str]:
    height, width = plan.image_size
    if written.operators_outside:
        counts = ", ".join(f"{name} ({count})" for name, count in written.operators_outside.items())
        calls = sum(written.operators_outside.values())
        yield SOME_OUTSIDE.format(calls=calls, count=written.delegate_calls, operators=counts)
        if plan.input_spec().dtype != "float32":
            yield CAST_OUTSIDE
    else:
        yield ALL_DELEGATED
    if len(plan.outputs) > 1:
        yield ORDER.format(names=", ".join(spec.name for spec in plan.outputs))
    yield ONE_SHAPE.format(batch=plan.batch, height=height, width=width)
    yield FP32_ONLY if plan.scheme is None else _rounded(operators, plan.input_spec().dtype)


def _rounded(operators: dict[str, int], dtype: str) -> str:
    counts = {name: operators.get(f"quantized_decomposed::{name}", 0) for name in (INTEGER_WEIGHT, QUANTISE, DEQUANTISE)}
    return ROUNDED.format(input=dtype, operators=counts[INTEGER_WEIGHT], quantise=counts[QUANTISE], dequantise=counts[DEQUANTISE])
