"""TensorRT and TensorRT-RTX engines, built from our own ONNX export.

Precision is carried by the ONNX (strongly typed network): fp16 is the fp16 ONNX file, with LayerNorm, softmax and means
in float32, and never a builder flag. TensorRT-RTX builds without a GPU; the full TensorRT needs one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, MissingError, RunError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, Flavor, Library, read_plan_header
from edgevit_deploy.formats.tensorrt.probe import Capability, capability, describe
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.registry import Availability
from edgevit_deploy.spec import DYNAMIC_BATCHES, SIZE_STEP, Placement, Precision, Task
from export.onnx import OnnxExporter, OnnxOptions
from export.tensorrt.engine import BuildSettings, build_engine, inspect_engine

if TYPE_CHECKING:
    from torch import nn

ENGINE_NAME = "model.engine"
SOURCE_NAME = "source.onnx"

ONE_TOKEN_SIZE = (SIZE_STEP, SIZE_STEP)
"""At this image size stages 3 and 4 have one delegate token each, which TensorRT-RTX 1.7.1 cannot compile."""

FEWEST_FP8_CHANNELS = 16
"""NVIDIA's Model Optimizer leaves convolutions (in each group) and products of fewer in floating point, as no work for FP8
kernels (`find_nodes_from_convs_to_exclude`, `_MIN_MATMUL_DIM` in its `modelopt/onnx/quantization/graph_utils.py`). Accuracy asks
for it as well: the first convolution takes 3, and pictures have large areas of one value, which E4M3 rounds by up to 6 % and all
the same way. A trained network has 33.9 dB so, and 11.4 with every operator rounded."""

# FP8 by compute capability: NVIDIA's support matrices of Transformer Engine and of TensorRT-RTX.
# Compatibility: NVIDIA's engine-compatibility and CPU-only pages for TensorRT-RTX, engine-compatibility for TensorRT 11.
RTX_GPUS = (
    "Engine of {name}; no other release of the library loads it. NVIDIA documents it for GPUs of compute capability 8.0, "
    "8.6, 8.9, 12.0 and later: not 7.5, and 9.0 is not in that list. The GPU's own kernels are compiled when it is loaded."
)
FULL_GPUS = "Engine of {name} for {gpu}: meant for that version of the library and that GPU model only."
FP8_GPUS = (
    "FP8 is arithmetic of GPUs of compute capability 8.9 and later: Ada, Hopper, Blackwell. TensorRT-RTX's support matrix has it "
    "for 8.9 and 12.0, and not for 8.6. For an older GPU build fp16. Whether a GPU convolves in FP8 was not seen."
)
FP8_OPSET = 19
NOT_RUN = (
    f"No GPU here could load this engine, so nothing of it was executed. {SOURCE_NAME} is the exact graph that it was built "
    "from and can be verified anywhere; that proves the graph, not the GPU's kernels."
)
TRUST = "Loading an engine hands its bytes to native code: load only engines from someone you trust."
TIMED_KERNELS = (
    "Not byte-identical on a rebuild: the builder times kernels on the GPU and keeps the fastest, so two builds may differ; "
    f"{SOURCE_NAME} is reproducible."
)
NUMBERED_TENSORS = (
    "Not byte-identical on a rebuild: with a dynamic batch the builder numbers some of its internal tensors (names `__mye...` "
    f"in the plan's text sections) differently every time; {SOURCE_NAME} is reproducible."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRTOptions:
    """Options of the TensorRT target.

    Attributes:
        flavor: which library; auto takes the full TensorRT where it can build, else TensorRT-RTX, and records why.
        opset: of the ONNX file that the engine is built from, 17 to 20; TensorRT 10 is the first that has the Gelu of 20.
        opt_batch: batch that the engine is tuned for; with a dynamic batch only, like the next one.
        max_batch: largest batch that the engine accepts; the smallest is always 1.
        workspace_mib: limit on scratch memory while building, in MiB; full TensorRT only.
        timing_cache: file of kernel timings, read when it is there and written back; full TensorRT only.
    """

    flavor: Literal["auto", "tensorrt", "tensorrt-rtx"] = "auto"
    opset: int = 20
    opt_batch: int = 1
    max_batch: int = 8
    workspace_mib: int | None = None
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The library that builds, what it can do here, and why it was taken."""

    library: Library
    found: Capability
    reason: str


class TensorRTExporter(Exporter[TensorRTOptions]):
    """Builds `model.engine` and keeps beside it `source.onnx`, the exact file that it was built from."""

    target = "tensorrt"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=10, reason="GPU kernels reduce in trees and fuse freely; TF32 is off, so only the order of float32 sums differs"
        ),
        "fp16": NoiseMultiple(
            k=4, reason="half-precision accumulation in some tensor-core kernels, which the emulation does not have"
        ),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "int8": Quantisation(
            scheme=Scheme(activations="s8", symmetric=True),
            bound=NoiseMultiple(
                k=1.1,
                reason="same steps as the emulation, and exact sums of products in integers; not measured on a GPU",
            ),
            form=form_beside(__file__, "form-int8.toml"),
        ),
        "fp8": Quantisation(
            scheme=Scheme(weights="e4m3", activations="e4m3", symmetric=True, fewest_channels=FEWEST_FP8_CHANNELS),
            bound=NoiseMultiple(
                k=1.1,
                reason="same numbers as the emulation, whose products are exact in float32; not measured on a GPU",
            ),
            form=form_beside(__file__),
        ),
    }
    """TensorRT takes zero points of 0 alone, and rounds an operator's output itself where the next one takes integers.

    In fp8 the form is that of floating point: the residual that `position` folds goes into a depthwise convolution, which stays
    in float32, and on a trained network both forms have 33.85 dB.
    """

    packages = tuple(library.module for library in LIBRARIES.values())
    """One of them is enough."""

    extra = "tensorrt-rtx"
    options_type = TensorRTOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    smallest_side = 2 * SIZE_STEP
    """TensorRT-RTX cannot build one step (`refuse`); the full TensorRT can."""

    copies_on_disk: ClassVar[int] = 3
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    @classmethod
    def probe(cls) -> Availability:
        """Say which of the two libraries can build here, one of which is enough; asked in a child process."""
        ok = any(capability(flavor).can_build for flavor in LIBRARIES)
        detail = "; ".join(describe(flavor) for flavor in LIBRARIES)
        return Availability(ok=ok, detail=detail, fix="" if ok else _how_to_build())

    def refuse(self, plan: ExportPlan[TensorRTOptions]) -> None:
        """Refuse, besides what no target does, a bad batch profile and options that the chosen library has not."""
        super().refuse(plan)
        SourceExporter().refuse(plan_of_source(plan))
        options = plan.options
        if plan.precision == "fp8" and options.opset < FP8_OPSET:
            raise UsageError(f"--opset {options.opset} has no FP8; use --opset {FP8_OPSET} or later")
        if not 1 <= options.opt_batch <= options.max_batch:
            raise UsageError(f"--opt-batch {options.opt_batch} must lie between 1 and --max-batch, which is {options.max_batch}")
        if options.max_batch < max(DYNAMIC_BATCHES):
            raise UsageError(f"--max-batch {options.max_batch} is too small; use {max(DYNAMIC_BATCHES)} or more")
        default = TensorRTOptions()
        if not plan.dynamic_batch and (options.opt_batch, options.max_batch) != (default.opt_batch, default.max_batch):
            raise UsageError("--opt-batch and --max-batch shape a dynamic batch; add --batch dynamic")
        if options.workspace_mib is not None and options.workspace_mib < 1:
            raise UsageError(f"--workspace-mib {options.workspace_mib} is not a positive number of MiB")
        if options.timing_cache is not None and not options.timing_cache.parent.is_dir():
            raise UsageError(f"{options.timing_cache.parent} is no folder; give another --timing-cache")
        if plan.image_size == ONE_TOKEN_SIZE and choose_library(options.flavor).library.flavor == "tensorrt-rtx":
            raise UsageError(
                "TensorRT-RTX 1.7 cannot build EdgeViT at 32x32, where the deeper stages attend over a single token (its "
                "kqv_gemm_split fails); use --image-size 64"
            )
        wants_full = options.workspace_mib is not None or options.timing_cache is not None
        if wants_full and choose_library(options.flavor).library.flavor == "tensorrt-rtx":
            raise UsageError(
                "TensorRT-RTX has neither --timing-cache nor --workspace-mib; leave them out, or use --flavor tensorrt"
            )

    def export(self, module: "nn.Module", plan: ExportPlan[TensorRTOptions], folder: Path) -> Artifact:
        """Write the engine, its ONNX source and, where a GPU can load the engine, the inspector's JSON.

        Raises:
            MissingError: no TensorRT can build here.
            ExportError: the parser or the builder refused, or what they made is not what was asked for.
        """
        choice = choose_library(plan.options.flavor)
        source = _write_source(module, plan, folder)
        path = folder / ENGINE_NAME
        build_facts = build_engine(choice.library, source, _settings(plan), path)
        header = read_plan_header(path)
        if header is None or header.flavor != choice.library.flavor:
            raise ExportError(f"{path.name}: what {choice.library.title} returned is no plan of its own ({header})")
        facts = {
            "flavor": header.flavor,
            "flavor_reason": choice.reason,
            "engine_version": header.version,
            "engine_bytes": path.stat().st_size,
            "build_gpu": choice.found.gpu or "none",
            **build_facts,
            **inspect_engine(choice.library, choice.found, path),
            "source": source.facts,
        }
        layers = build_facts.get("builder_layers_after")
        return Artifact(
            target=self.target,
            path=path,
            inputs=source.inputs,
            outputs=source.outputs,
            tools={**source.tools, choice.library.flavor: choice.found.version},
            facts=facts,
            notes=(*_notes(choice, plan), *(f"{SOURCE_NAME}: {note}" for note in source.notes)),
            operators=source.operators,
            placements={"engine": Placement(partitions=1, outside={}, layers=layers if isinstance(layers, int) else None)},
            built_from=source,
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read back the grids of activations and the int8 weights of the file that the engine was built from."""
        if artifact.built_from is None:
            raise RunError(f"{artifact.path.name}: an engine does not say how it rounds, and {SOURCE_NAME} is not there")
        return SourceExporter().stored(artifact.built_from)


class SourceExporter(OnnxExporter):
    """Writes what an engine is built from: as the ONNX target, in the precisions of an engine."""

    quantised: ClassVar[Mapping[Precision, Quantisation]] = TensorRTExporter.quantised


def choose_library(flavor: Literal["auto", "tensorrt", "tensorrt-rtx"]) -> Choice:
    """Return the first wanted library that can build here.

    Raises:
        MissingError: none can; with each one's reason.
    """
    wanted: tuple[Flavor, ...] = tuple(LIBRARIES) if flavor == "auto" else (flavor,)
    passed_over: list[str] = []
    for candidate in wanted:
        if capability(candidate).can_build:
            reason = f"--flavor {flavor}" + "".join(f"; {text}" for text in passed_over)
            return Choice(library=LIBRARIES[candidate], found=capability(candidate), reason=reason)
        passed_over.append(describe(candidate))
    raise MissingError(f"no engine can be built here: {'; '.join(passed_over)}; {_how_to_build()}")


def _how_to_build() -> str:
    return f"{LIBRARIES['tensorrt-rtx'].install}, which needs no GPU; or, with one, {LIBRARIES['tensorrt'].install}"


def plan_of_source(plan: ExportPlan[TensorRTOptions]) -> ExportPlan[OnnxOptions]:
    """Return the conversion to what an engine is built from."""
    return replace(plan, target=OnnxExporter.target, options=OnnxOptions(opset=plan.options.opset))  # type: ignore[arg-type,return-value]


def _write_source(module: "nn.Module", plan: ExportPlan[TensorRTOptions], folder: Path) -> Artifact:
    artifact = SourceExporter().export(module, plan_of_source(plan), folder)
    return replace(artifact, path=artifact.path.rename(folder / SOURCE_NAME))


def _settings(plan: ExportPlan[TensorRTOptions]) -> BuildSettings:
    options = plan.options
    return BuildSettings(
        batches=(1, options.opt_batch, options.max_batch) if plan.dynamic_batch else None,
        workspace_mib=options.workspace_mib,
        timing_cache=options.timing_cache,
    )


def _notes(choice: Choice, plan: ExportPlan[TensorRTOptions]) -> tuple[str, ...]:
    name = f"{choice.library.title} {choice.found.version}"
    notes = [
        RTX_GPUS.format(name=name)
        if choice.library.flavor == "tensorrt-rtx"
        else FULL_GPUS.format(name=name, gpu=choice.found.gpu)
    ]
    if plan.precision == "fp8":
        notes.append(FP8_GPUS)
    if not choice.found.can_run:
        notes.append(NOT_RUN)
    notes.append(TRUST)
    if choice.library.flavor == "tensorrt":
        notes.append(TIMED_KERNELS)
    elif plan.dynamic_batch:
        notes.append(NUMBERED_TENSORS)
    if plan.dynamic_batch:
        options = plan.options
        notes.append(f"Batch 1 to {options.max_batch}, tuned for {options.opt_batch}; others are refused.")
    return tuple(notes)
