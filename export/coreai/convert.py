"""PyTorch to a Core AI program: torch.export, Apple's converter, and names that are the same in every run."""

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.coreai import LOADER_ERRORS, import_coreai_torch
from edgevit_deploy.formats.coreai.program import CALLEE, MAIN, RESOURCE_NAME, read_constant, read_resources
from edgevit_deploy.model.ends import as_tuple
from edgevit_deploy.spec import INPUT_NAME, SIZE_STEP
from export.coreai.rounding import with_core_ai_operators

if TYPE_CHECKING:
    from edgevit_deploy.model.ends import PreparedModel

CONVERTER_ERRORS = (*LOADER_ERRORS, NotImplementedError)
"""What torch.export and the converter raise on a graph that they cannot convert."""


class HalfNetwork(nn.Module):
    """A network in half precision whose input and outputs are float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """As the network's."""
        outputs = self.network(x.half())
        several = tuple(output.float() for output in as_tuple(outputs))
        return several[0] if isinstance(outputs, Tensor) else several


def convert(module: "PreparedModel", plan: ExportPlan[Any], *, half: bool) -> Any:
    """Convert a prepared module.

    Args:
        module: as the exporter is given it; it is not changed.
        plan: what to build.
        half: compute the network in half precision; normalisation and softmax of the ends stay in float32.

    Returns:
        The `coreai.authoring.AIProgram`, with no name and no place of this run in it.

    Raises:
        ExportError: with the first line of the converter's own message.
    """
    coreai_torch = import_coreai_torch()
    module = copy.deepcopy(module)
    module.network = with_core_ai_operators(module.network) if plan.scheme is not None else module.network
    if half:
        module.network = HalfNetwork(module.network)
    try:
        with _quiet(), torch.no_grad():
            exported = torch.export.export(module, _example(plan), dynamic_shapes=_free_axes(plan), strict=False)
            exported = exported.run_decompositions(coreai_torch.get_decomp_table())
            converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
            names = [output.name for output in plan.outputs]
            converter.add_exported_program(exported, input_names=[INPUT_NAME], output_names=names)
            program = converter.to_coreai()
    except CONVERTER_ERRORS as error:
        raise ExportError(f"coreai-torch could not convert the model: {first_line(error)}") from error
    _name_alike(program)
    return program


def _example(plan: ExportPlan[Any]) -> tuple[Tensor]:
    """Return what is traced; an axis of extent 1 would be taken for fixed."""
    example = plan.example()
    return (example.repeat(2, 1, 1, 1) if plan.dynamic_batch else example,)


def _free_axes(plan: ExportPlan[Any]) -> tuple[dict[int, Any]] | None:
    axes = dict[int, Any]()
    if plan.dynamic_batch:
        axes[0] = torch.export.Dim("batch", min=1)
    if plan.dynamic_size:
        axes[2], axes[3] = (SIZE_STEP * torch.export.Dim(name, min=1) for name in ("height_steps", "width_steps"))
    return (axes,) if axes else None


def _name_alike(program: Any) -> None:
    """Give graphs and large constants names by their order, in place of random letters and salted hashes, and drop locations."""
    from coreai._compiler.ir import Attribute, DenseResourceElementsAttr, StringAttr
    from coreai_torch.debugging.debug_info import strip_debug_info

    module = program._module._mlir_module
    resources = read_resources(module)
    graphs = [graph.operation for graph in module.body.operations]
    old = [graph.attributes["sym_name"].value for graph in graphs]
    names = {name: name if name == MAIN else f"{name.rpartition('_')[0]}_{index}" for index, name in enumerate(old)}
    constants = dict[str, Any]()
    with module.context:
        for graph, name in zip(graphs, old, strict=True):
            graph.attributes["sym_name"] = StringAttr.get(names[name])
            for operation in graph.regions[0].blocks[0].operations:
                attributes = operation.operation.attributes
                if operation.operation.name == "coreai.invoke":
                    callee = CALLEE.search(str(attributes["callee"]))
                    assert callee is not None
                    attributes["callee"] = Attribute.parse(f"#param.constant<@{names[callee[1]]}> : !param.symbol")
                elif operation.operation.name == "coreai.constant" and not hasattr(attributes["value"], "is_splat"):
                    resource = RESOURCE_NAME.search(str(attributes["value"]))
                    assert resource is not None
                    if resource[1] not in constants:
                        array: Any = read_constant(operation.operation, resources)
                        kind = operation.operation.results[0].type
                        constants[resource[1]] = DenseResourceElementsAttr.get_from_buffer(
                            array, f"constant_{len(constants)}", kind
                        )
                    attributes["value"] = constants[resource[1]]
    strip_debug_info(program)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's progress from the console, and warnings that tell a user nothing."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
