"""The OpenVINO target: TorchScript trace -> IR, `model.openvino/` with `model.xml` and `model.bin`, read back and checked.

The trace goes to OpenVINO's PyTorch front end directly. The precision at which the CPU computes is no part of the graph: the
settings that say it are written into the file (`edgevit_deploy.formats.openvino`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, RunError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
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
from edgevit_deploy.formats.openvino.integers import integer_weights, what_is_rounded
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Placement, Precision, Task
from export.openvino.graph import check_same_graph, count_computing, count_weights
from export.openvino.integers import integer_notes, put_weights
from export.torchscript import MULTIPLES_ONLY
from export.torchscript.write import quiet

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn

FOLDER_NAME = "model.openvino"
MODEL_NAME = "EdgeViT"

STORAGES: dict[Precision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "f32", "int8": "f32"}
"""Of what is in floating point."""

HINT_NOTE = (
    "Compiled with INFERENCE_PRECISION_HINT={hint}, which is stored in the file but not taken from there by OpenVINO 2026.4: "
    "pass it on. {otherwise}"
)
OTHERWISE: dict[Precision, str] = {
    "fp32": "Left out, a CPU with AVX-512 BF16 or AMX computes in bfloat16, ten thousand times the error of float32.",
    "fp16": "A CPU without float16 arithmetic computes in bfloat16 or float32 instead, and says so only when the compiled model "
    "is asked for the property again. Weights are stored in float16. On ARM64 OpenVINO 2026.4.1 sums in float16 too: 1.2 times "
    "(trained, 64 x 64) to 9.3 times (random weights, 224 x 224) the error that the bound is twice of: a file may miss it "
    "there; with f32 in place of f16 it keeps it.",
    "bf16": "A CPU without bfloat16 arithmetic computes in float32 instead. Weights are stored in float32 and rounded when the "
    "model is compiled.",
    "int8": "Left out, what is not in integers is computed in bfloat16 where the CPU can: as fast, and less exact.",
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
            reason="weights in half as in the emulation, activations where the CPU can; in float32 0.7 to 1.1 measured; not for "
            "sums in half, as on ARM64 (1.2 to 9.3 measured)",
        ),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "int8": Quantisation(
            scheme=Scheme(activations="s8", symmetric=True),
            bound=NoiseMultiple(
                k=1.1,
                reason="same integers and scales as the emulation, other sums: a value now and then falls to the other side of a "
                "step; 0.89 to 1.01 measured on 32 pictures, 0.98 on 500",
            ),
            form=form_beside(__file__, "form-int8.toml"),
            # Its FakeQuantize has the ends of a range: no type, and of a zero point other than 0 a scale that is read back to a
            # last bit only, so that it could not be proved to be the range's.
            choices={
                "outputs": (False, True),
                "depthwise": (True, False),
                "floating": ("head", "patch_embed1"),
            },
        )
    }
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features", "segment", "detect")
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str | None] = "openvino"
    options_type: ClassVar[type[OpenVinoOptions]] = OpenVinoOptions
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
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
        if plan.scheme is not None:
            put_weights(model, module)
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
            notes=tuple(_notes(plan, written)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read back the steps of activations, and the integers and scales of weights.

        Raises:
            RunError: it cannot be read, or rounds in a way that is never written here.
        """
        return what_is_rounded(read_ir(load_openvino().Core(), artifact.path))

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
        return Written(
            operators=count_computing(written),
            weights_by_storage=count_weights(written),
            executed_layers=executed,
            integer_weights=integer_weights(written),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was read back from a written model: each is type -> count; the layers are those of the CPU plugin on this host.

    `integer_weights` is how many of its convolutions and linear maps have weights in integers.
    """

    operators: dict[str, int]
    weights_by_storage: dict[str, int]
    executed_layers: dict[str, int]
    integer_weights: int

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
    traced = trace_with_scopes(module, plan.example())
    shape = [size if isinstance(size, int) else -1 for size in plan.input_spec().shape]
    try:
        return ov.convert_model(traced, input=[ov.PartialShape(shape)])
    except Exception as error:  # its front end lets any Python exception through
        raise ExportError(f"OpenVINO could not convert the model: {reason(error)}") from error


def trace_with_scopes(module: "nn.Module", example: "Tensor") -> Any:
    """Trace a module, each operator with the path of the module that it is from, which OpenVINO puts into its name.

    `export.torchscript.trace` records no paths.

    Raises:
        ExportError: with PyTorch's own words.
    """
    import torch

    with quiet(), torch.no_grad():
        try:
            return torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
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


def _notes(plan: ExportPlan[OpenVinoOptions], written: Written) -> Iterator[str]:
    yield HINT_NOTE.format(hint=HINTS[plan.precision], otherwise=OTHERWISE[plan.precision])
    if plan.scheme is None:
        yield SNIPPETS_NOTE
    else:
        yield from integer_notes(written.integer_weights, written.executed_layers, plan.input_spec().dtype)
    if plan.dynamic_size:
        yield MULTIPLES_ONLY
