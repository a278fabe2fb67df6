"""The Core ML target: trace -> coremltools -> ML Program package, rewritten reproducibly, read back and checked."""

import collections
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.coreml import (
    DATA_FOLDER,
    WEIGHTS_PATH,
    class_labels,
    main_operations,
    read_description,
    read_package,
    stored_in,
)
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.process.scratch import scratch_beside
from edgevit_deploy.spec import DYNAMIC_BATCHES, INPUT_NAME, SIZE_STEP, InputKind, OutputKind, Precision, Task, task_of
from edgevit_deploy.spec.description import Description
from export.coreml.convert import OLDEST, CoreMLOptions, TargetOS, convert, system_of, trace
from export.coreml.eight_bits import EIGHT_BITS, FEWER_BITS, FEWER_BITS_LOSE, NOTES
from export.coreml.package import LABEL_OUTPUT, PREVIEW, PROBABILITIES_OUTPUT, describe, shown_by, to_be_shown, write_package
from export.coreml.rounding import check_rounded, rounded_operators
from export.coreml.twin import compare_with_twin

if TYPE_CHECKING:
    from torch import nn

PACKAGE_NAME = "model.mlpackage"

MINIMUM_OS = {6: "iOS 15, macOS 12", 7: "iOS 16, macOS 13", 8: "iOS 17, macOS 14", 9: "iOS 18, macOS 15"}
"""Specification version -> the oldest systems that load it (coremltools' deployment targets)."""

SPECIFICATION_VERSIONS: dict[TargetOS, int] = {
    "iOS15": 6,
    "iOS16": 7,
    "iOS17": 8,
    "iOS18": 9,
    "macOS12": 6,
    "macOS13": 7,
    "macOS14": 8,
    "macOS15": 9,
}


class CoreMLExporter(Exporter[CoreMLOptions]):
    """Writes `model.mlpackage`, an ML Program with float32 inputs and outputs at every target system."""

    target: ClassVar[str] = "coreml"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4, reason="float32 on another BLAS path; folded scales and a fused GELU change the order of rounding"
        ),
        "fp16": NoiseMultiple(k=2, reason="same storage precision as the emulation, rounded after fused operations"),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = EIGHT_BITS
    packages: ClassVar[tuple[str, ...]] = ("coremltools",)
    """Converting needs no Apple hardware."""

    options_type: ClassVar[type[CoreMLOptions]] = CoreMLOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features", "segment", "detect")
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    cannot_take: ClassVar[Mapping[InputKind, str]] = {
        "uint8": "a multi-array has no numbers of 8 bits without a sign, and an image input takes a picture's bytes as they are"
    }
    copies_on_disk: ClassVar[int] = 4
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def returns(self, options: CoreMLOptions) -> OutputKind:
        """Say probabilities for a classifier, which Core ML shows as such without a softmax of its own; else logits."""
        return "probabilities" if options.classifier else "logits"

    def refuse(self, plan: ExportPlan[CoreMLOptions]) -> None:
        """Refuse batches that an image or a classifier cannot have, a classifier without usable labels, and idle flags.

        Raises:
            UsageError: naming the flag that would work.
        """
        if plan.precision in FEWER_BITS:
            raise UsageError(FEWER_BITS_LOSE)
        super().refuse(plan)
        options, default = plan.options, CoreMLOptions()
        single = plan.batch == 1 and not plan.dynamic_batch
        _check_system(plan)
        if plan.takes == "image" and not single:
            raise UsageError("a Core ML image input holds one picture; use --batch 1, or --input tensor")
        if options.classifier and task_of(plan.returns) != "classify":
            raise UsageError(
                f"--classifier returns classes of a picture, and --task {task_of(plan.returns)} none; leave one of them out"
            )
        if options.classifier and not single:
            raise UsageError("a Core ML classifier answers for one picture; use --batch 1, or leave --classifier out")
        if options.classifier:
            _check_labels(plan)
        if options.max_batch != default.max_batch and not plan.dynamic_batch:
            raise UsageError("--max-batch limits a dynamic batch; add --batch dynamic")
        if options.max_side != default.max_side and not plan.dynamic_size:
            raise UsageError("--max-side limits a dynamic image size; add --image-size dynamic")
        if options.max_batch < max(DYNAMIC_BATCHES):
            raise UsageError(f"--max-batch {options.max_batch} is too small; use {max(DYNAMIC_BATCHES)} or more")
        smallest_side = max(max(size) for size in plan.proven_sizes())
        if plan.dynamic_size and options.max_side < smallest_side:
            raise UsageError(f"--max-side {options.max_side} is too small for this model; use {smallest_side} or more")

    def export(self, module: "nn.Module", plan: ExportPlan[CoreMLOptions], folder: Path) -> Artifact:
        """Write `model.mlpackage` into `folder` and read back what was written.

        In fp16 the fp32 twin is converted as well, and the two programs must be the same but for rounding.

        Raises:
            ExportError: coremltools could not convert, the fp16 program is not its fp32 twin, or the written package is not
                what was asked for.
        """
        path = folder / PACKAGE_NAME
        with scratch_beside(folder) as scratch:
            traced = trace(module, plan)
            raw = scratch / "raw.mlpackage"
            convert(traced, plan, "fp32" if plan.precision == "fp32" else "fp16", raw)
            spec = read_package(raw)
            describe(spec, to_be_shown(plan))
            write_package(spec, raw / DATA_FOLDER / WEIGHTS_PATH, path)
            operators, facts = check_written(path, plan)
            if plan.precision != "fp32":
                twin = scratch / "twin.mlpackage"
                convert(traced, plan, "fp32", twin)
                facts["same_as_fp32_but_rounded"] = asdict(compare_with_twin(path, twin))
            if plan.scheme is not None:
                facts["rounded"] = check_rounded(path, plan.scheme, rounded_operators(module))
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={name: version(name) for name in ("coremltools", "numpy", "torch")},
            operators=operators,
            facts=facts,
            notes=tuple(_notes(plan)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read by what the written package rounds; see `formats.coreml.stored_in`.

        Raises:
            RunError: it cannot be read, or rounds in a way that is never written here.
        """
        return stored_in(artifact.path)

    def description(self, artifact: Artifact) -> Description | None:
        """Return the labels of a classifier, and what its description says of pixels; None where coremltools is not installed.

        Raises:
            RunError: it cannot be read.
        """
        return read_description(artifact.path) if self.probe().ok else None


def _check_system(plan: ExportPlan[CoreMLOptions]) -> None:
    system = plan.options.target_os
    if system is None:
        return
    if system not in SPECIFICATION_VERSIONS:
        raise UsageError(f"coreml has no --target-os {system}; use {', '.join(SPECIFICATION_VERSIONS)}")
    needed = OLDEST.get(plan.precision)
    if needed is not None and SPECIFICATION_VERSIONS[system] < SPECIFICATION_VERSIONS[needed]:
        known = MINIMUM_OS[SPECIFICATION_VERSIONS[needed]]
        raise UsageError(f"{plan.precision} needs {known} or later; use --target-os {needed}, or leave the flag out")


def _check_labels(plan: ExportPlan[CoreMLOptions]) -> None:
    if not plan.labels:
        raise UsageError("--classifier puts class names into the file; add --labels FILE, or leave --classifier out")
    repeated = [label for label, count in collections.Counter(plan.labels).items() if count > 1]
    if repeated:
        raise UsageError(
            f"--classifier keeps one probability for each name, and --labels has {repeated[0]!r} more than once; rename one"
        )


def check_written(path: Path, plan: ExportPlan[CoreMLOptions]) -> tuple[dict[str, int], dict[str, object]]:
    """Read the package back and compare it with what was asked for.

    Returns:
        Its operators, type -> count, and what else it is.

    Raises:
        ExportError: naming what is otherwise.
    """
    spec = read_package(path)
    description = spec.description
    asked = {
        "specification version": SPECIFICATION_VERSIONS[system_of(plan)],
        "inputs": [(INPUT_NAME, "imageType" if plan.takes == "image" else "multiArrayType")],
        "outputs": [LABEL_OUTPUT, PROBABILITIES_OUTPUT] if plan.options.classifier else [spec.name for spec in plan.outputs],
        "output shapes": _shapes(plan),
        "labels": plan.labels if plan.options.classifier else (),
        "half-precision inputs and outputs": [],
        "description": to_be_shown(plan),
    }
    features = [*description.input, *description.output]
    found = {
        "specification version": spec.specificationVersion,
        "inputs": [(feature.name, feature.type.WhichOneof("Type")) for feature in description.input],
        "outputs": [feature.name for feature in description.output],
        "output shapes": {
            feature.name: shape for feature in description.output if (shape := tuple(feature.type.multiArrayType.shape))
        },
        "labels": class_labels(spec),
        "half-precision inputs and outputs": [
            feature.name
            for feature in features
            if feature.type.HasField("multiArrayType")
            and feature.type.multiArrayType.dataType != feature.type.multiArrayType.FLOAT32
        ],
        "description": shown_by(spec),
    }
    for name, value in asked.items():
        if found[name] != value:
            raise ExportError(f"{path.name}: {name} in the written file: {found[name]}, asked for: {value}")
    operators = collections.Counter(operation.type for operation in main_operations(spec) if operation.type != "const")
    weights = path / DATA_FOLDER / WEIGHTS_PATH / "weight.bin"
    return dict(sorted(operators.items())), {
        "specification_version": spec.specificationVersion,
        "minimum_os": MINIMUM_OS[spec.specificationVersion],
        "inputs": [f"{name}: {kind}" for name, kind in found["inputs"]],
        "outputs": found["outputs"],
        "weights_bytes": weights.stat().st_size,
    }


def _shapes(plan: ExportPlan[CoreMLOptions]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each output that a description states: coremltools states none of a classifier or with free axes."""
    if plan.options.classifier or plan.dynamic_batch or plan.dynamic_size:
        return {}
    shapes = plan.outputs_at(plan.batch, plan.image_size)
    return {spec.name: shape for spec, shape in zip(plan.outputs, shapes, strict=True)}


def _notes(plan: ExportPlan[CoreMLOptions]) -> Iterator[str]:
    options = plan.options
    yield (
        f"Loads on {MINIMUM_OS[SPECIFICATION_VERSIONS[system_of(plan)]]} and later. Where the verdict names the MIL reference "
        "evaluation, the saved program was evaluated operator by operator; Apple's compiler and the arithmetic of its GPU and "
        "Neural Engine had no part in it: replay golden/ on the device."
    )
    if plan.precision == "fp16":
        yield (
            "Same operators and wiring as the fp32 conversion of this model, constants rounded; the LayerNorm epsilon "
            f"{plan.spec.norm_eps:g} is a subnormal number in half precision, which a compute unit may flush to zero."
        )
    yield from NOTES.get(plan.precision, ())
    if plan.takes == "image":
        yield (
            "The image input takes a picture of exactly the model's size and normalises it, in float32; resizing and cropping "
            "are the app's (Vision's imageCropAndScaleOption crops without the margin that `preprocess` states)."
        )
    if options.classifier:
        yield (
            "Core ML calls the outputs classLabel and classLabel_probs; the latter, in the order of the labels, is the "
            "manifest's output `probabilities`. There is no logits output."
        )
        if plan.takes != "image":
            yield f"Xcode's preview ({PREVIEW}) needs a classifier that takes pictures: --input image."
    if plan.dynamic_batch:
        yield f"Batch 1 to {options.max_batch}; Core ML refuses others."
    if plan.dynamic_size:
        yield (
            f"Height and width {SIZE_STEP} to {options.max_side}. The format cannot say `multiples of {SIZE_STEP}`: other sizes "
            "are not refused and give a cropped picture's answer or fail."
        )
    if plan.dynamic_batch or plan.dynamic_size:
        yield "Core ML may plan free axes less well than fixed ones; for the Neural Engine prefer fixed sizes."
