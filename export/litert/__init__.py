"""The LiteRT target: litert-torch, in a child process -> `model.tflite`, read back, and loaded to count XNNPACK's partitions.

In eight bits it is written in floating point and then rounded by ai-edge-quantizer, to the project's own grids. Operators that
are rounded before they are converted end in several partitions, and slower: GELU between them becomes one of int8.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.litert import SIGNATURE, read_stored
from edgevit_deploy.formats.litert.metadata import read_description
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Placement, Precision, Task, TensorSpec
from edgevit_deploy.spec.description import Description
from export.litert.convert import Integers, Written, convert_in_child
from export.litert.metadata import add_metadata

if TYPE_CHECKING:
    from torch import nn

FILE_NAME = "model.tflite"
TOOLS = ("litert-torch", "litert-converter", "ai-edge-litert")

ONE_SHAPE = "Batch {batch} and {height} x {width} only: the shapes are fixed in the file."
NAMES = (
    "The signature `{signature}` calls the input `{input}` and the {outputs}, with the shapes of the manifest; names of "
    "tensors are the converter's own."
)
METADATA = (
    "It has TensorFlow Lite's metadata: description, normalisation of pixels, labels. The input is planar: the Task Library's "
    "image classes, and code that is generated from metadata, hand over interleaved pixels, so neither runs this file."
)
WITHOUT_LABELS = METADATA.replace(", normalisation of pixels, labels.", " and normalisation of pixels.")
NO_LABELS = "No labels are in them, since nobody named the classes."
ONE_PARTITION = (
    "XNNPACK runs all {operators} operators as one partition (ai-edge-litert {version}, on the CPU that converted it)."
)
SEVERAL_PARTITIONS = (
    "XNNPACK runs it, in partitions: {partitions} (ai-edge-litert {version}, on the CPU that converted it); outside of them the "
    "interpreter's own kernels run {outside}."
)
ONLY_FLOAT32 = (
    "Weights and arithmetic are float32. A GPU or NPU delegate may round to half precision, and its own list of operators "
    "decides what it takes: neither was tried, and the bound does not cover it."
)
ROUNDED = (
    "Takes {input}, returns float32. Written in floating point and then rounded by ai-edge-quantizer: {operators} operators have "
    "integer weights; {rest}. Other delegates than XNNPACK (GPU, NPU) were not tried, may refuse such a file or round otherwise, "
    "and the bound does not cover them."
)
FLOAT_BETWEEN = (
    "normalisations, attention's products, softmax, LocalProp, the samplers and residual sums are float32 between {quantise} "
    "QUANTIZE and {dequantise} DEQUANTIZE"
)
FLOAT_OUTSIDE = (
    "XNNPACK rounds what goes into them at each run, by one range for each position of a 1x1 convolution and for each picture of "
    "others, and gives float32; depthwise convolutions and everything else are float32"
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
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "int8": Quantisation(
            scheme=Scheme(activations="s8", outputs=True, written_by="vendor"),
            bound=NoiseMultiple(
                k=1.1,
                reason="the emulation's grids, biases as int32 steps: 1.00 of its error on 500 pictures; roundings that fall "
                "to the other side move 32 of them by 7 %",
            ),
            form=form_beside(__file__, "form-int8.toml"),
            choices={  # its quantiser rounds an operator's output with its input
                "symmetric": (False, True),
                "depthwise": (True, False),
                "floating": ("head", "patch_embed1"),
            },
        ),
        "int8-dynamic": Quantisation(
            scheme=Scheme(activations="each run", depthwise=False, written_by="vendor"),
            bound=NoiseMultiple(
                k=1.1,
                reason="XNNPACK's own rule for the range of each run: 1.00 of the emulation's error on 500 pictures, 0.97 to "
                "1.05 on blocks of 32",
            ),
            form=form_beside(__file__),  # depthwise convolutions stay float32, so that folding loses nothing
        ),
    }
    packages: ClassVar[tuple[str, ...]] = ("litert_torch", "ai_edge_litert", "ai_edge_quantizer")
    """The second is the runtime, which counts XNNPACK's partitions; the third rounds."""

    extra: ClassVar[str | None] = "litert"
    options_type: ClassVar[type[LiteRTOptions]] = LiteRTOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    dynamic_batch: ClassVar[bool] = False
    dynamic_size: ClassVar[bool] = False
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
        integers = None if plan.scheme is None else Integers(scheme=plan.scheme, ranges=plan.ranges)
        written = convert_in_child(module, path, inputs[0], tuple(output.name for output in outputs), integers=integers)
        check_written(written, inputs, outputs)
        add_metadata(path, plan)
        if plan.scheme is not None:
            check_rounded(written, module, plan.scheme)
        return Artifact(
            target=self.target,
            path=path,
            inputs=inputs,
            outputs=outputs,
            tools={name: version(name) for name in (*TOOLS, *(["ai-edge-quantizer"] if integers else []))},
            operators=written.operators,
            placements={"XNNPACK": Placement(partitions=written.partitions, outside=written.outside)},
            notes=tuple(_notes(plan, written)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read back from a quantised file what it rounds by.

        Raises:
            RunError: it cannot be read.
        """
        return read_stored(artifact.path)

    def description(self, artifact: Artifact) -> Description | None:
        """Return what its metadata say of pixels and labels.

        Raises:
            RunError: they are damaged.
        """
        return read_description(artifact.path)


def check_written(written: Written, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Compare the signature of a written file with what was asked for.

    Raises:
        ExportError: other names, shapes or types.
    """
    for what, found, asked in (("inputs", written.inputs, inputs), ("outputs", written.outputs, outputs)):
        if found != asked:
            raise ExportError(f"{FILE_NAME}: {what} in the written file: {found}, asked for: {asked}")


def check_rounded(written: Written, module: "nn.Module", scheme: Scheme) -> None:
    """Compare how many operators of a written file are rounded with how many were to be.

    Raises:
        ExportError: more or fewer.
    """
    from edgevit_deploy.deploy.quantised import chosen

    asked = len(chosen(module.get_submodule("network"), scheme))
    if written.rounded != asked:
        raise ExportError(f"{FILE_NAME}: {written.rounded} operators are rounded in the written file, {asked} were to be")


def _notes(plan: ExportPlan[LiteRTOptions], written: Written) -> Iterator[str]:
    height, width = plan.image_size
    yield ONE_SHAPE.format(batch=plan.batch, height=height, width=width)
    names = ", ".join(f"`{output.name}`" for output in plan.outputs)
    called = f"output{'s' if len(plan.outputs) > 1 else ''} {names}"
    yield NAMES.format(signature=SIGNATURE, input=plan.input_spec().name, outputs=called)
    if plan.returns == "features":
        yield WITHOUT_LABELS
    else:
        yield METADATA if plan.labels else f"{METADATA} {NO_LABELS}"
    runtime = version("ai-edge-litert")
    if written.outside or written.partitions != 1:
        outside = ", ".join(f"{count} {name}" for name, count in written.outside.items()) or "nothing"
        yield SEVERAL_PARTITIONS.format(partitions=written.partitions, version=runtime, outside=outside)
    else:
        yield ONE_PARTITION.format(operators=sum(written.operators.values()), version=runtime)
    yield ONLY_FLOAT32 if plan.scheme is None else _rounded(plan.scheme, written, plan.input_spec().dtype)


def _rounded(scheme: Scheme, written: Written, dtype: str) -> str:
    ends = {"quantise": written.operators.get("QUANTIZE", 0), "dequantise": written.operators.get("DEQUANTIZE", 0)}
    rest = FLOAT_BETWEEN.format(**ends) if scheme.calibrated else FLOAT_OUTSIDE
    return ROUNDED.format(input=dtype, operators=written.rounded, rest=rest)
