"""What every target's converter is given, what it gives back, and the base class they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.spec import (
    DYNAMIC_BATCHES,
    INPUT_NAME,
    SIZE_STEP,
    Graph,
    InputKind,
    ModelSpec,
    OutputKind,
    Placement,
    Precision,
    Size,
    Task,
    TensorSpec,
    output_specs,
    second_size,
    task_of,
)

if TYPE_CHECKING:
    from torch import nn

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan(Generic[OptionsT]):
    """One conversion, fully decided, before any work.

    `batch` and `image_size` are the sizes to trace with; `dynamic_batch` and `dynamic_size` say which of them the file
    must leave free. `graph` says whether the exporter is given the published graph or the one rewritten to `form`. `takes` and
    `returns` say what the file's input and outputs hold, `outputs` is what they are called and their shapes. `options` is the
    target's own dataclass. `Exporter.plan` makes one.
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

    def input_spec(self) -> TensorSpec:
        """The one input: float32 (batch, 3, height, width); normalised, or 0 to 255 when `takes` is image."""
        height, width = ("height", "width") if self.dynamic_size else self.image_size
        return TensorSpec(name=INPUT_NAME, shape=(self.batch_axis(), 3, height, width), dtype="float32")

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


class Exporter(ABC, Generic[OptionsT]):
    """Prepared model -> file. One subclass a target; instances carry no state."""

    target: ClassVar[str]
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]]
    """What it can write, fp32 first, and how far each may be from the truth, with the reason."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Import names of what converts; `probe` and `convert.py doctor` look for them. On PyPI an underscore is a hyphen."""

    extra: ClassVar[str | None] = None
    """The extra of this project that installs the packages; None where they are core dependencies."""

    options_type: ClassVar[type[Any]]
    tasks: ClassVar[tuple[Task, ...]] = ("classify",)
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

    copies_on_disk: ClassVar[int] = 2
    """How many times the float32 weights may lie on the disk while it writes, scratch files and the file itself together."""

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
            module: float32, evaluation mode, requires no gradient; takes `plan.input_spec()` and returns `plan.outputs`, one
                tensor or a tuple. It must not be changed: work on a copy.
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

    def placements(self, artifact: Artifact) -> dict[str, Placement]:
        """Return what each partitioner or compiler makes of a file that `export` wrote; more are asked here than by `export`."""
        return artifact.placements

    def returns(self, options: OptionsT) -> OutputKind:  # noqa: ARG002 - a target with a softmax looks at it
        """Say whether a classifier's file returns logits or probabilities; the truth it is compared with is the same."""
        return "logits"

    def plan(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        batch: int | Literal["dynamic"] = 1,
        dynamic_size: bool = False,
        graph: Graph = "deploy",
        form: Form | None = None,
        takes: InputKind = "tensor",
        task: Task = "classify",
        labels: tuple[str, ...] = (),
        options: OptionsT | None = None,
    ) -> ExportPlan[OptionsT]:
        """Decide one conversion; what is not said is the target's own choice. `refuse` then says whether it can be done.

        Args:
            spec: of the network, at the image size to trace with.
            precision: of the file; the target's first when None.
            batch: images a run, or `dynamic`.
            dynamic_size: leave height and width free.
            graph: the published one, or the one rewritten to `form`.
            form: of the deploy graph; the target's own when None.
            takes: what the input holds.
            task: what the network is asked for.
            labels: class names, empty where nobody gave any.
            options: the target's own; its defaults when None.
        """
        chosen: OptionsT = self.options_type() if options is None else options
        returns: OutputKind = "features" if task == "features" else self.returns(chosen)
        axis = "batch" if batch == "dynamic" else batch
        return ExportPlan(
            target=self.target,
            spec=spec,
            precision=next(iter(self.precisions)) if precision is None else precision,
            batch=1 if batch == "dynamic" else batch,
            dynamic_batch=batch == "dynamic",
            image_size=spec.image_size,
            dynamic_size=dynamic_size,
            graph=graph,
            form=form or self.form,
            takes=takes,
            returns=returns,
            outputs=output_specs(spec, returns, batch=axis, size=None if dynamic_size else spec.image_size),
            labels=labels,
            options=chosen,
        )

    def refuse(self, plan: ExportPlan[OptionsT]) -> None:
        """Refuse an unsupported combination before any work; a target adds its own cases and calls super().

        Raises:
            UsageError: with the list of what is supported and the flag that would work.
        """
        if plan.precision not in self.precisions:
            raise UsageError(f"{self.target} has no precision {plan.precision!r}; use --precision {' or '.join(self.precisions)}")
        if task_of(plan.returns) not in self.tasks:
            raise UsageError(f"{self.target} cannot hold a network that returns {plan.returns}; it has the task {self.tasks[0]}")
        if self.one_image and (plan.dynamic_batch or plan.batch != 1):
            raise UsageError(f"{self.target} has no batch axis and takes one image a run; use --batch 1")
        if plan.dynamic_batch and not self.dynamic_batch:
            raise UsageError(f"{self.target} cannot have a dynamic batch; use --batch N")
        if plan.dynamic_size and not self.dynamic_size:
            raise UsageError(f"{self.target} cannot have a dynamic image size; use --image-size N or HxW")
        if plan.takes == "image" and not self.image_input:
            raise UsageError(f"{self.target} cannot take --input image; use --input tensor")
        if plan.graph not in self.graphs:
            raise UsageError(f"{self.target} cannot hold the {plan.graph} graph; use --graph {' or '.join(self.graphs)}")


def usage_beside(module_file: str) -> str:
    """Return the text of the `usage.md` beside a module, whose `__file__` is given."""
    return Path(module_file).with_name("usage.md").read_text(encoding="utf-8")
