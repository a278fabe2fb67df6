"""Module -> ONNX graph by PyTorch's trace, and the one form that all graphs here are brought into."""

import io
import warnings
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import ExportPlan

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

E4M3_OPSET = 19
"""The first opset that has the type."""


def trace(module: "nn.Module", plan: ExportPlan[Any]) -> "ModelProto":
    """Export by tracing, with the plan's free axes symbolic.

    Raises:
        ExportError: with the first line of PyTorch's own message.
    """
    import onnx
    import torch

    from edgevit_deploy.deploy.e4m3 import through_e4m3

    input_spec = plan.input_spec()
    dynamic_axes = {
        spec.name: {position: axis for position, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in (input_spec, *plan.outputs)
    }
    written = io.BytesIO()
    with warnings.catch_warnings():
        # Deprecated in favour of the slower exporter that turns opset 17 into 18: known, and the range of torch is pinned.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A traced Python number may be a baked-in size; whether it is gets decided by running every promised size.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # It knows how to write PyTorch's own rounding, which is to integers.
        torch.onnx.register_custom_op_symbolic(through_e4m3._qualname, _write_e4m3, E4M3_OPSET)  # type: ignore[attr-defined]
        try:
            torch.onnx.export(
                module,
                (plan.example(),),
                written,  # type: ignore[arg-type]  # the trace exporter takes any binary file
                dynamo=False,
                opset_version=plan.options.opset,
                input_names=[input_spec.name],
                output_names=[spec.name for spec in plan.outputs],
                dynamic_axes=dynamic_axes,
            )
        except RuntimeError as error:  # also the base of torch.onnx.OnnxExporterError
            raise ExportError(f"PyTorch could not export to ONNX opset {plan.options.opset}: {first_line(error)}") from error
    model = onnx.load_model_from_string(written.getvalue())
    # The exporter does not see that a fixed batch survives free image sizes; that it does is checked by running them.
    for value, spec in zip(model.graph.output, plan.outputs, strict=True):
        value.CopyFrom(onnx.helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, spec.shape))
    return model


def _write_e4m3(graph: Any, x: Any, scales: Any) -> Any:
    """Write rounding to E4M3 as QuantizeLinear and DequantizeLinear, which the type of the zero point tells how to round."""
    import torch

    from edgevit_deploy.deploy.e4m3 import E4M3

    of_channels = scales.type().sizes()
    axis = {"axis_i": 0} if of_channels else {}
    zero_points = graph.op("Constant", value_t=torch.zeros(of_channels, dtype=E4M3))
    numbers = graph.op("QuantizeLinear", x, scales, zero_points, **axis)
    return graph.op("DequantizeLinear", numbers, scales, zero_points, **axis)


def tidy(model: "ModelProto", opset: int) -> "ModelProto":
    """Bring a graph into one form: constants as initialisers, the IR version that came with its opset, nothing stamped in.

    Intermediate shapes are dropped (every runtime infers them), and so are onnxsim's reports in the metadata. A higher IR
    version than the opset's own would only lock older runtimes out.
    """
    from onnx import helper

    graph = model.graph
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:], model.metadata_props[:]
    for node in nodes:
        node.ClearField("doc_string")
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            graph.node.append(node)
    graph.ClearField("doc_string")
    model.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return model
