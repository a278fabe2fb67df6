"""Parity by layer: the graph of a bundle, written once more with taps, run on the target's runtime, each tap against float64."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.parity.gate import OutputDiff, Truth, compare, run_in_batches
from edgevit_deploy.parity.taps import Tap, TappedNetwork
from edgevit_deploy.spec import PROGRAM, floating
from edgevit_deploy.workbench import Workbench, promised_batches, split_taps


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiff:
    """One tap's comparison; `scale` is the largest true value there."""

    tap: Tap
    scale: float
    diff: OutputDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """Every tap in the order of computation, as the runtime computed it.

    `substitute` says what was executed in place of what the file asks for, as `session.Session` has it.
    """

    runtime: str
    layers: tuple[LayerDiff, ...]
    substitute: str = ""

    @property
    def first_failed(self) -> LayerDiff | None:
        """The first tap out of tolerance: what was computed since the tap before is at fault."""
        return next((layer for layer in self.layers if not layer.diff.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every tap is within its tolerance."""
        return self.first_failed is None


def check_layers(workbench: Workbench, plan: ExportPlan[Any]) -> LayerReport:
    """Convert the tapped graph as planned, run it on this host, and compare every tap with float64.

    A tap that the published graph shares is compared with that graph, so a wrong rewrite shows too; any other with the float64
    run of the exported graph itself. Each bound is the target's multiple of PyTorch's own noise at that tap.

    Args:
        workbench: with the model.
        plan: the conversion to look into, at one image size.

    Raises:
        UsageError: a file that returns anything but logits.
        MissingError: no runtime of this host runs the target's files.
        ExportError: the converter cannot convert the tapped graph.
        RunError: the runtime cannot load or run it.
    """
    host, step = workbench.host, workbench.step
    session_type = host.find_session(plan.target)
    if session_type is None:
        raise MissingError(f"nothing here runs {plan.target} files, so layers cannot be checked; see `{PROGRAM} doctor`")
    if plan.returns != "logits":
        raise UsageError(
            "taps need a file that returns logits; convert with --task classify and without --classifier, and check that "
            "bundle's layers"
        )
    network = TappedNetwork(workbench.network(plan.graph, plan.form), plan.graph)
    taps = network.taps(plan.image_size)
    step(f"converting with {len(taps)} taps")
    artifact = workbench.build(_returning(plan, sum(tap.values for tap in taps)), network)
    step("computing the float64 truth of every tap")
    truth = _truth(workbench, plan, network, taps)
    step(f"running on {session_type.name}")
    batch, bound = promised_batches(artifact)[0], host.find_exporter(plan.target).precisions[plan.precision]
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        (rows,) = run_in_batches(session, truth.probes.inputs, batch).values()
        substitute = session.substitute
    outputs = split_taps(rows, network, plan.image_size)
    layers = [
        LayerDiff(
            tap=tap,
            scale=float(np.abs(truth.outputs[tap.name]).max()),
            diff=compare(tap.name, outputs[tap.name], truth, bound, batch),
        )
        for tap in taps
    ]
    return LayerReport(runtime=session_type.name, layers=tuple(layers), substitute=substitute)


def _returning(plan: ExportPlan[Any], values: int) -> ExportPlan[Any]:
    """Return the plan of a network that gives one row of so many values, under the name of the logits."""
    (logits,) = plan.outputs
    return replace(plan, outputs=(replace(logits, shape=(logits.shape[0], values)),), labels=())


def _truth(workbench: Workbench, plan: ExportPlan[Any], network: TappedNetwork, taps: tuple[Tap, ...]) -> Truth:
    """Return the truth and the noise of each tap; the published graph's truth where it has the same tap."""
    probes = workbench.probes(plan.image_size, plan.takes)
    published = workbench.published_taps(plan.takes)
    exact = published if plan.graph == "original" else workbench.taps_of(network, probes, plan.takes, "fp64")
    own = workbench.taps_of(network, probes, plan.takes, floating(plan.precision, "--layers"))
    return Truth(
        probes=probes,
        outputs={tap.name: (published if tap.shared else exact)[tap.name] for tap in taps},
        noise={tap.name: float(np.abs(own[tap.name] - exact[tap.name]).max()) for tap in taps},
        precision=plan.precision,
        task="features",  # a tap has no classes
    )
