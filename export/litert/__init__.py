"""The LiteRT target: litert-torch, in a child process -> `model.tflite`, read back, and loaded to count XNNPACK's partitions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, usage_beside
from edgevit_deploy.formats.litert import SIGNATURE
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Placement, Precision, TensorSpec
from export.litert.convert import Written, convert_in_child

if TYPE_CHECKING:
    from torch import nn

FILE_NAME = "model.tflite"

ONE_SHAPE = "Batch {batch} and {height} x {width} only: the shapes are fixed in the file."
NAMES = (
    "The signature `{signature}` calls the input `{input}` and the output `{output}`, with the shapes of the manifest; names "
    "of tensors are the converter's own."
)
ONE_PARTITION = (
    "XNNPACK runs all {operators} operators as one partition (ai-edge-litert {version}, on the CPU that converted it)."
)
SEVERAL_PARTITIONS = (
    "XNNPACK runs it in {partitions} partitions (ai-edge-litert {version}, on the CPU that converted it); between them the "
    "interpreter's own kernels run {outside}."
)
ONLY_FLOAT32 = (
    "Weights and arithmetic are float32. A GPU or NPU delegate may round to half precision, and its own list of operators "
    "decides what it takes: neither was tried, and the bound does not cover it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRTOptions:
    """Flags of the LiteRT target: it has none of its own."""


class LiteRTExporter(Exporter[LiteRTOptions]):
    """Writes `model.tflite`, for LiteRT (TensorFlow Lite until 2024) on Android, iOS, desktops and embedded Linux."""

    target: ClassVar[str] = "litert"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4, reason="float32 in XNNPACK's kernels: other sums, another exp and erf, than PyTorch's; means written out"
        ),
    }
    packages: ClassVar[tuple[str, ...]] = ("litert_torch", "ai_edge_litert")
    """The second is the runtime, which counts XNNPACK's partitions."""

    extra: ClassVar[str | None] = "litert"
    options_type: ClassVar[type[LiteRTOptions]] = LiteRTOptions
    dynamic_batch: ClassVar[bool] = False
    dynamic_size: ClassVar[bool] = False
    image_input: ClassVar[bool] = True
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def export(self, module: "nn.Module", plan: ExportPlan[LiteRTOptions], folder: Path) -> Artifact:
        """Write `model.tflite` into `folder` and read back what was written.

        Raises:
            ExportError: litert-torch could not convert, or the written file is not what was asked for.
        """
        self.refuse(plan)
        path = folder / FILE_NAME
        inputs, outputs = (plan.input_spec(),), plan.outputs
        written = convert_in_child(module, path, inputs[0], outputs[0].name)
        check_written(written, inputs, outputs)
        return Artifact(
            target=self.target,
            path=path,
            inputs=inputs,
            outputs=outputs,
            tools={name: version(name) for name in ("litert-torch", "litert-converter", "ai-edge-litert")},
            operators=written.operators,
            placements={"XNNPACK": Placement(partitions=written.partitions, outside=written.outside)},
            notes=tuple(_notes(plan, written, outputs[0].name)),
        )


def check_written(written: Written, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Compare the signature of a written file with what was asked for.

    Raises:
        ExportError: other names, shapes or types.
    """
    for what, found, asked in (("inputs", written.inputs, inputs), ("outputs", written.outputs, outputs)):
        if found != asked:
            raise ExportError(f"{FILE_NAME}: {what} in the written file: {found}, asked for: {asked}")


def _notes(plan: ExportPlan[LiteRTOptions], written: Written, output_name: str) -> Iterator[str]:
    height, width = plan.image_size
    yield ONE_SHAPE.format(batch=plan.batch, height=height, width=width)
    yield NAMES.format(signature=SIGNATURE, input=plan.input_spec().name, output=output_name)
    runtime = version("ai-edge-litert")
    if written.outside or written.partitions != 1:
        outside = ", ".join(f"{count} {name}" for name, count in written.outside.items()) or "nothing"
        yield SEVERAL_PARTITIONS.format(partitions=written.partitions, version=runtime, outside=outside)
    else:
        yield ONE_PARTITION.format(operators=sum(written.operators.values()), version=runtime)
    yield ONLY_FLOAT32
