"""The Core ML target: trace -> coremltools -> ML Program package, rewritten reproducibly, read back and checked.

coremltools converts on any platform. Its frontend for traces is the older and faster of its two (2 s for XXS), and sizes
computed with `//` stay symbolic in it; only numpy below 2.4 suits it, which the project pins.
"""

import collections
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partialmethod
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from edgevit_deploy.apple import DATA_FOLDER, WEIGHTS_PATH, class_labels, import_coremltools, main_operations, read_package
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.spec import INPUT_NAME, SIZE_STEP, OutputForm, Precision
from export.coreml_package import describe, write_package
from export.coreml_twin import compare_with_twin

if TYPE_CHECKING:
    from torch import nn

PACKAGE_NAME = "model.mlpackage"

TargetOS = Literal["iOS15", "iOS16", "iOS17", "iOS18", "macOS12", "macOS13", "macOS14", "macOS15"]

MINIMUM_OS = {6: "iOS 15, macOS 12", 7: "iOS 16, macOS 13", 8: "iOS 17, macOS 14", 9: "iOS 18, macOS 15"}
"""Specification version -> the oldest systems that load it (coremltools' deployment targets)."""

SPECIFICATION_VERSIONS: dict[TargetOS, int] = {
    **{"iOS15": 6, "iOS16": 7, "iOS17": 8, "iOS18": 9},
    **{"macOS12": 6, "macOS13": 7, "macOS14": 8, "macOS15": 9},
}

SMALLEST_MAX_BATCH = 3
"""A dynamic batch is proven at 1 and 3 images."""

CONVERTER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What coremltools raises on a graph that it cannot convert; it has no exception of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLOptions:
    """Flags of the Core ML target.

    Attributes:
        target_os: oldest system that must load the file; an iOS version stands for the macOS of the same year and back.
        classifier: return a label and a probability for each label instead of logits; needs --labels.
        max_batch: largest batch, when the batch is dynamic.
        max_side: largest height and width in pixels, when the image size is dynamic.
    """

    target_os: TargetOS = "iOS15"
    classifier: bool = False
    max_batch: int = 8
    max_side: int = 1024


class CoreMLExporter(Exporter[CoreMLOptions]):
    """Writes `model.mlpackage`, an ML Program with float32 inputs and outputs at every target system."""

    target: ClassVar[str] = "coreml"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16")
    options_type: ClassVar[type[CoreMLOptions]] = CoreMLOptions
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    image_input: ClassVar[bool] = True
    usage: ClassVar[str] = """\
Drag `model.mlpackage` into an Xcode project; Xcode compiles it and generates a class. Or load it in Swift, here with a
normalised tensor (`pixels`, three planes in the order R, G, B):

```swift
import CoreML

let url = try MLModel.compileModel(at: packageURL)
let model = try MLModel(contentsOf: url, configuration: MLModelConfiguration())
let input = try MLMultiArray(shape: [1, 3, 224, 224], dataType: .float32)
input.withUnsafeMutableBufferPointer(ofType: Float.self) { buffer, _ in
    _ = buffer.update(from: pixels)
}
let result = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: ["input": input]))
let logits = result.featureValue(for: "logits")!.multiArrayValue!
```

With `--input image` the input is a 32-bit BGRA `CVPixelBuffer` of the model's size, already resized and cropped:

```swift
let result = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: ["input": MLFeatureValue(pixelBuffer: buffer)]))
```

With `--classifier` the outputs are `classLabel` and the dictionary `classLabel_probs`:

```swift
let label = result.featureValue(for: "classLabel")!.stringValue
let probabilities = result.featureValue(for: "classLabel_probs")!.dictionaryValue as! [String: Double]
```
"""

    @classmethod
    def probe(cls) -> Availability:
        """Say whether coremltools is installed; converting needs no Apple hardware."""
        return requires("coremltools")

    def output_form(self, options: CoreMLOptions) -> OutputForm:
        """Say probabilities for a classifier, which Core ML shows as such without a softmax of its own; else logits."""
        return "probabilities" if options.classifier else "logits"

    def refuse(self, plan: ExportPlan[CoreMLOptions]) -> None:
        """Refuse batches that an image or a classifier cannot have, a classifier without usable labels, and idle flags.

        Raises:
            UsageError: naming the flag that would work.
        """
        super().refuse(plan)
        options, default = plan.options, CoreMLOptions()
        single = plan.batch == 1 and not plan.dynamic_batch
        if options.target_os not in SPECIFICATION_VERSIONS:
            raise UsageError(f"coreml has no --target-os {options.target_os}; use {', '.join(SPECIFICATION_VERSIONS)}")
        if plan.input_form == "image" and not single:
            raise UsageError("a Core ML image input holds one picture; use --batch 1, or --input tensor")
        if options.classifier and not single:
            raise UsageError("a Core ML classifier answers for one picture; use --batch 1, or leave --classifier out")
        if options.classifier:
            _check_labels(plan)
        if options.max_batch != default.max_batch and not plan.dynamic_batch:
            raise UsageError("--max-batch limits a dynamic batch; add --batch dynamic")
        if options.max_side != default.max_side and not plan.dynamic_size:
            raise UsageError("--max-side limits a dynamic image size; add --image-size dynamic")
        if options.max_batch < SMALLEST_MAX_BATCH:
            raise UsageError(f"--max-batch {options.max_batch} is too small; use {SMALLEST_MAX_BATCH} or more")
        if plan.dynamic_size and options.max_side < max(plan.image_size):
            raise UsageError(f"--max-side {options.max_side} is less than the model's own size, {max(plan.image_size)}")

    def export(self, module: "nn.Module", plan: ExportPlan[CoreMLOptions], folder: Path) -> Artifact:
        """Write `model.mlpackage` into `folder` and read back what was written.

        In fp16 the fp32 twin is converted as well, and the two programs must be the same but for rounding.

        Raises:
            ExportError: coremltools could not convert, the fp16 program is not its fp32 twin, or the written package is not
                what was asked for.
        """
        output_form = self.output_form(plan.options)
        path = folder / PACKAGE_NAME
        with TemporaryDirectory(dir=folder, prefix=".coreml-") as scratch:
            traced = _trace(module, plan)
            raw = Path(scratch) / "raw.mlpackage"
            _convert(traced, plan, plan.precision, output_form, raw)
            spec = read_package(raw)
            describe(spec, plan, output_form)
            write_package(spec, raw / DATA_FOLDER / WEIGHTS_PATH, path)
            facts = _check_written(path, plan, output_form)
            if plan.precision == "fp16":
                twin = Path(scratch) / "twin.mlpackage"
                _convert(traced, plan, "fp32", output_form, twin)
                facts["same_as_fp32_but_rounded"] = asdict(compare_with_twin(path, twin))
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=(plan.output_spec(output_form),),
            tools={name: version(name) for name in ("coremltools", "numpy", "torch")},
            facts=facts,
            notes=tuple(_notes(plan)),
        )


def _check_labels(plan: ExportPlan[CoreMLOptions]) -> None:
    if not plan.labels:
        raise UsageError("--classifier puts class names into the file; add --labels FILE, or leave --classifier out")
    repeated = [label for label, count in collections.Counter(plan.labels).items() if count > 1]
    if repeated:
        raise UsageError(
            f"--classifier keeps one probability for each name, and --labels has {repeated[0]!r} more than once; rename one"
        )


def _trace(module: "nn.Module", plan: ExportPlan[CoreMLOptions]) -> Any:
    import torch

    example = torch.zeros(plan.batch, 3, *plan.image_size)
    with warnings.catch_warnings():
        # torch 2.13 calls tracing deprecated; coremltools' other frontend reads torch.export, at several times the cost.
        warnings.simplefilter("ignore", DeprecationWarning)
        # The written file is compared with the truth, so tracing twice more to compare traces would add nothing.
        return torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]


def _convert(traced: Any, plan: ExportPlan[CoreMLOptions], precision: Precision, output_form: OutputForm, package: Path) -> None:
    ct = import_coremltools()
    try:
        with _quiet():
            ct.convert(
                traced,
                source="pytorch",
                convert_to="mlprogram",
                inputs=[_input_type(ct, plan)],
                outputs=[ct.TensorType(name=output_form, dtype=np.float32)],
                classifier_config=ct.ClassifierConfig(list(plan.labels)) if plan.options.classifier else None,
                minimum_deployment_target=ct.target[plan.options.target_os],
                compute_precision=_compute_precision(ct, precision),
                skip_model_load=True,
                package_dir=str(package),
            )
    except CONVERTER_ERRORS as error:
        raise ExportError(f"coremltools could not convert the model: {_first_line(error)}") from error


def _input_type(ct: Any, plan: ExportPlan[CoreMLOptions]) -> Any:
    """Return the input with its free axes; float32 is spelled out because from iOS 16 on it would follow the precision."""
    options = plan.options
    batch = ct.RangeDim(1, options.max_batch, default=1) if plan.dynamic_batch else plan.batch
    sides: tuple[Any, ...] = plan.image_size
    if plan.dynamic_size:
        sides = tuple(ct.RangeDim(SIZE_STEP, options.max_side, default=side) for side in plan.image_size)
    shape = (batch, 3, *sides)
    if plan.input_form == "image":
        # The scale of an image input is one number for all channels, so the model itself normalises.
        return ct.ImageType(name=INPUT_NAME, shape=shape, scale=1.0, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=INPUT_NAME, shape=shape, dtype=np.float32)


def _compute_precision(ct: Any, precision: Precision) -> Any:
    return ct.precision.FLOAT32 if precision == "fp32" else ct.transform.FP16ComputePrecision(op_selector=_becomes_half)


def _becomes_half(operation: Any) -> bool:
    """Keep the normalisation of an image in float32: half precision would round the mean 123.675 to 123.6875.

    The published graph subtracts nowhere else.
    """
    producer = operation.inputs["x"].op if "x" in operation.inputs else None
    return operation.op_type != "sub" and (producer is None or producer.op_type != "sub")


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off progress bars, which would tear up our own, and numpy's complaint about how coremltools reads a size.

    coremltools offers no switch for its bars.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    original = tqdm.__init__
    tqdm.__init__ = partialmethod(original, disable=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        tqdm.__init__ = original


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _check_written(path: Path, plan: ExportPlan[CoreMLOptions], output_form: OutputForm) -> dict[str, object]:
    """Read the package back, compare it with what was asked for, and return its facts."""
    spec = read_package(path)
    description = spec.description
    asked = {
        "specification version": SPECIFICATION_VERSIONS[plan.options.target_os],
        "inputs": [(INPUT_NAME, "imageType" if plan.input_form == "image" else "multiArrayType")],
        "outputs": ["classLabel", "classLabel_probs"] if plan.options.classifier else [output_form],
        "labels": plan.labels if plan.options.classifier else (),
        "half-precision inputs and outputs": [],
    }
    features = [*description.input, *description.output]
    found = {
        "specification version": spec.specificationVersion,
        "inputs": [(feature.name, feature.type.WhichOneof("Type")) for feature in description.input],
        "outputs": [feature.name for feature in description.output],
        "labels": class_labels(spec),
        "half-precision inputs and outputs": [
            feature.name
            for feature in features
            if feature.type.HasField("multiArrayType")
            and feature.type.multiArrayType.dataType != feature.type.multiArrayType.FLOAT32
        ],
    }
    for name, value in asked.items():
        if found[name] != value:
            raise ExportError(f"{path.name}: {name} in the written file: {found[name]}, asked for: {value}")
    operators = collections.Counter(operation.type for operation in main_operations(spec))
    weights = path / DATA_FOLDER / WEIGHTS_PATH / "weight.bin"
    return {
        "specification_version": spec.specificationVersion,
        "minimum_os": MINIMUM_OS[spec.specificationVersion],
        "inputs": [f"{name}: {kind}" for name, kind in found["inputs"]],
        "outputs": found["outputs"],
        "operators": dict(sorted(operators.items())),
        "weights_bytes": weights.stat().st_size,
    }


def _notes(plan: ExportPlan[CoreMLOptions]) -> Iterator[str]:
    options = plan.options
    yield (
        f"Loads on {MINIMUM_OS[SPECIFICATION_VERSIONS[options.target_os]]} and later. Where the verdict names the MIL reference "
        "evaluation, the saved program was evaluated operator by operator; Apple's compiler and the arithmetic of its GPU and "
        "Neural Engine had no part in it: replay golden/ on the device."
    )
    if plan.precision == "fp16":
        yield (
            "Same operators and wiring as the fp32 conversion of this model, constants rounded; the LayerNorm epsilon "
            f"{plan.spec.norm_eps:g} is a subnormal number in half precision, which a compute unit may flush to zero."
        )
    if plan.input_form == "image":
        yield (
            "The image input takes a picture of exactly the model's size and normalises it, in float32; resizing and cropping "
            "are the app's (Vision's imageCropAndScaleOption crops without the margin that `preprocess` states)."
        )
    if options.classifier:
        yield (
            "Core ML calls the outputs classLabel and classLabel_probs; the latter, in the order of the labels, is the "
            "manifest's output `probabilities`. There is no logits output."
        )
    if plan.dynamic_batch:
        yield f"Batch 1 to {options.max_batch}; Core ML refuses others."
    if plan.dynamic_size:
        yield (
            f"Height and width {SIZE_STEP} to {options.max_side}. The format cannot say `multiples of {SIZE_STEP}`: other sizes "
            "are not refused and give a cropped picture's answer or fail."
        )
    if plan.dynamic_batch or plan.dynamic_size:
        yield "Core ML may plan free axes less well than fixed ones; for the Neural Engine prefer fixed sizes."
