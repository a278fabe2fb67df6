"""What a quantised file takes beside: ranges, the rounded graph, its emulation as the yardstick, and what must stand in it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from edgevit_deploy.calibration.record import Calibration
from edgevit_deploy.calibration.source import CalibrationSource
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.losses import sqnr_by_operator
from edgevit_deploy.deploy.quantised import chosen, emulation, quantised, stored
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.integers import quantised_truths
from edgevit_deploy.parity.natural import VALUES, pictures_for
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.reference import Ends, Reference
from edgevit_deploy.workbench.judge import Judge

LOSS_PICTURES = 4


class Rounded:
    """The quantised side of one network.

    Args:
        source: of the ranges.
        reference: of the network.
        probe_sets: the probes of the network.
        graph_in: from a form to the deploy graph in it.
        step: tells what is done.
    """

    def __init__(
        self,
        source: CalibrationSource,
        reference: Reference,
        probe_sets: ProbeSets,
        graph_in: Callable[[Form], nn.Module],
        step: Callable[[str], None],
    ) -> None:
        self.source = source
        self._reference = reference
        self._probe_sets = probe_sets
        self._graph_in = graph_in
        self._step = step
        self._losses: dict[tuple[Form, Scheme], dict[str, float]] = {}

    def calibration(self, plan: ExportPlan[Any]) -> Calibration | None:
        """Return the calibration that a plan needs, made once for each form; None where it needs none.

        Raises:
            UsageError: there is nothing to take ranges from, they are another network's, or the scheme names an operator that the
                network does not have.
        """
        if plan.scheme is None or not plan.scheme.calibrated:
            return None
        graph = self._graph_in(plan.form)
        chosen(graph, plan.scheme)  # what is wrong with it is said before anything is observed
        return self.source.calibration(plan.form, graph, self._step)

    def calibrated(self, plan: ExportPlan[Any]) -> ExportPlan[Any]:
        """Return a plan with the ranges that its scheme needs.

        Raises:
            UsageError: as `calibration`.
        """
        if plan.ranges is not None:
            return plan
        found = self.calibration(plan)
        return plan if found is None else replace(plan, ranges=found.ranges)

    def graph(self, plan: ExportPlan[Any], network: nn.Module) -> nn.Module:
        """Return what an exporter is given in place of a network: rounded, unless the target's own tool is to round."""
        if plan.scheme is None or plan.scheme.written_by == "vendor":
            return network
        return quantised(network, plan.scheme, self.calibrated(plan).ranges)

    def emulation(self, plan: ExportPlan[Any], network: nn.Module | None = None) -> nn.Module:
        """Return the rounded graph as PyTorch runs it, or that of another network whose ranges the plan has."""
        assert plan.scheme is not None
        graph = self._graph_in(plan.form) if network is None else network
        return emulation(graph, plan.scheme, self.calibrated(plan).ranges)

    def truths(self, plan: ExportPlan[Any], ends: Ends, judge: Judge | None = None) -> list[Truth]:
        """Return what a quantised file is compared with: on drawn pictures, and on some to judge by if there are enough."""
        assert plan.scheme is not None
        values = min(math.prod(axis for axis in spec.shape[1:] if isinstance(axis, int)) for spec in plan.outputs)
        real = judge.probes(plan, pictures_for(values)) if judge else None
        probes = (self._probe_sets.natural(plan.image_size, plan.takes, values), *((real,) if real else ()))
        emulated, preprocess = self.emulation(plan), plan.spec.preprocess
        return quantised_truths(self._reference, emulated, probes, ends, plan.precision, preprocess, plan.scheme.rest)

    def losses(self, plan: ExportPlan[Any]) -> dict[str, float]:
        """Return, for each operator, the SQNR in dB of the outputs where it alone is rounded, on a few of the drawn pictures."""
        assert plan.scheme is not None
        if (plan.form, plan.scheme) not in self._losses:
            images = self._probe_sets.natural(plan.image_size, "tensor", VALUES).first(LOSS_PICTURES).inputs
            ranges, graph = self.calibrated(plan).ranges, self._graph_in(plan.form)
            self._losses[plan.form, plan.scheme] = sqnr_by_operator(graph, plan.scheme, ranges, images, now_and_then(self._step))
        return self._losses[plan.form, plan.scheme]

    def check_stored(
        self, exporter: Exporter[Any], artifact: Artifact, plan: ExportPlan[Any], network: nn.Module | None = None
    ) -> None:
        """Refuse a quantised file that states other scales, zero points or integers than its graph was rounded by.

        Args:
            exporter: reads it.
            artifact: the file.
            plan: by which it was made.
            network: as for `emulation`.

        Raises:
            ExportError: naming what differs.
        """
        if wrong := differences(exporter.stored(artifact), stored(self.emulation(plan, network))):
            raise ExportError(f"{artifact.path.name} does not round as it should: {'; '.join(wrong)}")
