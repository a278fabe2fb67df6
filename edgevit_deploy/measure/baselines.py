"""What a bundle is timed against, each judged before it is timed.

That is naive exports of the same checkpoint, its own file in float32, and the paper's peers, in the bundle's precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.calibration.source import open_calibration
from edgevit_deploy.deploy.observe import observe, operators_of
from edgevit_deploy.deploy.quantised import emulation
from edgevit_deploy.errors import DeployError, UsageError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.peers import (
    PEER_CLASSES,
    PEER_SIZE,
    Backbone,
    ChannelsLast,
    Peer,
    fold_for_rounding,
    make_backbone,
    make_peer,
)
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.integers import quantised_truths
from edgevit_deploy.parity.natural import natural_probes, pictures_for
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import floating, output_specs
from edgevit_deploy.workbench import Passed, Refused, Step, Workbench, ends_of

PEER_SEED = 0
PEER_PROBES = 2

FIRST_PART, LAST_PART = "patch_embed1", "head"
"""Where EdgeViT's first and last operators are; every network has such."""

SINGLE = "fp32"
"""What the bundle's own network in float32 is called."""


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


def in_float32(workbench: Workbench, plan: ExportPlan[Any]) -> list[Baseline | Rejected]:
    """Return the one file of the bundle's network that its target writes in float32, judged as any conversion is.

    Args:
        workbench: with the bundle's model.
        plan: of that file.
    """
    workbench.step(f"converting {plan.target} {plan.precision}")
    return [_named(SINGLE, f"{plan.graph} graph", workbench.attempt(plan))]


def peers(workbench: Workbench, plan: ExportPlan[Any], names: Sequence[str]) -> list[Baseline | Rejected]:
    """Return the paper's networks converted by the target's exporter; in PyTorch's runtimes each in both memory layouts.

    Args:
        workbench: whose host converts.
        plan: of the target, in the precision and batch that the peers get too; what it rounds of its network it rounds of theirs.
        names: of `PEERS`.
    """
    return [baseline for name in names for baseline in _named_peer(workbench, plan, name)]


def _named_peer(workbench: Workbench, plan: ExportPlan[Any], name: str) -> list[Baseline | Rejected]:
    if plan.returns != "features":
        return _peer(workbench, plan_of_peer(plan), make_peer(name, PEER_SEED))
    try:
        peer = make_backbone(name, PEER_SEED, plan.image_size)
    except UsageError as error:
        return [Rejected(label=name, reason=str(error))]
    return _peer(workbench, plan_of_backbone(plan, peer), peer)


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


def plan_of_backbone(plan: ExportPlan[Any], peer: Peer) -> ExportPlan[Any]:
    """Return a plan for a peer's feature maps, at the image size of EdgeViT's."""
    first, second, third, fourth = peer.channels
    spec = replace(plan.spec, channels=(first, second, third, fourth))
    maps = output_specs(spec, "features", batch=plan.batch_axis(), size=plan.image_size)
    return replace(plan, spec=spec, takes="tensor", outputs=maps)


def _peer(workbench: Workbench, plan: ExportPlan[Any], peer: Peer) -> list[Baseline | Rejected]:
    exporter = workbench.host.find_exporter(plan.target)
    plan = replace(plan, graph=exporter.graphs[0], options=exporter.options_type())  # a graph that it takes; a peer has no other
    layouts: dict[str, nn.Module] = {peer.name: peer.network}
    if exporter.strided:
        layouts[f"{peer.name}, channels-last"] = ChannelsLast(peer.network)
    if plan.returns == "features":
        layouts = {label: Backbone(network) for label, network in layouts.items()}
    results = []
    for label, network in layouts.items():
        workbench.step(f"converting {label}")
        if plan.scheme is None:
            result = workbench.attempt(plan, network, truths=[_truth_of_peer(network, plan)])
            results.append(_named(label, peer.given, result))
        else:
            results.append(_rounded(label, replace(peer, network=network), workbench, plan))
    return results


def _rounded(label: str, peer: Peer, workbench: Workbench, plan: ExportPlan[Any]) -> Baseline | Rejected:
    """Round a peer as the bundle's network is, by ranges of drawn pictures, and judge it by its own emulation."""
    try:
        peer = fold_for_rounding(peer)
        plan, but = _floating_ends(plan, peer.network)
        plan = _with_ranges(plan, peer.network, workbench.step)
        result = workbench.attempt(plan, peer.network, truths=_rounded_truths_of_peer(peer.network, plan))
    except DeployError as error:
        return Rejected(label=label, reason=str(error))
    return _named(label, f"{peer.given}; rounded as the bundle is{but}", result)


def _floating_ends(plan: ExportPlan[Any], network: nn.Module) -> tuple[ExportPlan[Any], str]:
    """Leave a peer's own first and last operator in floating point where the bundle's are, and say what is otherwise.

    Other names that a scheme leaves are of parts that only EdgeViT has.
    """
    if plan.scheme is None or not plan.scheme.floating:
        return plan, ""
    operators = [path for path, _ in operators_of(network)]
    ends = {FIRST_PART: operators[0], LAST_PART: operators[-1]}
    ours = [name for name in plan.scheme.floating if name.partition(".")[0] not in ends]
    theirs = tuple(sorted({ends[part] for name in plan.scheme.floating if (part := name.partition(".")[0]) in ends}))
    left = f" ({' and '.join(theirs)} in floating point)" if theirs else ""
    dropped = f"; it has no {' and no '.join(ours)}, which the bundle leaves in floating point" if ours else ""
    return replace(plan, scheme=replace(plan.scheme, floating=theirs)), left + dropped


def _with_ranges(plan: ExportPlan[Any], network: nn.Module, step: Step) -> ExportPlan[Any]:
    if plan.scheme is None or not plan.scheme.calibrated:
        return plan
    drawn = CalibrationChoice(pictures=SYNTHETIC)
    pictures = open_calibration(drawn, plan.spec.preprocess, plan.image_size, PEER_SEED)
    return replace(plan, ranges=observe(network, partial(pictures.batches, step)))


def _named(label: str, given: str, result: Passed | Refused) -> Baseline | Rejected:
    if isinstance(result, Refused):
        return Rejected(label=label, reason=result.reason)
    return Baseline(label=label, given=given, artifact=result.artifact, noise_ratio=result.noise_ratio)


def _truth_of_peer(network: nn.Module, plan: ExportPlan[Any]) -> Truth:
    """Return a peer's own float64 outputs on noise and its noise in the plan's precision."""
    images = torch.randn(PEER_PROBES, 3, *plan.image_size, generator=torch.Generator().manual_seed(PEER_SEED)).numpy()
    probes = Probes(names=tuple(f"noise {number}" for number in range(PEER_PROBES)), inputs=images)
    return Reference(network, plan.spec.preprocess).truth(probes, ends_of(plan), floating(plan.precision, "noise of PyTorch"))


def _rounded_truths_of_peer(network: nn.Module, plan: ExportPlan[Any]) -> list[Truth]:
    """Return a peer's own float64 outputs on drawn pictures, and the error of its own rounded graph in PyTorch."""
    assert plan.scheme is not None
    preprocess = plan.spec.preprocess
    probes = natural_probes(plan.image_size, preprocess, plan.takes, PEER_SEED, pictures_for(PEER_CLASSES))
    reference, emulated = Reference(network, preprocess), emulation(network, plan.scheme, plan.ranges)
    return quantised_truths(reference, emulated, [probes], ends_of(plan), plan.precision, preprocess, plan.scheme.rest)
