"""One conversion as it was decided, what an exporter wrote, and what of a target's precisions is decided once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.ranges import OperatorRanges
from edgevit_deploy.deploy.scheme import Choice, RoundingChoices, Scheme
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import (
    DYNAMIC_BATCHES,
    INPUT_NAME,
    INPUTS,
    Graph,
    InputKind,
    ModelSpec,
    OutputKind,
    Placement,
    Precision,
    Size,
    TensorSpec,
    output_specs,
    second_size,
    task_of,
)

if TYPE_CHECKING:
    from torch import Tensor

OptionsT = TypeVar("OptionsT")


def zeros(shape: Sequence[int], dtype: str) -> "Tensor":
    """Return zeros of a shape and a type by its name in a `TensorSpec`."""
    import torch

    return torch.zeros(tuple(shape), dtype=getattr(torch, dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan(Generic[OptionsT]):
    """One conversion, fully decided, before any work.

    `batch` and `image_size` are the sizes to trace with; `dynamic_batch` and `dynamic_size` say which of them the file
    must leave free. `graph` says whether the exporter is given the published graph or the one rewritten to `form`. `takes` and
    `returns` say what the file's input and outputs hold, `outputs` is what they are called and their shapes. `options` is the
    target's own dataclass. `Exporter.plan` makes one. `scheme` says what a quantised precision rounds, and `ranges` by which
    ranges, once they are known (`Workbench.calibrated`).
    """

    target: str
    spec: ModelSpec
    precision: Precision
    batch: int
    dynamic_batch: bool
    image_size: Size
    dynamic_size: bool
    graph: Graph
    form: Form
    takes: InputKind
    returns: OutputKind
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    options: OptionsT
    scheme: Scheme | None = None
    ranges: dict[str, OperatorRanges] | None = None

    def input_spec(self) -> TensorSpec:
        """The one input: (batch, 3, height, width), of the type that `takes` says."""
        height, width = ("height", "width") if self.dynamic_size else self.image_size
        return TensorSpec(name=INPUT_NAME, shape=(self.batch_axis(), 3, height, width), dtype=INPUTS[self.takes].dtype)

    def example(self) -> "Tensor":
        """An input to trace with: zeros, of the traced sizes."""
        return zeros((self.batch, 3, *self.image_size), self.input_spec().dtype)

    def purpose(self) -> str:
        """What the network does, as a part of a sentence for people; for formats in which a file says so."""
        if self.returns == "features":
            return "gives the feature maps of its four stages (strides 4, 8, 16 and 32) for an RGB image"
        if self.returns == "class_maps":
            return f"gives each pixel of an RGB image a logit for each of {self.spec.num_classes} classes"
        if self.returns == "detections":
            return f"gives the anchors of an RGB image a logit for each of {self.spec.num_classes} classes, and deltas of a box"
        return f"classifies an RGB image into {self.spec.num_classes} classes"

    def proven_batches(self) -> tuple[int, ...]:
        """The batch sizes at which the file must be right."""
        return DYNAMIC_BATCHES if self.dynamic_batch else (self.batch,)

    def proven_sizes(self) -> tuple[Size, ...]:
        """The image sizes at which the file must be right; the first is the traced one."""
        return (self.image_size, second_size(self.image_size)) if self.dynamic_size else (self.image_size,)

    def outputs_at(self, batch: int, size: Size) -> tuple[tuple[int, ...], ...]:
        """The shape of each output at one batch and image size."""
        maps = task_of(self.returns) != "classify"
        specs = output_specs(self.spec, self.returns, batch=batch, size=size) if maps else self.outputs
        return tuple((batch, *(int(axis) for axis in spec.shape[1:])) for spec in specs)

    def batch_axis(self) -> int | str:
        """The batch axis as it appears in a TensorSpec."""
        return "batch" if self.dynamic_batch else self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        target: registered name of the target.
        path: the model file or directory that an app loads.
        inputs: its inputs.
        outputs: its outputs.
        tools: name -> version of everything that had a part in it.
        operators: what computes in it, without inputs, outputs and constants: type -> count.
        placements: what partitioners and compilers made of it while it was written: their name -> what they take.
        facts: what else was measured or read back from the written file (opset, bytecode version, ...), for people to read.
        notes: sentences for the manifest and the reader; every limit of the file is stated here.
        built_from: for a file that cannot run everywhere (an engine for one GPU), the artifact it was built from; it is kept
            in the bundle and verified where the file itself cannot be.
    """

    target: str
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tools: dict[str, str]
    operators: dict[str, int] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    built_from: "Artifact | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """One quantised precision of a target.

    Attributes:
        scheme: what is rounded, and how.
        bound: how far a file's RMS error may be from that of its emulation, as a multiple, with the reason.
        form: of the deploy graph in this precision.
        choices: what of the scheme the target can write otherwise, and how: field -> its values. Those of `floating` are names
            that `tune` tries, one by one; a file may name any operator.
    """

    scheme: Scheme
    bound: NoiseMultiple
    form: Form
    choices: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)

    def scheme_with(self, rounding: RoundingChoices) -> Scheme:
        """Return the scheme with some of it chosen otherwise.

        Raises:
            UsageError: the target cannot write that.
        """
        for part, choice in rounding.items():
            options = self.choices.get(part, ())
            if choice != getattr(self.scheme, part) and (not options or (part != "floating" and choice not in options)):
                known = f"{part} can be {' or '.join(map(shown, options))}" if options else f"{part} cannot be chosen"
                raise UsageError(f"{part} {shown(choice)} cannot be written; {known}")
        return replace(self.scheme, **rounding)  # type: ignore[arg-type]


def shown(choice: Choice) -> str:
    """Return a choice of a rounding as a form's file has it, for people."""
    if isinstance(choice, bool):
        return str(choice).lower()
    return choice if isinstance(choice, str) else f"[{', '.join(choice)}]"
