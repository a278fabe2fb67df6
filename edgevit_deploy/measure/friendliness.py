"""How friendly a network is to a runtime: what its converter and its partitioners make of every part, asked of them.

Nothing here is from documentation. Whole graphs and networks of one part (`part_networks`) are converted by the target's own
exporter; what is counted is what stands in the written files.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from edgevit_deploy.errors import DeployError, MissingError, UsageError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.align_names import profile_by_module
from edgevit_deploy.measure.baselines import PEER_SEED, plan_of_peer
from edgevit_deploy.measure.part_networks import part_networks
from edgevit_deploy.measure.profile import time_by_part
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.model.peers import Peer, make_peer
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import Graph, Placement, Size
from edgevit_deploy.workbench import Refused, Step, Workbench, feeds_of, open_workbench

GRAPHS: tuple[Graph, ...] = ("deploy", "original")

PROFILED_RUNS = 20

Outcome = Literal["native", "decomposed", "falls back", "rejected", "unknown"]

DEFINITIONS: dict[Outcome, str] = {
    "native": "the part adds no more operators to the file than to PyTorch's own graph (of torch.export; changes of layout and "
    "sums count in both)",
    "decomposed": "N ops/M: the part adds N operators to the file and M to PyTorch's own graph",
    "falls back": "leaves N: the partitioner leaves N operators of the part to other kernels",
    "rejected": "the converter refuses the part",
    "unknown": "the converter refuses even the network without the part, so nothing was learnt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole graph: operators of its file and what each partitioner takes of it; or why there is no file."""

    operators: dict[str, int] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    rejected: str = ""

    @property
    def operator_count(self) -> int:
        """How many operators the file has."""
        return sum(self.operators.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """What a part becomes: operators, and for each partitioner those that it leaves outside and the layers that it runs.

    Attributes:
        part: of the network.
        pytorch_added: how many operators it adds to PyTorch's own graph of what the converter is given.
        added: how many it adds to the file.
        operators: which those are, as far as the rest is written as without it: type -> count.
        outside: partitioner -> operators that it leaves to other kernels: type -> count.
        layers_added: partitioner -> how many layers the part adds to those that it runs, where it tells.
        rejected: why the converter refuses it, empty when it does not.
        unknown: why nothing was learnt, empty when something was.
    """

    part: str
    pytorch_added: int
    added: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    outside: dict[str, dict[str, int]] = field(default_factory=dict)
    layers_added: dict[str, int] = field(default_factory=dict)
    rejected: str = ""
    unknown: str = ""

    @property
    def verdict(self) -> Outcome:
        """What the converter makes of it, whatever partitioners then do."""
        if self.unknown or self.rejected:
            return "unknown" if self.unknown else "rejected"
        return "native" if self.added <= self.pytorch_added else "decomposed"

    def verdict_of(self, partitioner: str) -> Outcome:
        """What a partitioner makes of it; `native` when it takes all of it."""
        if self.verdict in ("unknown", "rejected"):
            return self.verdict
        return "falls back" if self.outside[partitioner] else "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Friendliness:
    """One target and its tools' versions: whole graphs by name, parts by graph, and by graph the parts' shares of the time."""

    target: str
    tools: dict[str, str]
    graphs: dict[str, Whole]
    parts: dict[Graph, tuple[PartResult, ...]]
    time_shares: dict[Graph, dict[str, float]]

    @property
    def partitioners(self) -> tuple[str, ...]:
        """Names of the partitioners that had something to say."""
        found = [name for whole in self.graphs.values() for name in whole.placements]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What several targets make of one network; `skipped` is target or peer -> why it was not examined."""

    found: tuple[Friendliness, ...]
    skipped: dict[str, str]
    peer_given: str


def examine_targets(
    host: ThisHost, model: LoadedModel, request: FileRequest, targets: Sequence[str], peer: str | None, step: Step
) -> Survey:
    """Examine one target after the other; one that does not work here is skipped.

    Args:
        host: finds exporters and runtimes.
        model: the network.
        request: what is asked of every file, at one image size.
        targets: names.
        peer: of `PEERS`; without timm every other result stands without it.
        step: told what is being done.

    Raises:
        MissingError: no target could be examined.
    """
    skipped: dict[str, str] = {}
    found: list[Friendliness] = []
    other = None
    if peer is not None:
        try:
            other = make_peer(peer, PEER_SEED)
        except MissingError as error:
            skipped[peer] = str(error)
    for target in targets:
        try:
            exporter = host.require_exporter(target)
            with open_workbench(model, host, partial(_named, step, target)) as workbench:
                found.append(Examiner(workbench, request.plan(exporter, model)).examine(other))
        except DeployError as error:
            skipped[target] = str(error)
    if not found:
        raise MissingError("no target could be examined: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
    return Survey(found=tuple(found), skipped=skipped, peer_given=other.given if other else "")


def _named(step: Step, target: str, text: str) -> None:
    step(f"{target}: {text}")


class Examiner:
    """Examines one target.

    Args:
        workbench: with the model.
        plan: a conversion in the target's form, at one batch and image size.
    """

    def __init__(self, workbench: Workbench, plan: ExportPlan[Any]) -> None:
        self._exporter = workbench.host.find_exporter(plan.target)
        # The plan says a graph that the target takes, whatever module it is given: whether it can is asked of the converter.
        self._plan = replace(plan, graph=self._exporter.graphs[0], labels=())
        self._workbench = workbench

    def examine(self, peer: Peer | None) -> Friendliness:
        """Convert whole graphs and every part of each graph.

        Args:
            peer: another network to convert beside them, in its own size; whole, since it has other parts.

        Raises:
            UsageError: the plan is not one for this target.
        """
        self._exporter.refuse(self._plan)
        graphs: dict[str, Whole] = {}
        shares: dict[Graph, dict[str, float]] = {}
        tools: dict[str, str] = {}
        for graph in GRAPHS:
            self._workbench.step(f"{graph} graph")
            graphs[graph], artifact = self._convert(self._workbench.network(graph, self._plan.form), self._plan)
            if artifact is not None:
                tools.update(artifact.tools)
                shares[graph] = self._time_shares(artifact, graph)
        if peer is not None:
            self._workbench.step(peer.name)
            graphs[peer.name], _ = self._convert(peer.network, plan_of_peer(self._plan))
        return Friendliness(
            target=self._exporter.target,
            tools=tools,
            graphs=graphs,
            parts={graph: tuple(self._parts(graph)) for graph in GRAPHS},
            time_shares={graph: share for graph, share in shares.items() if share},
        )

    def whole(self) -> tuple[Whole, dict[str, str]]:
        """Convert the deploy graph, whole; return what it became, and the versions of the tools that did it."""
        try:
            self._exporter.refuse(self._plan)
            found, artifact = self._convert(self._workbench.network("deploy", self._plan.form), self._plan)
        except UsageError as error:
            return Whole(rejected=" ".join(str(error).split())), {}
        return found, artifact.tools if artifact is not None else {}

    def _parts(self, graph: Graph) -> Iterator[PartResult]:
        rewritten = self._workbench.deploy_form(self._plan.form).network
        without: dict[str, Whole] = {}
        for network in part_networks(self._workbench.model.classifier, rewritten, graph):
            self._workbench.step(f"{graph} graph: {network.part}")
            end = type(network.without.get_submodule("end")).__name__
            if end not in without:  # what kinds of operators it has does not depend on its channels
                without[end], _ = self._convert(network.without, self._returning(network.outputs_without))
            whole, _ = self._convert(network.network, self._returning(network.outputs))
            added = self._count_operators(network.network) - self._count_operators(network.without)
            yield _difference(network.part, added, whole, without[end])

    def _returning(self, outputs: int) -> ExportPlan[Any]:
        (logits,) = self._plan.outputs
        return replace(self._plan, outputs=(replace(logits, shape=(logits.shape[0], outputs)),))

    def _count_operators(self, network: nn.Module) -> int:
        return count_operators(self._workbench.module(self._plan, network), self._plan.image_size)

    def _convert(self, network: nn.Module, plan: ExportPlan[Any]) -> tuple[Whole, Artifact | None]:
        artifact = self._workbench.try_build(plan, network)
        if isinstance(artifact, Refused):
            return Whole(rejected=" ".join(artifact.reason.split())), None
        try:
            placements = self._exporter.placements(artifact)
        except DeployError as error:
            return Whole(rejected=" ".join(str(error).split())), None
        return Whole(operators=artifact.operators, placements=placements), artifact

    def _time_shares(self, artifact: Artifact, graph: Graph) -> dict[str, float]:
        """Return the share of each part in the time of a run, by the runtime's own profiler; empty where it has none."""
        session_type = self._workbench.host.find_session(artifact.target)
        if session_type is None or not session_type.executes_target:
            return {}
        images = self._workbench.probes(self._plan.image_size, self._plan.takes).inputs[:1]
        try:
            with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1) as session:
                network = self._workbench.network(graph, self._plan.form)
                module = partial(self._workbench.module, self._plan, network)
                profile = profile_by_module(session, feeds_of(artifact, images, 1), PROFILED_RUNS, module)
        except DeployError as error:
            self._workbench.step(f"no time by part: {error}")
            return {}
        return {row.part: row.share for row in time_by_part(profile or (), macs={}, peak_gmacs=1.0)}


def _difference(part: str, pytorch_added: int, whole: Whole, without: Whole) -> PartResult:
    if without.rejected:
        return PartResult(part=part, pytorch_added=pytorch_added, unknown=without.rejected)
    if whole.rejected:
        return PartResult(part=part, pytorch_added=pytorch_added, rejected=whole.rejected)
    return PartResult(
        part=part,
        pytorch_added=pytorch_added,
        added=whole.operator_count - without.operator_count,
        operators=more(whole.operators, without.operators),
        outside={name: more(placed.outside, without.placements[name].outside) for name, placed in whole.placements.items()},
        layers_added={
            name: placed.layers - before
            for name, placed in whole.placements.items()
            if placed.layers is not None and (before := without.placements[name].layers) is not None
        },
    )


def more(counts: Mapping[str, int], fewer: Mapping[str, int]) -> dict[str, int]:
    """Return what the first has more than the second: type -> count."""
    return dict(sorted((Counter(counts) - Counter(fewer)).items()))


def count_operators(network: nn.Module, size: Size) -> int:
    """Count the operators of torch.export's graph of a network that takes (1, 3, *size)."""
    graph = torch.export.export(network, (torch.zeros(1, 3, *size),)).graph
    return sum(node.op == "call_function" for node in graph.nodes)
