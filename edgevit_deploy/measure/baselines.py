"""What a bundle is timed against: naive exports of the same checkpoint, and the paper's peers; each judged before it is timed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgevit_deploy.errors import DeployError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.peers import PEER_CLASSES, PEER_SIZE, PEERS, ChannelsLast, Peer, make_peer
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.pipeline import SessionFinder, Step, Workbench, check_artifact, promised_batches

PEER_SEED = 0
PEER_PROBES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A file to time against: its name, what it got beyond a plain conversion, and its error over PyTorch's own noise."""

    label: str
    given: str
    artifact: Artifact
    noise_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A rival that there is not: it could not be converted, or computes other numbers."""

    label: str
    reason: str


class RivalMaker:
    """Converts and judges rivals of one target's files.

    Args:
        exporter: of the target.
        plan: the conversion that made the bundle.
        find_session: finds the runtime of a target on this host.
        folder: scratch space for the files.
        step: told what is being done.
    """

    def __init__(
        self, exporter: Exporter[Any], plan: ExportPlan[Any], find_session: SessionFinder, folder: Path, step: Step
    ) -> None:
        self._exporter, self._plan, self._find_session, self._step = exporter, plan, find_session, step
        self._folder = folder
        self._made = 0

    def naive_exports(self, bench: Workbench) -> list[Rival | Rejected]:
        """Return every naive export of the same weights in the same precision, batch and size."""
        plan = replace(self._plan, dynamic_batch=False, dynamic_size=False)
        output_form = self._exporter.output_form(plan.options)
        truths = bench.truths_of(plan, output_form)
        module = prepare(bench.model.network, bench.model.spec.preprocess, plan.input_form, output_form, torch.float32)
        return [self._judge(name, "nothing", write, truths) for name, write in self._exporter.naive(module, plan).items()]

    def peers(self, names: Sequence[str] = tuple(PEERS)) -> list[Rival | Rejected]:
        """Return peers converted by the target's exporter; in PyTorch's runtimes each in both memory layouts."""
        return [rival for name in names for rival in self._peer(make_peer(name, PEER_SEED))]

    def _peer(self, peer: Peer) -> list[Rival | Rejected]:
        layouts = {peer.name: peer.network}
        if self._exporter.strided:
            layouts[f"{peer.name}, channels-last"] = ChannelsLast(peer.network)
        return [self._judge_peer(label, network, peer.given) for label, network in layouts.items()]

    def _judge_peer(self, label: str, network: torch.nn.Module, given: str) -> Rival | Rejected:
        spec = replace(self._plan.spec, num_classes=PEER_CLASSES, image_size=PEER_SIZE)
        plan = replace(
            self._plan,
            spec=spec,
            graph=self._exporter.graphs[0],  # one that the target takes; a peer has no other
            image_size=PEER_SIZE,
            dynamic_batch=False,
            dynamic_size=False,
            input_form="tensor",
            labels=(),
            options=self._exporter.options_type(),
        )
        module = prepare(network, spec.preprocess, "tensor", "logits", torch.float32)
        truth = _truth_of_peer(network, plan)
        return self._judge(label, given, lambda folder: self._exporter.export(module, plan, folder), [truth])

    def _judge(self, label: str, given: str, write: Callable[[Path], Artifact], truths: Sequence[Truth]) -> Rival | Rejected:
        self._step(f"converting {label}")
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir(parents=True)
        try:
            artifact = write(folder)
            report = check_artifact(artifact, truths, promised_batches(artifact), self._find_session)
        except DeployError as error:
            return Rejected(label=label, reason=str(error))
        worst = report.worst
        if report.status != "passed" or worst is None:
            figures = f", error {worst.noise_ratio:.2g} x noise" if worst else ""
            return Rejected(label=label, reason=f"parity {report.status}{figures}")
        return Rival(label=label, given=given, artifact=artifact, noise_ratio=worst.noise_ratio)


def _truth_of_peer(network: torch.nn.Module, plan: ExportPlan[Any]) -> Truth:
    """Return a peer's own float64 outputs on noise and its noise in the plan's precision."""
    images = torch.randn(PEER_PROBES, 3, *PEER_SIZE, generator=torch.Generator().manual_seed(PEER_SEED)).numpy()
    probes = Probes(names=tuple(f"noise {number}" for number in range(PEER_PROBES)), inputs=images)
    return Reference(network, plan.spec.preprocess).truth(probes, "tensor", "logits", plan.precision)
