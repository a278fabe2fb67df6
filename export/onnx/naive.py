"""What a user would otherwise have of a network in ONNX: PyTorch's two exporters, each with and without onnxsim.

Nothing is done to these files: they are what `convert.py bench --against original` compares with, so they are as PyTorch and
onnxsim leave them.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import Artifact, ExportPlan

if TYPE_CHECKING:
    from torch import nn

OPSET = 18
"""The dynamo exporter's own default in PyTorch 2.13; both are given the same."""


def naive_exports(module: "nn.Module", plan: ExportPlan[Any]) -> dict[str, Callable[[Path], Artifact]]:
    """Return name -> a function that writes the file into a folder; fp32, at the traced batch and size.

    Raises (each function):
        ExportError: PyTorch or onnxsim could not.
    """

    def writer(dynamo: bool, simplified: bool) -> Callable[[Path], Artifact]:
        return lambda folder: _write(module, plan, folder, dynamo=dynamo, simplified=simplified)

    return {
        f"{exporter} exporter{', onnxsim' if simplified else ''}": writer(exporter == "dynamo", simplified)
        for exporter in ("dynamo", "TorchScript")
        for simplified in (False, True)
    }


def _write(module: "nn.Module", plan: ExportPlan[Any], folder: Path, *, dynamo: bool, simplified: bool) -> Artifact:
    import onnx
    import onnxsim
    import torch

    path = folder / "model.onnx"
    input_spec = plan.input_spec()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                (plan.example(),),
                str(path),
                dynamo=dynamo,
                opset_version=OPSET,
                input_names=[input_spec.name],
                output_names=[spec.name for spec in plan.outputs],
                external_data=False,
            )
        except RuntimeError as error:
            raise ExportError(f"PyTorch's exporter failed: {first_line(error)}") from error
        if simplified:
            model, sound = onnxsim.simplify(onnx.load_model(path))
            if not sound:
                raise ExportError("onnxsim says that its result computes other numbers")
            onnx.save_model(model, path)
    return Artifact(target="onnx", path=path, inputs=(input_spec,), outputs=plan.outputs, tools={})
