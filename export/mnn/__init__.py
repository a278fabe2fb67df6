"""The MNN target: our ONNX trace -> MNN's converter, in a child process -> `model.mnn`, read back and checked.

The wheel's converter reads no TorchScript. Two of its defaults would change the numbers and are switched off: it writes GELU by a
tanh, and int8 weights with a zero point for each channel. int8 takes a second pass of it (`export.mnn.integers`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.mnn import FILE_NAME, MnnModel, check_ends, read_mnn, read_stored
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.process.scratch import scratch_beside
from edgevit_deploy.spec import Precision, Task
from export.mnn.converter import EXACT_GELU, STORAGE_FLAGS, convert, write_source
from export.mnn.gelu import QUOTIENT, without_erf
from export.mnn.integers import check_apart, integers_note, keep_apart, rounding_of
from export.mnn.storage import on_the_grid, to_half
from export.mnn.twin import check_twin
from export.onnx import OnnxOptions, tidy, trace

if TYPE_CHECKING:
    from torch import nn

OPSET = 17
"""Here GELU is an Erf among other operators. Of the Gelu of opset 20 the converter makes one by a tanh, whatever it is asked."""

STORAGES: dict[Precision, set[str]] = {"fp32": {"float32"}, "fp16": {"float16"}, "w8": {"int8"}, "int8": {"int8"}}

HIGH = (
    "Compared with precision high and the CPU: weights and arithmetic are float32. With precision low, MNN computes in half "
    "precision on an ARM CPU that can, and a GPU may at any: the bound does not cover it."
)
HALF = (
    "Weights are stored in half precision, biases and normalisations in float32; compared with precision high, which makes them "
    "float32 when it loads: half the size, not faster. With precision low an ARM CPU adds in half precision too, which the bound "
    "does not cover."
)
EIGHT = (
    "The rounded weights have a scale for each output channel; compared with precision high and memory normal, which makes them "
    "float32 when it loads: a quarter of the size, not faster. With memory low MNN rounds activations as well, at each run, "
    "which the bound does not cover."
)
ARITHMETIC: dict[Precision, str] = {"fp32": HIGH, "fp16": HALF, "w8": EIGHT}
GELUS = (
    "{fast} GELUs are written as a quotient of polynomials, which is as exact in float32 as PyTorch's own, and {slow} by the "
    "error function, of which MNN 3.6.1 has no vectorised kernel. `mnnconvert` by itself writes GELU by a tanh: it is faster, "
    "and another function, whose error is far above that of float32; no session here loads it."
)
FREE_BATCH = (
    "Batch is free, and the file says 1, since MNN keeps no other sign of it: resize the input (`resizeTensor`, "
    "`resizeSession`) before a run of several."
)
FREE_SIZE = (
    "Height and width are free and must be multiples of 32. The file does not check that: some other sizes fail, and some run on "
    "a picture whose last rows and columns are silently ignored."
)
ONE_SHAPE = "{axes} fixed in the file: another is not refused by MNN, and nothing is promised or proven for it."


@dataclass(frozen=True, slots=True, kw_only=True)
class MnnOptions:
    """Flags of the MNN target: it has none of its own."""


class MnnExporter(Exporter[MnnOptions]):
    """Writes `model.mnn`, for MNN 3.6 and later."""

    target: ClassVar[str] = "mnn"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=8,
            reason="float32 in MNN's own blocked kernels: other sums, another exp; 1.0 to 3.4 measured on x86, to 6.2 on ARM64",
        ),
        "fp16": NoiseMultiple(
            k=1.2,
            reason="the emulation's weights, in half; all else in float32: 1.00 measured; 3 where pixels are taken, 2 for the "
            "published graph",
        ),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "w8": Quantisation(
            scheme=Scheme(activations="none", written_by="vendor"),
            bound=NoiseMultiple(k=1.05, reason="same integers and scales as the emulation, in float32"),
            form=form_beside(__file__, "form-w8.toml"),
        ),
        "int8": Quantisation(
            scheme=Scheme(activations="s8", outputs=True, written_by="vendor"),
            bound=NoiseMultiple(
                k=1.1,
                reason="same integers and scales as the emulation, other sums, biases of depthwise convolutions as integers: a "
                "value now and then falls to the other side of a step; 0.95 measured on 32 drawn pictures, 1.00 on 64 real ones",
            ),
            form=form_beside(__file__, "form-int8.toml"),
            choices={  # its convolutions in integers give integers, so that outputs are always rounded
                "symmetric": (False, True),
                "depthwise": (True, False),
                "floating": ("head", "patch_embed1"),
            },
        ),
    }
    half_weights: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    packages: ClassVar[tuple[str, ...]] = ("MNN",)
    extra: ClassVar[str | None] = "mnn"
    options_type: ClassVar[type[MnnOptions]] = MnnOptions
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    copies_on_disk: ClassVar[int] = 4
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def export(self, module: "nn.Module", plan: ExportPlan[MnnOptions], folder: Path) -> Artifact:
        """Write `model.mnn` into `folder` and read back what was written.

        A file that is not in float32 has its twin converted as well, and the two must differ in the storage of weights alone.

        Raises:
            ExportError: PyTorch could not trace, MNN could not convert, a weight does not fit, or the written file is not what
                was asked for.
        """
        self.refuse(plan)
        path = folder / FILE_NAME
        with scratch_beside(folder) as scratch:
            source = write_source(traced(module, plan), scratch)
            flags = (*EXACT_GELU, *STORAGE_FLAGS.get(plan.precision, ()))
            twin = None if plan.precision == "fp32" else convert(source, scratch / "twin", *EXACT_GELU)
            if twin is not None and plan.scheme is not None and plan.ranges is not None:
                source = rounding_of(twin, module, plan.scheme, plan.ranges)
            written = convert(source, scratch / plan.precision, *flags)
            model = check_written(written, plan)
            if twin is not None:
                check_twin(model, read_mnn(twin))
            if plan.scheme is not None:
                check_rounded(model, module, plan.scheme)
                check_apart(model)
            written.rename(path)
        return self._artifact(plan, path, model)

    def naive(self, module: "nn.Module", plan: ExportPlan[MnnOptions]) -> dict[str, Callable[[Path], Artifact]]:
        """Return MNN's converter as it comes, and told to write GELU exactly."""
        as_traced = replace(plan, graph="original", precision="fp32", scheme=None, ranges=None)

        def as_it_comes(folder: Path) -> Artifact:
            with scratch_beside(folder) as scratch:
                source = write_source(traced(module, as_traced), scratch)
                written = convert(source, scratch / plan.precision, *STORAGE_FLAGS[plan.precision])
                path = written.rename(folder / FILE_NAME)
            return self._artifact(plan, path, read_mnn(path))

        plain = super().naive(module, plan)
        return {"MNN's converter as it comes": as_it_comes, **plain} if plan.precision in STORAGE_FLAGS else plain

    def stored(self, artifact: Artifact) -> Stored:
        """Read back the int8 weights."""
        return read_stored(artifact.path)

    def _artifact(self, plan: ExportPlan[MnnOptions], path: Path, model: MnnModel) -> Artifact:
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={name: version(name) for name in ("MNN", "onnx")},
            operators=model.operator_counts(),
            facts={
                "converter": model.version,
                "uuid": model.uuid,
                "weights_by_storage": model.storages(),
                "size_bytes": path.stat().st_size,
            },
            notes=tuple(_notes(plan, model)),
        )


def traced(module: "nn.Module", plan: ExportPlan[MnnOptions]) -> bytes:
    """Return the ONNX file that a module is converted from, its weights as the plan's precision has them.

    Raises:
        ExportError: PyTorch could not trace, or a weight does not fit.
    """
    if plan.scheme is not None:
        module = on_the_grid(module, plan.scheme)
    as_onnx = replace(plan, options=OnnxOptions(opset=OPSET))  # type: ignore[arg-type]
    model = tidy(trace(module, as_onnx), OPSET)
    if plan.graph == "deploy":
        without_erf(model)
    if plan.precision == "fp16":
        to_half(model)
    if plan.scheme is not None and plan.scheme.calibrated:
        keep_apart(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def check_written(path: Path, plan: ExportPlan[MnnOptions]) -> MnnModel:
    """Read a written file back, and compare it with what was asked for.

    Raises:
        ExportError: a GELU by a tanh or other operators that no file of ours has, other ends, or another storage of weights.
    """
    try:
        model = read_mnn(path)
        check_ends(model, (plan.input_spec(),), plan.outputs)
    except RunError as error:
        raise ExportError(f"MNN's converter wrote what cannot be run: {error}") from error
    found = {op.constant.storage for op in model.weights if op.constant is not None and op.kind != "Const"}
    if plan.scheme is not None and plan.scheme.calibrated:
        found -= {"float32"}  # what it leaves in floating point; how many are rounded is counted
    if found != STORAGES[plan.precision]:
        raise ExportError(f"weights in the written file are {found}, asked for: {STORAGES[plan.precision]}")
    return model


def check_rounded(model: MnnModel, module: "nn.Module", scheme: Scheme) -> None:
    """Compare how many operators of a written file are rounded with how many were to be.

    Raises:
        ExportError: more or fewer.
    """
    from edgevit_deploy.deploy.quantised import chosen

    found = sum(op.constant.storage == "int8" for op in model.weights if op.constant is not None)
    asked = len(chosen(module.get_submodule("network"), scheme))
    if found != asked:
        raise ExportError(f"{FILE_NAME}: {found} operators are rounded in the written file, {asked} were to be")


def _notes(plan: ExportPlan[MnnOptions], model: MnnModel) -> Iterator[str]:
    yield ARITHMETIC[plan.precision] if plan.precision in ARITHMETIC else integers_note(model)
    fast = sum(op.name.endswith(QUOTIENT) for op in model.operators)
    yield GELUS.format(fast=fast, slow=model.operator_counts().get("UnaryOp GELU_STANDARD", 0))
    if plan.dynamic_batch:
        yield FREE_BATCH
    if plan.dynamic_size:
        yield FREE_SIZE
    height, width = plan.image_size
    axes = [*([] if plan.dynamic_batch else [f"batch {plan.batch}"]), *([] if plan.dynamic_size else [f"{height} x {width}"])]
    if axes:
        yield ONE_SHAPE.format(axes=f"{' and '.join(axes).capitalize()} {'are' if len(axes) > 1 else 'is'}")
