"""One target's conversions of the small network: plans, files made for one test, and files that all tests share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

import tests.helpers.small
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.model.ends import prepare
from tests.helpers.shared import shared_artifact
from tests.helpers.small import plan_for, small_network

OptionsT = TypeVar("OptionsT")

SEED = 4
NETWORK = small_network(seed=SEED)


def images(batch: int = 1, height: int = 64, width: int = 64) -> np.ndarray:
    """Seeded noise, float32 (batch, 3, height, width)."""
    return np.random.default_rng(5).standard_normal((batch, 3, height, width)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTarget(Generic[OptionsT]):
    """What tests ask of one target.

    Attributes:
        exporter: of the target.
        defaults: fields of every plan unless a test says otherwise.
    """

    exporter: Exporter[OptionsT]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def plan_of(self, *, options: OptionsT | None = None, **changes: Any) -> ExportPlan[OptionsT]:
        """A plan in fp32 of the small network, but for the changes."""
        return plan_for(NETWORK.spec, options or self.exporter.options_type(), **{**self.defaults, **changes})

    def module_for(self, plan: ExportPlan[OptionsT] | None = None) -> nn.Module:
        """The network in float32, in the graph and form of a plan, ready to be converted."""
        plan = plan or self.plan_of()
        network = to_deploy_form(NETWORK, plan.form).network if plan.graph == "deploy" else NETWORK
        returns = self.exporter.returns(plan.options)
        return prepare(network, NETWORK.spec.preprocess, plan.takes, returns, torch.float32)

    def build(self, plan: ExportPlan[OptionsT], folder: Path, module: nn.Module | None = None) -> Artifact:
        """Convert for one test, the small network or another module; what the target refuses is refused."""
        self.exporter.refuse(plan)
        return self.exporter.export(module or self.module_for(plan), plan, folder)

    def shared(self, **changes: Any) -> Artifact:
        """The file of a plan, converted once for all tests: for reading only."""
        plan = self.plan_of(**changes)
        return shared_artifact(self.exporter, plan, f"small network, seed {SEED}", lambda: self.module_for(plan))

    def truth_and_noise(self, plan: ExportPlan[OptionsT], inputs: np.ndarray) -> tuple[np.ndarray, float]:
        """Float64 outputs, and the largest error of PyTorch's own float32 run."""
        returns = self.exporter.returns(plan.options)
        return tests.helpers.small.truth_and_noise(NETWORK, inputs, plan.takes, returns)


def left_in(folder: Path) -> list[str]:
    """What a conversion has left in a folder, but for its scratch files, which go with the folder of a failed run."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".scratch-")]
