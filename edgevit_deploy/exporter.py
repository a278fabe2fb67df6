"""What every target's converter is given, what it gives back, and the base class they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.spec import (
    DYNAMIC_BATCHES,
    INPUT_NAME,
    SIZE_STEP,
    Graph,
    InputForm,
    ModelSpec,
    OutputForm,
    Precision,
    Size,
    TensorSpec,
    second_size,
)

if TYPE_CHECKING:
    from torch import nn

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan(Generic[OptionsT]):
    """One conversion, fully decided, before any work.

    `batch` and `image_size` are the sizes to trace with; `dynamic_batch` and `dynamic_size` say which of them the file
    must leave free. `graph` says whether the exporter is given the published graph or the one rewritten to `form`. `options` is
    the target's own dataclass.
    """

    spec: ModelSpec
    precision: Precision
    batch: int
    dynamic_batch: bool
    image_size: Size
    dynamic_size: bool
    graph: Graph
    form: Form
    input_form: InputForm
    labels: tuple[str, ...]
    options: OptionsT

    def input_spec(self) -> TensorSpec:
        """The one input: float32 (batch, 3, height, width); normalised, or 0 to 255 when `input_form` is image."""
        height, width = ("height", "width") if self.dynamic_size else self.image_size
        return TensorSpec(name=INPUT_NAME, shape=(self.batch_axis(), 3, height, width), dtype="float32")

    def output_spec(self, output_form: OutputForm) -> TensorSpec:
        """The one output: float32 (batch, num_classes), named after what it holds."""
        return TensorSpec(name=output_form, shape=(self.batch_axis(), self.spec.num_classes), dtype="float32")

    def proven_batches(self) -> tuple[int, ...]:
        """The batch sizes at which the file must be right."""
        return DYNAMIC_BATCHES if self.dynamic_batch else (self.batch,)

    def proven_sizes(self) -> tuple[Size, ...]:
        """The image sizes at which the file must be right; the first is the traced one."""
        return (self.image_size, second_size(self.image_size)) if self.dynamic_size else (self.image_size,)

    def batch_axis(self) -> int | str:
        """The batch axis as it appears in a TensorSpec."""
        return "batch" if self.dynamic_batch else self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a partitioner or a compiler makes of a whole written file.

    Attributes:
        partitions: how many pieces of the graph it takes.
        outside: operators that it leaves to other kernels: type -> count.
        layers: how many layers it runs in place of the file's operators, where it tells.
        note: what it did not look at, as a sentence.
    """

    partitions: int
    outside: dict[str, int]
    layers: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        target: registered name of the target.
        path: the model file or directory that an app loads.
        inputs: its inputs.
        outputs: its outputs.
        tools: name -> version of everything that had a part in it.
        facts: what was measured or read back from the written file (opset, bytecode version, ...). `operators` counts what
            computes in it, without inputs, outputs and constants: type -> count.
        notes: sentences for the manifest and the reader; every limit of the file is stated here.
        source: for a file that cannot run everywhere (a TensorRT engine), the artifact it was built from; it is kept in
            the bundle and verified where the file itself cannot be.
    """

    target: str
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tools: dict[str, str]
    facts: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: "Artifact | None" = None


class Exporter(ABC, Generic[OptionsT]):
    """Prepared model -> file. One subclass a target; instances carry no state."""

    target: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """Import names of what converts; `probe` and `convert.py doctor` look for them. On PyPI an underscore is a hyphen."""

    extra: ClassVar[str | None] = None
    """The extra of this project that installs the packages; None where they are core dependencies."""

    precisions: ClassVar[tuple[Precision, ...]]
    options_type: ClassVar[type[Any]]
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = False
    image_input: ClassVar[bool] = True
    graphs: ClassVar[tuple[Graph, ...]] = ("deploy", "original")
    """The forms of the network that the format can hold."""

    one_image: ClassVar[bool] = False
    """True where the format has no batch axis: a run takes one image."""

    smallest_side: ClassVar[int] = SIZE_STEP
    """The side in pixels of the smallest square image that every converter of this target takes."""

    strided: ClassVar[bool] = False
    """True where tensors have the memory layout that the model gives them, as in PyTorch: a model may be slow in one."""

    paper_protocol: ClassVar[bool] = False
    """True for the format in which the paper times its networks: TorchScript lite, float32, one image a run, one thread, the mean
    of 50 forward passes (EdgeViTs, ECCV 2022, section 4.1). `convert.py bench --protocol paper` times no other."""

    usage: ClassVar[str]
    """Markdown for the bundle's README: how an app loads the file, with a snippet in the language that it is written in."""

    form: ClassVar[Form] = Form()
    """How the deploy graph is written for this target."""

    @classmethod
    def probe(cls) -> Availability:
        """Say whether this target can be built on this host, cheaply and without raising: whether its packages are there."""
        return requires(*cls.packages, extra=cls.extra)

    @abstractmethod
    def export(self, module: "nn.Module", plan: ExportPlan[OptionsT], folder: Path) -> Artifact:
        """Write the file into `folder` (which exists) and read back what was written.

        Args:
            module: float32, evaluation mode, requires no gradient; takes `plan.input_spec()` and returns
                `plan.output_spec(self.output_form(plan.options))`. It must not be changed: work on a copy.
            plan: what to build; `refuse` has accepted it.
            folder: where to write; the file is `model.<suffix>`.

        Raises:
            ExportError: the converter refused or crashed, or the written file is not what was asked for.
        """

    def naive(self, module: "nn.Module", plan: ExportPlan[OptionsT]) -> "dict[str, Callable[[Path], Artifact]]":
        """Return what a user would otherwise do with the published graph, to measure against: name -> writes it into a folder.

        Args:
            module: as for `export`, of the published graph.
            plan: as for `export`; its graph and form are not looked at.
        """
        plain = replace(plan, graph="original")
        return {"plain conversion": lambda folder: self.export(module, plain, folder)}

    def placements(self, artifact: Artifact) -> dict[str, Placement]:  # noqa: ARG002 - most have none
        """Return what each partitioner or compiler makes of a file that `export` wrote: its name -> what it takes."""
        return {}

    def output_form(self, options: OptionsT) -> OutputForm:  # noqa: ARG002 - a target with a softmax looks at it
        """Say whether the file returns logits or probabilities; the truth it is compared with is the same."""
        return "logits"

    def refuse(self, plan: ExportPlan[OptionsT]) -> None:
        """Refuse an unsupported combination before any work; a target adds its own cases and calls super().

        Raises:
            UsageError: with the list of what is supported and the flag that would work.
        """
        if plan.precision not in self.precisions:
            raise UsageError(f"{self.target} has no precision {plan.precision!r}; use --precision {' or '.join(self.precisions)}")
        if self.one_image and (plan.dynamic_batch or plan.batch != 1):
            raise UsageError(f"{self.target} has no batch axis and takes one image a run; use --batch 1")
        if plan.dynamic_batch and not self.dynamic_batch:
            raise UsageError(f"{self.target} cannot have a dynamic batch; use --batch N")
        if plan.dynamic_size and not self.dynamic_size:
            raise UsageError(f"{self.target} cannot have a dynamic image size; use --image-size N or HxW")
        if plan.input_form == "image" and not self.image_input:
            raise UsageError(f"{self.target} cannot take --input image; use --input tensor")
        if plan.graph not in self.graphs:
            raise UsageError(f"{self.target} cannot hold the {plan.graph} graph; use --graph {' or '.join(self.graphs)}")


def usage_beside(module_file: str) -> str:
    """Return the text of the `usage.md` beside a module, whose `__file__` is given."""
    return Path(module_file).with_name("usage.md").read_text(encoding="utf-8")
