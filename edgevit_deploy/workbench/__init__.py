"""The workbench: a model, a host, scratch space and someone to tell; on it files are built and judged.

Whatever converts, tunes, measures or verifies does it here: a fresh folder, the prepared module, the exporter, the runtime, the
comparison with the truth; and where a caller tries many things, an error becomes a reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgevit_deploy.calibration.choice import NO_CALIBRATION, CalibrationChoice, JudgeChoice
from edgevit_deploy.calibration.source import CalibrationSource
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder, read_some
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import DeployForm, to_deploy_form
from edgevit_deploy.errors import DeployError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.exporter.child import WORKERS
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.loading import DEFAULT_SEED, LoadedModel
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.parity.decisions import Decisions
from edgevit_deploy.parity.gate import ParityReport, Truth, check_session
from edgevit_deploy.parity.halves import half_weight_truths
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Arithmetic, Ends, Outputs, Reference
from edgevit_deploy.parity.taps import TappedNetwork
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.spec import Graph, InputKind, Precision, Size, floating
from edgevit_deploy.workbench.files import ends_of as ends_of
from edgevit_deploy.workbench.files import feeds_of as feeds_of
from edgevit_deploy.workbench.files import promised_batches as promised_batches
from edgevit_deploy.workbench.files import split_taps as split_taps
from edgevit_deploy.workbench.judge import Judge
from edgevit_deploy.workbench.results import Host as Host
from edgevit_deploy.workbench.results import Passed as Passed
from edgevit_deploy.workbench.results import Refused as Refused
from edgevit_deploy.workbench.results import Step as Step
from edgevit_deploy.workbench.results import outcome
from edgevit_deploy.workbench.results import quiet as quiet
from edgevit_deploy.workbench.rounded import Rounded

MAX_PHOTOGRAPHS = 32
"""How many photographs join the probes: each costs a float64 run and one in every precision, and more show nothing new."""


class Workbench:
    """One loaded model with its probes and truths, shared by everything that is built from it.

    Args:
        model: the loaded network.
        host: finds exporters and runtimes.
        scratch: folder for the files that are not kept; a fresh folder in it for each.
        step: told what is done; may be set anew for each job.
        photographs: a folder's pictures; at most `MAX_PHOTOGRAPHS` of them, spread evenly, join the probes.
        calibration: where the ranges of quantised files come from.
        judge: pictures on which their decisions are judged; None judges none.
    """

    def __init__(
        self,
        model: LoadedModel,
        host: Host,
        scratch: Path,
        step: Step = quiet,
        photographs: PictureFolder = NO_PICTURES,
        calibration: CalibrationChoice = NO_CALIBRATION,
        judge: JudgeChoice | None = None,
    ) -> None:
        self.model = model
        self.host = host
        self.scratch = scratch
        self.step = step
        self.photographs = photographs
        self.reference = Reference(model.network, model.spec.preprocess)
        self.probe_sets = ProbeSets(self.reference, model.spec.preprocess, self.photographs_at, DEFAULT_SEED)
        source = CalibrationSource(calibration, model.record, model.spec.preprocess, DEFAULT_SEED)
        self.rounded = Rounded(source, self.reference, self.probe_sets, self._graph_in, lambda text: self.step(text))
        self._judge = Judge(judge, model, self.reference, lambda text: self.step(text)) if judge else None
        self._built = 0
        self._pixels: dict[str, NDArray[np.uint8]] | None = None
        self._forms: dict[Form, DeployForm] = {}
        self._published_taps: dict[Probes, Outputs] = {}

    def network(self, graph: Graph, form: Form) -> nn.Module:
        """Return the network as it is exported: the original, or rewritten to a form; the truth is always the original's."""
        return self.deploy_form(form).network if graph == "deploy" else self.model.network

    def deploy_form(self, form: Form) -> DeployForm:
        """Return the network rewritten to a form, made once for each."""
        if form not in self._forms:
            self._forms[form] = to_deploy_form(self.model.network, form)
        return self._forms[form]

    def _graph_in(self, form: Form) -> nn.Module:
        return self.deploy_form(form).network

    def module(self, plan: ExportPlan[Any], network: nn.Module | None = None) -> nn.Module:
        """Return what the exporter of a plan is given: the network in its graph and form (or another one) between its ends."""
        network = self.network(plan.graph, plan.form) if network is None else network
        return prepare(self.rounded.graph(plan, network), plan.spec.preprocess, plan.takes, plan.returns, torch.float32)

    def probes(self, size: Size, takes: InputKind) -> Probes:
        """Return the probes of a size, the same object each time; photographs join at the model's own size."""
        return self.probe_sets.given(size, takes)

    def photographs_at(self, size: Size) -> Mapping[str, NDArray[np.uint8]]:
        """Return the photographs among the probes of a size."""
        return self.read_photographs() if size == self.model.spec.image_size else {}

    def read_photographs(self) -> Mapping[str, NDArray[np.uint8]]:
        """Return the pixels of the photographs that join the probes, by file name.

        The first call reads them, and all others of the folder too, so that broken ones are known before any work: from then on
        `photographs` passes them over.

        Raises:
            UsageError: no picture can be read, or one cannot where none may be passed over.
        """
        if self._pixels is None:
            preprocess = self.model.spec.preprocess
            self._pixels, self.photographs = read_some(self.photographs, MAX_PHOTOGRAPHS, preprocess, self.step)
        return self._pixels

    def truths(self, plan: ExportPlan[Any]) -> list[Truth]:
        """Return what a file of this plan is compared with, at each size that it promises."""
        if plan.scheme is not None:
            return self.rounded.truths(plan, ends_of(plan), self._judge)
        if plan.precision == "fp16" and self.host.find_exporter(plan.target).half_weights:
            network, probes = self._graph_in(plan.form), [self.probes(size, plan.takes) for size in plan.proven_sizes()]
            return half_weight_truths(self.reference, plan.graph, network, probes, ends_of(plan), plan.spec.preprocess)
        return self.truths_at(plan.proven_sizes(), ends_of(plan), plan.precision)

    def truths_at(self, sizes: Sequence[Size], ends: Ends, precision: Precision) -> list[Truth]:
        """Return the truth at each of several sizes, on the probes and then on the noisiest pictures near them.

        Each has a noise of its own, so that the bound on the probes does not grow by what is found on the others. The noisiest
        are so in float32: in 16 bits they are any two pictures, too few for a yardstick.
        """
        sets = (self.probe_sets.given, self.probe_sets.noisiest) if precision == "fp32" else (self.probe_sets.given,)
        probes = [made(size, ends.takes) for size in sizes for made in sets]
        return [self.reference.truth(some, ends, floating(precision, "noise of PyTorch")) for some in probes]

    def published_taps(self, takes: InputKind) -> Outputs:
        """Return every tap of the published graph in float64 on the probes of the model's size, the logits last.

        The logits are the truth that whole files are judged by, so they are remembered as such: asked for first, this is the
        only float64 run.
        """
        probes = self.probes(self.model.spec.image_size, takes)
        if probes not in self._published_taps:
            self._published_taps[probes] = self.taps_of(TappedNetwork(self.model.classifier, "original"), probes, takes, "fp64")
            ends = Ends(takes=takes, returns="logits", outputs=("logits",))
            self.reference.remember(probes, ends, "fp64", {"logits": self._published_taps[probes]["logits"]})
        return self._published_taps[probes]

    def taps_of(self, tapped: TappedNetwork, probes: Probes, takes: InputKind, arithmetic: Arithmetic) -> Outputs:
        """Run a tapped network in one arithmetic and return each tap: name -> float64 (probes, values)."""
        ends = Ends(takes=takes, returns="logits", outputs=("taps",))
        rows = Reference(tapped, self.model.spec.preprocess).outputs(probes, ends, arithmetic)["taps"]
        return split_taps(rows, tapped, probes.size)

    def build(
        self,
        plan: ExportPlan[Any],
        network: nn.Module | None = None,
        folder: Path | None = None,
        write: Callable[[Path], Artifact] | None = None,
    ) -> Artifact:
        """Write the file of a plan.

        Args:
            plan: what to build.
            network: in place of the model in the plan's graph and form.
            folder: where to; a fresh folder of the scratch space when None.
            write: in place of the exporter's own conversion.

        Raises:
            UsageError: the target refuses the plan.
            ExportError: the converter failed.
        """
        exporter = self.host.find_exporter(plan.target)
        exporter.refuse(plan)
        folder, plan = self.fresh_folder() if folder is None else folder, self.rounded.calibrated(plan)
        artifact = exporter.export(self.module(plan, network), plan, folder) if write is None else write(folder)
        if plan.scheme is not None:
            self.rounded.check_stored(exporter, artifact, plan, network)
        return artifact

    def check_pictures(self, plan: ExportPlan[Any]) -> None:
        """Refuse, before any work, photographs, calibration pictures and pictures to judge by that will not do.

        Raises:
            UsageError: none can be read, none were given where they are needed, or some are in both of the latter.
        """
        self.read_photographs()
        if plan.scheme is not None and plan.scheme.calibrated:
            self.rounded.source.check()
            if self._judge is not None:
                self._judge.check_apart(self.rounded.source.pictures)

    def decide(self, artifact: Artifact, plan: ExportPlan[Any]) -> Decisions | None:
        """Return how a quantised file decides beside its network; None where nothing is to judge it on, or nothing runs it.

        Raises:
            RunError: a runtime of this host could not load or run the file.
            UsageError: no picture can be decoded, or the network does not classify.
        """
        session_type = self.host.find_session(artifact.target)
        if plan.scheme is None or self._judge is None or session_type is None:
            return None
        return self._judge.decide(artifact, plan, session_type, promised_batches(artifact)[0])

    def judge(self, artifact: Artifact, truths: Sequence[Truth], bound: NoiseMultiple | None = None) -> ParityReport:
        """Run a file on this host's runtime and compare; where none can run it, judge what it was built from and say so.

        The bound is that of its target, unless another is given.

        Raises:
            RunError: a runtime of this host could not load or run the file.
        """
        session_type, precision = self.host.find_session(artifact.target), truths[0].precision
        bound = bound or self.host.find_exporter(artifact.target).bound(precision)
        if session_type is not None:
            with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
                return check_session(session, truths, bound, promised_batches(artifact))
        if artifact.built_from is None:
            return ParityReport(status="built, not run", runtime="none on this host", diffs=(), instead="nothing")
        source = self.host.find_exporter(artifact.built_from.target)
        judged = self.judge(artifact.built_from, truths, source.bound(precision) if source.has(precision) else bound)
        name = artifact.built_from.path.name
        if judged.status == "passed":
            instead = f"{name}, from which it was built, passed on {judged.runtime}"
            return ParityReport(status="built, not run", runtime="none on this host", diffs=judged.diffs, instead=instead)
        instead = f"{name}, from which it was built: {judged.status} on {judged.runtime}"
        return ParityReport(status=judged.status, runtime=judged.runtime, diffs=judged.diffs, instead=instead)

    def try_build(
        self,
        plan: ExportPlan[Any],
        network: nn.Module | None = None,
        write: Callable[[Path], Artifact] | None = None,
    ) -> Artifact | Refused:
        """Build as `build` does into a fresh folder; an error becomes the reason."""
        try:
            return self.build(plan, network, write=write)
        except DeployError as error:
            return Refused(reason=str(error))

    def attempt(
        self,
        plan: ExportPlan[Any],
        network: nn.Module | None = None,
        write: Callable[[Path], Artifact] | None = None,
        truths: Sequence[Truth] | None = None,
    ) -> Passed | Refused:
        """Build a file and judge it; an error, a file that does not run here or wrong numbers become the reason.

        Args:
            plan: as for `build`.
            network: as for `build`.
            write: as for `build`.
            truths: of another network than the model.
        """
        artifact = self.try_build(plan, network, write)
        if isinstance(artifact, Refused):
            return artifact
        try:
            report = self.judge(artifact, self.truths(plan) if truths is None else truths)
        except DeployError as error:
            return Refused(reason=str(error))
        return outcome(artifact, report, "noise" if plan.scheme is None else "the emulation's error")

    def fresh_folder(self) -> Path:
        """Return a new, empty folder of the scratch space."""
        self._built += 1
        folder = self.scratch / str(self._built)
        folder.mkdir(parents=True)
        return folder


@contextmanager
def open_workbench(
    model: LoadedModel,
    host: Host,
    step: Step = quiet,
    photographs: PictureFolder = NO_PICTURES,
    calibration: CalibrationChoice = NO_CALIBRATION,
    judge: JudgeChoice | None = None,
) -> Iterator[Workbench]:
    """Give a workbench whose scratch space is removed at the end, and with it the process that exports."""
    with scratch_folder() as scratch, closing(WORKERS):
        yield Workbench(model, host, scratch, step, photographs, calibration, judge)
