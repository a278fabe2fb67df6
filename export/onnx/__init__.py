"""The ONNX target: TorchScript trace -> onnxsim, if it gains -> fp16 or int8, if asked -> one file, read back and checked.

With `--format ort` that file is then saved by ONNX Runtime in its own format, which is read back and checked in its place.

The trace is the exporter of choice (`torch.onnx.export(dynamo=False)`): about a second instead of 6 to 20, it keeps the opset
that was asked for where the other writes 18 for 17, and sizes computed with `//` stay symbolic in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, UsageError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.onnx import count_operators, outside, read_ends, read_stored
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import INPUTS, Placement, Precision, Task
from export.onnx.fp16 import check_precision, to_half
from export.onnx.int8 import TYPES, check_integers, check_kernels, store_integers
from export.onnx.mobile import check_mobile
from export.onnx.naive import naive_exports
from export.onnx.opsets import OPSETS, described
from export.onnx.ort import ort_notes, refuse_for_ort, save_as_ort
from export.onnx.simplify import Simplification, largest_errors, make_dry_runs, simplify
from export.onnx.tracing import tidy as tidy
from export.onnx.tracing import trace as trace

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """Flags of the ONNX target.

    Attributes:
        opset: of the file, 17 to 20. 20 has a Gelu operator, which every runtime computes in one step and fp16 rounds once;
            17 is for ONNX Runtime 1.12 to 1.16 and other runtimes of that age.
        simplify: run onnxsim; its result is kept only when it is no larger and computes the same.
        activations: of int8 files; u8 for x86, where ONNX Runtime's kernels want them unsigned, s8 for ARM and for accelerators
            that want both factors signed.
        format: onnx, or ort: the graph as ONNX Runtime optimises it, in the format of its reduced builds for phones, and a list
            of the operators that such a build needs.
    """

    opset: int = 20
    simplify: bool = True
    activations: Literal["u8", "s8"] = "u8"
    format: Literal["onnx", "ort"] = "onnx"


class OnnxExporter(Exporter[OnnxOptions]):
    """Writes `model.onnx`, or `model.ort`, with its weights inside and float32 outputs, in fp32, fp16 or int8."""

    target: ClassVar[str] = "onnx"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4, reason="ONNX Runtime sums in another order than PyTorch (blocked convolutions, fused GELU and LayerNorm)"
        ),
        "fp16": NoiseMultiple(
            k=2, reason="same storage precision as the emulation, casts at other places; fp32 islands only lower the error"
        ),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = {
        "int8": Quantisation(
            scheme=Scheme(activations="u8", outputs=True),
            bound=NoiseMultiple(
                k=1.1,
                reason="the same steps as the emulation: only roundings that fall to the other side of one differ, by which the "
                "RMS error on 256 pictures was 0.96 to 1.04 of the emulation's",
            ),
            form=form_beside(__file__, "form-int8.toml"),
            choices={
                "activations": ("u8", "s8"),
                "outputs": (True, False),
                "depthwise": (True, False),
                "floating": ("head", "patch_embed1"),
            },
        )
    }
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features", "segment", "detect")
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxsim", "onnxruntime", "onnxscript")
    """ONNX Runtime judges what onnxsim did; onnxscript is for the naive exports."""

    options_type: ClassVar[type[OnnxOptions]] = OnnxOptions
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def refuse(self, plan: ExportPlan[OnnxOptions]) -> None:
        """Refuse an opset that is not on offer, integer activations in a floating-point file, and halves that would be none.

        Raises:
            UsageError: naming the flag that would work.
        """
        super().refuse(plan)
        if plan.scheme is None and plan.options.activations != OnnxOptions().activations:
            raise UsageError(f"--activations {plan.options.activations} is how int8 rounds them; add --precision int8")
        if plan.options.format == "ort":
            refuse_for_ort(plan)
        if plan.options.opset not in OPSETS:
            raise UsageError(
                f"onnx has no --opset {plan.options.opset}; use --opset {min(OPSETS)} to {max(OPSETS)} "
                f"({min(OPSETS)}: {described(min(OPSETS))}; {max(OPSETS)}: {described(max(OPSETS))})"
            )

    def quantisation(self, precision: Precision, options: OnnxOptions) -> Quantisation | None:
        """Return what int8 rounds, activations to the type that was asked for."""
        own = super().quantisation(precision, options)
        return own and replace(own, scheme=replace(own.scheme, activations=options.activations))

    def rounded_as(self, plan: ExportPlan[OnnxOptions], scheme: Scheme) -> ExportPlan[OnnxOptions]:
        """Return a plan with another scheme, and the option that says the type of its activations."""
        activations: Literal["u8", "s8"] = "s8" if scheme.activations == "s8" else "u8"
        return super().rounded_as(replace(plan, options=replace(plan.options, activations=activations)), scheme)

    def export(self, module: "nn.Module", plan: ExportPlan[OnnxOptions], folder: Path) -> Artifact:
        """Write `model.onnx` or `model.ort` into `folder` and read back what was written.

        Every batch and image size that the file promises is run in ONNX Runtime before it is written, so that a size baked
        into a graph which declares it dynamic ends here.

        Raises:
            ExportError: PyTorch could not export, the graph does not run at a promised size, a weight does not fit fp16, or
                the written file is not what was asked for.
        """
        model = tidy(trace(module, plan), plan.options.opset)
        dry_runs = make_dry_runs(module, plan, self.precisions["fp32"])
        simplification = None
        if plan.options.simplify:
            model, simplification = simplify(model, dry_runs, lambda result: tidy(result, plan.options.opset))
        else:
            largest_errors(model, dry_runs)
        if plan.precision == "fp16":
            model = to_half(model)
        if plan.scheme is not None:
            model = store_integers(model)
        stamp(model, plan)
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        operators, facts = check_written(path, plan)
        if plan.scheme is not None:
            from edgevit_deploy.deploy.quantised import rounded_operators

            facts |= check_rounded(path, plan.scheme, len(rounded_operators(module)))
        if plan.options.format == "ort":
            path, operators, facts = save_as_ort(path, plan, facts)
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={name: version(name) for name in ("onnx", "onnxruntime", "onnxsim")},
            operators=operators,
            facts={**facts, "simplification": asdict(simplification) if simplification else "off"},
            notes=tuple(_notes(plan, simplification)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read back the grids of activations and the int8 weights."""
        return read_stored(artifact.path)

    def naive(self, module: "nn.Module", plan: ExportPlan[OnnxOptions]) -> dict[str, Callable[[Path], Artifact]]:
        """Return PyTorch's own exports for fp32; fp16 has none, so there it is our conversion of the published graph."""
        return naive_exports(module, plan) if plan.precision == "fp32" else super().naive(module, plan)

    def placements(self, artifact: Artifact) -> dict[str, Placement]:
        """Return what the providers of a phone would take, by ONNX Runtime's mobile checker."""
        return check_mobile(artifact.path)


def stamp(model: "ModelProto", plan: ExportPlan[OnnxOptions]) -> None:
    """Say inside the file what it is, without a path or a date."""
    from onnx import helper

    helper.set_model_props(
        model, {"model": plan.spec.variant, "precision": plan.precision, "input": f"{plan.takes}, RGB, planar"}
    )


def check_written(path: Path, plan: ExportPlan[OnnxOptions]) -> "tuple[dict[str, int], dict[str, object]]":
    """Read a written file back and return its operators, type -> count, and what else it is.

    Checked: onnx's full check with strict shape and type inference, opset, IR version, standard operators only, weights
    inside, input and outputs as planned, and for fp16 which operator computes in which type.

    Raises:
        ExportError: naming what is not as asked for.
    """
    import onnx
    from onnx import helper

    model = onnx.load_model(path, load_external_data=False)
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", plan.options.opset)])
    asked_and_found = {
        "opset": ({"": plan.options.opset}, opsets),
        "IR version": (ir_version, model.ir_version),
        "weights outside the file": ([], list(outside(model))),
        "inputs": ((plan.input_spec(),), read_ends(graph.input)),
        "outputs": (plan.outputs, read_ends(graph.output)),
    }
    for what, (asked, found) in asked_and_found.items():
        if asked != found:
            raise ExportError(f"{path.name}: {what} should be {asked}, the written file has {found}")
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} is not valid ONNX: {first_line(error)}") from error
    precision_facts = check_precision(model) if plan.precision == "fp16" else {}
    return count_operators(graph), {
        "opset": opsets[""],
        "ir_version": model.ir_version,
        "size_bytes": path.stat().st_size,
        "nodes": len(graph.node),
        **precision_facts,
    }


def check_rounded(path: Path, scheme: Scheme, rounded: int) -> dict[str, object]:
    """Read back what of a written file is integer, in the file itself and in what ONNX Runtime makes of it.

    Args:
        path: of the file.
        scheme: what was to be rounded.
        rounded: how many operators of the network.

    Raises:
        ExportError: an operator that should be integer is not.
    """
    import onnx

    found = check_integers(onnx.load_model(path), scheme, rounded)
    if not scheme.outputs:  # then ONNX Runtime computes in float32 between the roundings
        return asdict(found)
    return {**asdict(found), "kernels": check_kernels(path, scheme.activations)}


def _notes(plan: ExportPlan[OnnxOptions], simplification: Simplification | None) -> list[str]:
    opset = plan.options.opset
    notes = [*ort_notes(opset)] if plan.options.format == "ort" else [f"Opset {opset}; first run by {described(opset)}."]
    if simplification is not None and not simplification.kept:
        notes.append(f"onnxsim's result was dropped: {simplification.reason}.")
    if plan.dynamic_batch or plan.dynamic_size:
        batches = f"batch {' and '.join(map(str, plan.proven_batches()))}"
        sizes = "two image sizes, one of them not square" if plan.dynamic_size else "its image size"
        notes.append(f"The free axes were run in ONNX Runtime at {batches}, {sizes}.")
    if plan.dynamic_size:
        notes.append(
            "Height and width must be multiples of 32. The file does not check that: some other sizes fail, and some run on a "
            "picture whose last rows and columns are silently ignored."
        )
    if plan.scheme is not None:
        notes.extend(_notes_on_rounding(plan.scheme, plan.input_spec().dtype))
    if plan.precision == "fp16":
        notes.append(
            "Weights and most activations are float16; LayerNormalization, Softmax, the global mean"
            f"{', the normalisation of the image' if INPUTS[plan.takes].pixels else ''} and the output are float32, the input "
            f"{plan.input_spec().dtype}. On a CPU, ONNX Runtime computes most of it in float32 between casts: half the size, not "
            "faster."
        )
    return notes


def _notes_on_rounding(scheme: Scheme, dtype: str) -> list[str]:
    ends, operators = "take and give" if scheme.outputs else "take", scheme.operators()
    notes = [
        f"{operators[0].upper()}{operators[1:]} have {TYPES[scheme.weights]} weights with a scale for each channel and {ends} "
        f"{TYPES[scheme.activations]}; float32 are their biases, LayerNormalization, Softmax, Gelu, the products of attention, "
        f"LocalProp's product, the sums of residuals, and the file's output; its input is {dtype}."
    ]
    if not scheme.outputs:
        notes.append("Outputs are not rounded, so that ONNX Runtime computes this file in float32 between the roundings: slowly.")
    elif scheme.activations == "u8":
        notes.append("u8 activations suit x86; for ARM, and accelerators that want both factors signed, use --activations s8.")
    else:
        notes.append(
            "s8 activations suit ARM; on x86 ONNX Runtime turns them into u8 in each run, and most of the gain is lost there."
        )
    return notes
