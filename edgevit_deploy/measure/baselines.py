"""What a bundle is timed against: naive exports of the same checkpoint, and the paper's peers; each judged before it is timed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.peers import PEER_CLASSES, PEER_SIZE, PEERS, ChannelsLast, Peer, make_peer
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import floating, output_specs
from edgevit_deploy.workbench import Passed, Refused, Workbench, ends_of

PEER_SEED = 0
PEER_PROBES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A file to time against: its name, what it got beyond a plain conversion, and its error over PyTorch's own noise."""

    label: str
    given: str
    artifact: Artifact
    noise_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A baseline that there is not: it could not be converted, or computes other numbers."""

    label: str
    reason: str


def naive_exports(workbench: Workbench, plan: ExportPlan[Any]) -> list[Baseline | Rejected]:
    """Return every naive export of the same weights in the same precision, batch and size.

    Args:
        workbench: with the bundle's model.
        plan: the conversion that made the bundle, at one batch and size.
    """
    exporter = workbench.host.find_exporter(plan.target)
    ways = exporter.naive(workbench.module(plan, workbench.model.network), plan)
    results = []
    for label, write in ways.items():
        workbench.step(f"converting {label}")
        results.append(_named(label, "nothing", workbench.attempt(plan, write=write)))
    return results


def peers(workbench: Workbench, plan: ExportPlan[Any], names: Sequence[str] = tuple(PEERS)) -> list[Baseline | Rejected]:
    """Return the paper's networks converted by the target's exporter; in PyTorch's runtimes each in both memory layouts.

    Args:
        workbench: whose host converts.
        plan: of the target, in the precision and batch that the peers get too.
        names: of `PEERS`.
    """
    return [baseline for name in names for baseline in _peer(workbench, plan_of_peer(plan), make_peer(name, PEER_SEED))]


def plan_of_peer(plan: ExportPlan[Any]) -> ExportPlan[Any]:
    """Return a plan for a network with the peers' classes and image size, of which the file returns logits."""
    spec = replace(plan.spec, num_classes=PEER_CLASSES, image_size=PEER_SIZE)
    return replace(
        plan,
        spec=spec,
        image_size=PEER_SIZE,
        takes="tensor",
        returns="logits",
        outputs=output_specs(spec, "logits", batch=plan.batch_axis(), size=PEER_SIZE),
        labels=(),
    )


def _peer(workbench: Workbench, plan: ExportPlan[Any], peer: Peer) -> list[Baseline | Rejected]:
    exporter = workbench.host.find_exporter(plan.target)
    plan = replace(plan, graph=exporter.graphs[0], options=exporter.options_type())  # a graph that it takes; a peer has no other
    layouts: dict[str, nn.Module] = {peer.name: peer.network}
    if exporter.strided:
        layouts[f"{peer.name}, channels-last"] = ChannelsLast(peer.network)
    results = []
    for label, network in layouts.items():
        workbench.step(f"converting {label}")
        result = workbench.attempt(plan, network, truths=[_truth_of_peer(network, plan)])
        results.append(_named(label, peer.given, result))
    return results


def _named(label: str, given: str, result: Passed | Refused) -> Baseline | Rejected:
    if isinstance(result, Refused):
        return Rejected(label=label, reason=result.reason)
    return Baseline(label=label, given=given, artifact=result.artifact, noise_ratio=result.noise_ratio)


def _truth_of_peer(network: nn.Module, plan: ExportPlan[Any]) -> Truth:
    """Return a peer's own float64 outputs on noise and its noise in the plan's precision."""
    images = torch.randn(PEER_PROBES, 3, *PEER_SIZE, generator=torch.Generator().manual_seed(PEER_SEED)).numpy()
    probes = Probes(names=tuple(f"noise {number}" for number in range(PEER_PROBES)), inputs=images)
    return Reference(network, plan.spec.preprocess).truth(probes, ends_of(plan), floating(plan.precision, "--against peers"))
