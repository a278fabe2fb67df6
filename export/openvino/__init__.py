"""The OpenVINO target: TorchScript trace -> IR, `model.openvino/` with `model.xml` and `model.bin`, read back and checked.

The trace goes to OpenVINO's PyTorch front end directly. The precision at which the CPU computes is no part of the graph: the
settings that say it are written into the file (`edgevit_deploy.formats.openvino`).
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.errors import ExportError, RunError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, usage_beside
from edgevit_deploy.formats.openvino import (
    BIN_NAME,
    HINTS,
    STORED_AT,
    XML_NAME,
    check_ends,
    compile_for_cpu,
    executed_layers,
    load_openvino,
    read_ir,
    reason,
    settings_for,
    stored_settings,
)
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Placement, Precision, Task
from export.torchscript import MULTIPLES_ONLY
from export.torchscript.write import quiet

if TYPE_CHECKING:
    import openvino
    from torch import nn

FOLDER_NAME = "model.openvino"
MODEL_NAME = "EdgeViT"

STORAGES: dict[Precision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "f32"}
KEPT = "f32"
CONVERT = "Convert"
"""The type that a single number may keep, and the operator that turns what is stored in half back into float32."""

HINT_NOTE = (
    "Compiled with INFERENCE_PRECISION_HINT={hint}, which is stored in the file but not taken from there by OpenVINO 2026.4: "
    "pass it on. {otherwise}"
)
OTHERWISE: dict[Precision, str] = {
    "fp32": "Left out, a CPU with AVX-512 BF16 or AMX computes in bfloat16, ten thousand times the error of float32.",
    "fp16": "A CPU without float16 arithmetic computes in bfloat16 or float32 instead, and says so only when the compiled model "
    "is asked for the property again. Weights are stored in float16.",
    "bf16": "A CPU without bfloat16 arithmetic computes in float32 instead. Weights are stored in float32 and rounded when the "
    "model is compiled.",
}
SNIPPETS_NOTE = (
    "Compiled with SNIPPETS_MODE=DISABLE, stored in the file too: OpenVINO 2026.4.1's generated code for fused operators, on by "
    "default, returned wrong numbers at some image sizes (64 x 64), and right ones at 224 x 224."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoOptions:
    """Flags of the OpenVINO target: it has none of its own."""


class OpenVinoExporter(Exporter[OpenVinoOptions]):
    """Writes `model.openvino/` with `model.xml` and `model.bin`, IR version 11, for OpenVINO's CPU plugin."""

    target: ClassVar[str] = "openvino"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4,
            reason="float32 in oneDNN's blocked kernels: other sums, another erf and exp, than PyTorch's; 0.9 to 1.9 measured",
        ),
        "bf16": NoiseMultiple(
            k=2, reason="same storage precision as the emulation, rounded after fused operations; 0.6 to 1.2 measured"
        ),
        "fp16": NoiseMultiple(
            k=2,
            reason="weights in half as in the emulation, activations where the CPU can; in float32 0.7 to 1.1 measured",
        ),
    }
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str | None] = "openvino"
    options_type: ClassVar[type[OpenVinoOptions]] = OpenVinoOptions
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    image_input: ClassVar[bool] = True
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def export(self, module: "nn.Module", plan: ExportPlan[OpenVinoOptions], folder: Path) -> Artifact:
        """Write `model.openvino/` into `folder` and read back what was written.

        Raises:
            ExportError: PyTorch could not trace, OpenVINO could not convert, or the written files are not what was asked for.
        """
        self.refuse(plan)
        ov, path = load_openvino(), folder / FOLDER_NAME
        model = convert(module, plan)
        name_ends(model, plan.input_spec().name, [spec.name for spec in plan.outputs])
        name_the_nameless(model)
        for name, value in settings_for(plan.precision).items():
            model.set_rt_info(value, [STORED_AT, name])
        path.mkdir()
        ov.save_model(model, path / XML_NAME, compress_to_fp16=plan.precision == "fp16")  # True is its default
        written = self.check_written(path, plan, model)
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={"openvino": version("openvino")},
            operators=written.operators,
            placements={"CPU plugin": Placement(partitions=1, outside={}, layers=written.layers)},
            facts={
                "weights_by_storage": written.weights_by_storage,
                "settings": settings_for(plan.precision),
                "executed_layers_here": written.executed_layers,
                "xml_bytes": (path / XML_NAME).stat().st_size,
                "bin_bytes": (path / BIN_NAME).stat().st_size,
            },
            notes=tuple(_notes(plan)),
        )

    def check_written(self, path: Path, plan: ExportPlan[OpenVinoOptions], model: "openvino.Model") -> "Written":
        """Read a written model back, and compare it with what was asked for and with what was converted.

        Raises:
            ExportError: other settings, inputs, outputs, operators or weights than were asked for.
        """
        core = load_openvino().Core()
        try:
            written = read_ir(core, path)
            check_ends(written, (plan.input_spec(),), plan.outputs)
            settings = stored_settings(written)
            executed = executed_layers(compile_for_cpu(core, written, settings))
        except RunError as error:
            raise ExportError(f"OpenVINO wrote what it could not run: {error}") from error
        if settings != settings_for(plan.precision):
            raise ExportError(f"settings in the written file: {settings}, asked for: {settings_for(plan.precision)}")
        check_same_graph(written, model, STORAGES[plan.precision])
        return Written(operators=count_computing(written), weights_by_storage=count_weights(written), executed_layers=executed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was read back from a written model: each is type -> count; the layers are those of the CPU plugin on this host."""

    operators: dict[str, int]
    weights_by_storage: dict[str, int]
    executed_layers: dict[str, int]

    @property
    def layers(self) -> int:
        """How many layers the plugin executes, the outputs not counted."""
        return sum(count for layer, count in self.executed_layers.items() if not layer.startswith("Output "))


def convert(module: "nn.Module", plan: ExportPlan[OpenVinoOptions]) -> "openvino.Model":
    """Trace a module and convert the trace, with the plan's free axes left free.

    Raises:
        ExportError: with PyTorch's or OpenVINO's own words.
    """
    ov = load_openvino()
    traced = trace_with_scopes(module, (plan.batch, 3, *plan.image_size))
    shape = [size if isinstance(size, int) else -1 for size in plan.input_spec().shape]
    try:
        return ov.convert_model(traced, input=[ov.PartialShape(shape)])
    except Exception as error:  # its front end lets any Python exception through
        raise ExportError(f"OpenVINO could not convert the model: {reason(error)}") from error


def trace_with_scopes(module: "nn.Module", shape: tuple[int, ...]) -> Any:
    """Trace a module, each operator with the path of the module that it is from, which OpenVINO puts into its name.

    `export.torchscript.trace` records no paths.

    Raises:
        ExportError: with PyTorch's own words.
    """
    import torch

    with quiet(), torch.no_grad():
        try:
            return torch.jit.trace(module, torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ExportError(f"PyTorch could not trace the model: {first_line(error)}") from error


def name_ends(model: "openvino.Model", input_name: str, output_names: Sequence[str]) -> None:
    """Give a model's input and outputs, tensors and nodes, the names of the manifest."""
    (source,) = model.inputs
    source.get_tensor().set_names({input_name})
    source.get_node().set_friendly_name(input_name)
    for sink, name in zip(model.outputs, output_names, strict=True):
        sink.get_tensor().set_names({name})


def name_the_nameless(model: "openvino.Model") -> None:
    """Number what the converter left without a name: OpenVINO would number it with how many nodes the process has made."""
    model.set_friendly_name(MODEL_NAME)
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}_{index}")


def check_same_graph(written: "openvino.Model", model: "openvino.Model", storage: str) -> None:
    """Refuse a written model that differs from the converted one in more than the storage of its weights.

    So an fp16 or bf16 file has the operators of its float32 twin, whose bound can see what theirs cannot. A single number (an
    attention scale) may stay in float32.

    Raises:
        ExportError: naming the first operator or weight that differs.
    """
    counts, twin_counts = count_operators(written), count_operators(model)
    for operator in sorted({*counts, *twin_counts} - {CONVERT}):
        if counts.get(operator) != twin_counts.get(operator):
            raise ExportError(
                f"OpenVINO wrote {counts.get(operator, 0)} {operator} operators and had converted {twin_counts.get(operator, 0)}"
            )
    for weight, twin in zip(real_constants(written), real_constants(model), strict=True):
        stored, name = weight.get_element_type().get_type_name(), weight.get_friendly_name()
        if stored != storage and not (stored == KEPT and weight.data.size == 1):
            raise ExportError(f"weight {name!r} is stored in {stored}, asked for: {storage}")
        if not np.array_equal(weight.data, twin.data.astype(weight.data.dtype)):
            raise ExportError(f"weight {name!r} is not what was converted, rounded to {stored}")


def real_constants(model: "openvino.Model") -> list[Any]:
    """Return a model's floating-point constants in the order of computation, which writing keeps."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant" and node.get_element_type().is_real()]


def count_operators(model: "openvino.Model") -> dict[str, int]:
    """Count a model's operators by type; constants and conversions of stored types are operators in IR."""
    return dict(sorted(collections.Counter(node.get_type_name() for node in model.get_ops()).items()))


def count_computing(model: "openvino.Model") -> dict[str, int]:
    """Count the operators of a model that compute: not its ends, constants and the conversions of these as they are read."""
    counts = collections.Counter(
        node.get_type_name()
        for node in model.get_ops()
        if node.get_type_name() not in ("Parameter", "Result", "Constant")
        and not (node.get_type_name() == CONVERT and node.input_value(0).get_node().get_type_name() == "Constant")
    )
    return dict(sorted(counts.items()))


def count_weights(model: "openvino.Model") -> dict[str, int]:
    """Count the floating-point numbers in a model's constants by the type that they are stored in."""
    counts: collections.Counter[str] = collections.Counter()
    for node in real_constants(model):
        counts[node.get_element_type().get_type_name()] += node.data.size
    return dict(sorted(counts.items()))


def _notes(plan: ExportPlan[OpenVinoOptions]) -> Iterator[str]:
    yield HINT_NOTE.format(hint=HINTS[plan.precision], otherwise=OTHERWISE[plan.precision])
    yield SNIPPETS_NOTE
    if plan.dynamic_size:
        yield MULTIPLES_ONLY
