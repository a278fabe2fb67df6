"""The TorchScript target: trace -> freeze -> lite-interpreter file (`model.ptl`), read back, checked and run.

Two steps keep the file the same wherever it is written. The trace is made on a bare TorchScript module of its own: through
`torch.jit.trace`, class names would carry a counter of everything that the process scripted before. And the source positions
that PyTorch stores beside the code, absolute paths all of them, are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.errors import ExportError, UsageError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, usage_beside
from edgevit_deploy.formats.torchscript import NEWEST_BYTECODE, count_calls, read_lite_file
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Precision, Task
from export.torchscript.write import Promise, quiet, write_file, write_in_child

if TYPE_CHECKING:
    from torch import Tensor, nn

DEPRECATED = (
    "PyTorch's lite interpreter is deprecated in favour of ExecuTorch (pytorch PR #163289): PyTorch Mobile gets no new "
    "releases. The file is for apps that ship its 1.13 generation."
)
ANY_SIZE = (
    "The file does not check sizes: it also runs at other batch and image sizes than those in the manifest, for which nothing "
    "is promised or proven."
)
MULTIPLES_ONLY = (
    "Height and width must be multiples of 32. The file does not check that: some other sizes fail, and some run on a picture "
    "whose last rows and columns are silently ignored."
)
NOT_OPTIMISED = (
    "optimize_for_mobile was not applied, so convolutions are not prepacked for XNNPACK; the numbers do not depend on it."
)
OPTIMISED = (
    "optimize_for_mobile was applied: convolutions and linear maps are prepacked for XNNPACK, and only a runtime with XNNPACK "
    "loads the file."
)
ORDER = "The file returns a tuple without names, in the order of the manifest: {names}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchScriptOptions:
    """Flags of the TorchScript target.

    Attributes:
        bundled_inputs: store an all-zero example input of the traced size in the file, for PyTorch's benchmark tools.
        optimize_for_mobile: prepack for XNNPACK; needs a PyTorch that was built with it.
    """

    bundled_inputs: bool = True
    optimize_for_mobile: bool = False


class TorchScriptExporter(Exporter[TorchScriptOptions]):
    """Writes `model.ptl` in fp32, for the lite interpreter of the PyTorch Mobile 1.13 generation."""

    target: ClassVar[str] = "torchscript"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(k=4, reason="same kernels as PyTorch; the mobile generation (1.13) sums in another order"),
    }
    no_integers: ClassVar[str] = (
        "PyTorch Mobile, which gets no new releases, has integers only as quantised tensors of QNNPACK, which were not tried; "
        "its heir, the target executorch, has int8"
    )
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    options_type: ClassVar[type[TorchScriptOptions]] = TorchScriptOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    strided: ClassVar[bool] = True
    paper_protocol: ClassVar[bool] = True
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def refuse(self, plan: ExportPlan[TorchScriptOptions]) -> None:
        """Refuse `--optimize-for-mobile` where this PyTorch cannot do it.

        Raises:
            UsageError: saying what was found and what works instead.
        """
        super().refuse(plan)
        if plan.options.optimize_for_mobile and not _has_xnnpack():
            import torch

            raise UsageError(
                f"--optimize-for-mobile needs a PyTorch built with XNNPACK, and torch {torch.__version__} here is built without; "
                "leave the flag out (the file runs without it), and where prepacking is wanted run optimize_for_mobile of "
                "PyTorch 1.13 on the written model.ptl, which torch.jit.load there reads"
            )

    def export(self, module: "nn.Module", plan: ExportPlan[TorchScriptOptions], folder: Path) -> Artifact:
        """Write `model.ptl` into `folder`, read back what was written and run it at every promised size.

        Raises:
            ExportError: PyTorch could not trace or write, the file holds an operator or a version that PyTorch Mobile 1.13
                does not have, or it does not run at a promised size.
        """
        self.refuse(plan)
        path = folder / "model.ptl"
        promise = make_promise(plan)
        program = freeze(trace(module, plan.example()))
        if plan.options.optimize_for_mobile:
            write_in_child(program, path, promise)
        else:
            write_file(program, path, promise)
        file = read_lite_file(path)
        optimised = any(name.startswith("prepacked::") for name in file.operators)
        if optimised != plan.options.optimize_for_mobile:
            raise ExportError(f"{path.name}: optimize_for_mobile was {'' if optimised else 'not '}applied, against the request")
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={},
            operators=count_calls(path),
            facts={
                "bytecode_version": file.bytecode_version,
                "format_version": file.format_version,
                "size_bytes": path.stat().st_size,
                "bundled_input_shapes": [promise.shapes[0]] if promise.bundled_inputs else [],
                "optimize_for_mobile": optimised,
            },
            notes=tuple(_notes(plan)),
        )


def make_promise(plan: ExportPlan[TorchScriptOptions]) -> Promise:
    """Return every input shape at which the file must run: the traced one, and others along each free axis."""
    proven = [(batch, size) for size in plan.proven_sizes() for batch in plan.proven_batches()]
    return Promise(
        shapes=tuple((batch, 3, *size) for batch, size in proven),
        outputs=tuple(plan.outputs_at(batch, size) for batch, size in proven),
        dtype=plan.input_spec().dtype,
        bundled_inputs=plan.options.bundled_inputs,
    )


def trace(module: "nn.Module", example: "Tensor") -> Any:
    """Trace into a TorchScript module of its own, weights as constants.

    Raises:
        ExportError: with PyTorch's own words.
    """
    import torch

    recorded: Any = torch._C.ScriptModule(  # type: ignore[call-arg]
        "EdgeViT", torch._C.CompilationUnit(), False
    )
    with quiet(), torch.no_grad():
        try:
            recorded._create_method_from_trace("forward", module, (example,), lambda _: "", True, False, ["input"], False)
        except RuntimeError as error:
            raise ExportError(f"PyTorch could not trace the model: {first_line(error)}") from error
    return torch.jit._recursive.wrap_cpp_module(recorded).eval()  # type: ignore[no-untyped-call]


def freeze(program: Any) -> Any:
    """Fold what is constant.

    Raises:
        ExportError: with PyTorch's own words.
    """
    import torch

    with quiet():
        try:
            return torch.jit.freeze(program)
        except RuntimeError as error:
            raise ExportError(f"PyTorch could not freeze the trace: {first_line(error)}") from error


def _has_xnnpack() -> bool:
    import torch.backends.xnnpack

    return bool(torch.backends.xnnpack.enabled)  # type: ignore[attr-defined]


def _notes(plan: ExportPlan[TorchScriptOptions]) -> Iterator[str]:
    yield f"Bytecode version {NEWEST_BYTECODE} at most and only operators that PyTorch Mobile 1.13 has: read back from the file."
    yield DEPRECATED
    if len(plan.outputs) > 1:
        yield ORDER.format(names=", ".join(spec.name for spec in plan.outputs))
    yield OPTIMISED if plan.options.optimize_for_mobile else NOT_OPTIMISED
    if not (plan.dynamic_batch and plan.dynamic_size):
        yield ANY_SIZE
    if plan.dynamic_size:
        yield MULTIPLES_ONLY
