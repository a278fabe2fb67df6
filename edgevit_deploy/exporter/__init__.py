"""What every target's converter is given, what it gives back, and the base class they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.scheme import RoundingChoices, Scheme
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.exporter.plan import Artifact as Artifact
from edgevit_deploy.exporter.plan import ExportPlan as ExportPlan
from edgevit_deploy.exporter.plan import OptionsT
from edgevit_deploy.exporter.plan import Quantisation as Quantisation
from edgevit_deploy.exporter.plan import shown as shown
from edgevit_deploy.exporter.plan import zeros as zeros
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.spec import (
    INPUTS,
    QUANTISED,
    SIZE_STEP,
    Graph,
    InputKind,
    ModelSpec,
    OutputKind,
    Placement,
    Precision,
    Task,
    output_specs,
    returned_for,
    task_of,
)
from edgevit_deploy.spec.description import Description
from edgevit_deploy.spec.precision import ONLY

if TYPE_CHECKING:
    from torch import nn

    from edgevit_deploy.deploy.stored import Stored


class Exporter(ABC, Generic[OptionsT]):
    """Prepared model -> file. One subclass a target; instances carry no state."""

    target: ClassVar[str]
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]]
    """What it can write in floating point, fp32 first, and how far each may be from the truth, with the reason."""

    quantised: ClassVar[Mapping[Precision, Quantisation]] = {}
    """What it can write in eight bits."""

    half_weights: ClassVar[bool] = False
    """True where an fp16 file stores weights in half precision and all else is float32: it is judged by an emulation of that."""

    no_integers: ClassVar[str] = ""
    """Why it cannot write int8, where somebody might expect it, as a sentence without its end."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Import names of what converts; `probe` and `convert.py doctor` look for them. On PyPI an underscore is a hyphen."""

    extra: ClassVar[str | None] = None
    """The extra of this project that installs the packages; None where they are core dependencies."""

    in_all: ClassVar[bool] = True
    """False where the extra is not in `all`, as a pre-release, or one with wheels for few machines: one command that installs it
    with others would refuse the others too."""

    options_type: ClassVar[type[Any]]
    tasks: ClassVar[tuple[Task, ...]] = ("classify",)
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = False
    cannot_take: ClassVar[Mapping[InputKind, str]] = {}
    """What the input of its files cannot be, and why, as a sentence without its end."""

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
            module: of float32 weights, in evaluation mode, requires no gradient; takes `plan.input_spec()` and returns
                `plan.outputs`, one tensor or a tuple. It must not be changed: work on a copy.
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

    def has(self, precision: Precision) -> bool:
        """Say whether it writes files in a precision."""
        return precision in self.precisions or precision in self.quantised

    def quantisation(self, precision: Precision, options: OptionsT) -> Quantisation | None:  # noqa: ARG002 - some have a choice
        """Return what a precision rounds and how, None where it is in floating point; options may choose among ways."""
        return self.quantised.get(precision)

    def bound(self, precision: Precision) -> NoiseMultiple:
        """Return how far a file in a precision that it has may be from the truth."""
        quantised = self.quantised.get(precision)
        return self.precisions[precision] if quantised is None else quantised.bound

    def stored(self, artifact: Artifact) -> "Stored":
        """Read back from a quantised file what it rounds by.

        Raises:
            RunError: it cannot be read, or rounds in a way that is never written here.
        """
        raise RunError(f"{self.target} writes no quantised files, {artifact.path.name} is none of its own; convert again")

    def description(self, artifact: Artifact) -> Description | None:  # noqa: ARG002 - most formats have no place for it
        """Return what a file says of its pixels and classes to tools that read no manifest; None where that cannot be known here.

        Raises:
            RunError: it cannot be read.
        """
        return None

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
        rounding: RoundingChoices | None = None,
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
            rounding: what of the precision's scheme is otherwise; nothing when None.
            takes: what the input holds.
            task: what the network is asked for.
            labels: class names, empty where nobody gave any; of feature maps there are none.
            options: the target's own; its defaults when None.

        Raises:
            UsageError: a rounding that this target cannot write, or of a precision that it does not have; or a task that the
                network has no head for.
        """
        if not spec.can(task):
            raise UsageError(f"the network is for --task {spec.task}, and has no head for --task {task}; use --task {spec.task}")
        chosen: OptionsT = self.options_type() if options is None else options
        returns: OutputKind = self.returns(chosen) if task == "classify" else returned_for(task)
        axis = "batch" if batch == "dynamic" else batch
        kind: Precision = next(iter(self.precisions)) if precision is None else precision
        quantisation = self.quantisation(kind, chosen)
        plan = ExportPlan(
            target=self.target,
            spec=spec,
            precision=kind,
            batch=1 if batch == "dynamic" else batch,
            dynamic_batch=batch == "dynamic",
            image_size=spec.image_size,
            dynamic_size=dynamic_size,
            graph=graph,
            form=form or (quantisation.form if quantisation else self.form_of(spec)),
            takes=takes,
            returns=returns,
            outputs=output_specs(spec, returns, batch=axis, size=None if dynamic_size else spec.image_size),
            labels=labels if task == "classify" else (),
            options=chosen,
            scheme=quantisation.scheme if quantisation else None,
        )
        if not rounding:
            return plan
        if quantisation is None:
            self.refuse(plan)
            raise UsageError(f"{kind} rounds no integers that could be chosen; use --precision int8, or another --form")
        try:
            return self.rounded_as(plan, quantisation.scheme_with(rounding))
        except UsageError as error:
            raise UsageError(f"{self.target} {kind}: {error}") from error

    def rounded_as(self, plan: ExportPlan[OptionsT], scheme: Scheme) -> ExportPlan[OptionsT]:
        """Return a plan with another scheme; a target whose options say some of it changes them as well."""
        return replace(plan, scheme=scheme)

    def form_of(self, spec: ModelSpec) -> Form:  # noqa: ARG002 - most have one for all networks
        """Return the target's own form for a network in floating point."""
        return self.form

    def refused_inputs(self, precision: Precision) -> Mapping[InputKind, str]:  # noqa: ARG002 - most take the same in each
        """Return what the input of its files cannot be in a precision, and why, as a sentence without its end."""
        return self.cannot_take

    def refuse(self, plan: ExportPlan[OptionsT]) -> None:
        """Refuse an unsupported combination before any work; a target adds its own cases and calls super().

        Raises:
            UsageError: with the list of what is supported and the flag that would work.
        """
        if not self.has(plan.precision):
            reason = ONLY.get(plan.precision) or (self.no_integers if plan.precision in QUANTISED else "")
            why = f" ({reason})" if reason else ""
            known = " or ".join((*self.precisions, *self.quantised))
            raise UsageError(f"{self.target} has no precision {plan.precision!r}{why}; use --precision {known}")
        if plan.scheme is not None and plan.graph != "deploy":
            raise UsageError(f"{plan.precision} is rounded on the deploy graph; use --graph deploy")
        if plan.scheme is not None and plan.dynamic_size:
            raise UsageError(f"{plan.precision} has ranges for one image size; use --image-size N or HxW")
        if task_of(plan.returns) not in self.tasks:
            raise UsageError(
                f"{self.target} cannot hold a network that returns {plan.returns}; it has the task {' or '.join(self.tasks)}"
            )
        if plan.scheme is not None and task_of(plan.returns) != "classify":
            raise UsageError(
                f"{plan.precision} is judged by a picture's first class, and {plan.returns.replace('_', ' ')} have none; use "
                f"--precision {' or '.join(self.precisions)}, or --task classify"
            )
        if self.one_image and (plan.dynamic_batch or plan.batch != 1):
            raise UsageError(f"{self.target} has no batch axis and takes one image a run; use --batch 1")
        if plan.dynamic_batch and not self.dynamic_batch:
            raise UsageError(f"{self.target} cannot have a dynamic batch; use --batch N")
        if plan.dynamic_size and task_of(plan.returns) == "detect":
            raise UsageError("the anchors of a detector are for one image size; use --image-size N or HxW")
        if plan.dynamic_size and not self.dynamic_size:
            raise UsageError(f"{self.target} cannot have a dynamic image size; use --image-size N or HxW")
        refused = self.refused_inputs(plan.precision)
        if plan.takes in refused:
            others = [kind for kind in INPUTS if kind not in refused]
            alike = [kind for kind in others if INPUTS[kind].pixels == INPUTS[plan.takes].pixels] or others
            why = refused[plan.takes]
            raise UsageError(f"{self.target} cannot take --input {plan.takes} ({why}); use --input {' or '.join(alike)}")
        if plan.graph not in self.graphs:
            raise UsageError(f"{self.target} cannot hold the {plan.graph} graph; use --graph {' or '.join(self.graphs)}")


def usage_beside(module_file: str) -> str:
    """Return the text of the `usage.md` beside a module, whose `__file__` is given."""
    return Path(module_file).with_name("usage.md").read_text(encoding="utf-8")
