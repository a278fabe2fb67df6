"""Small lite-interpreter files for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import tests.helpers.small
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.ends import PreparedModel
from export.torchscript import TorchScriptExporter, TorchScriptOptions
from tests.helpers.small import plan_for, small_network

NETWORK = small_network(seed=3)


def plan_of(*, options: TorchScriptOptions | None = None, **changes: Any) -> ExportPlan[TorchScriptOptions]:
    return plan_for(NETWORK.spec, options or TorchScriptOptions(), **changes)


def prepared() -> PreparedModel:
    return tests.helpers.small.prepared(NETWORK, torch.float32)


def build(plan: ExportPlan[TorchScriptOptions], folder: Path, module: torch.nn.Module | None = None) -> Artifact:
    return TorchScriptExporter().export(module or prepared(), plan, folder)


def images(batch: int = 1, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((batch, 3, height, width)).astype(np.float32)


def truth_and_noise(inputs: np.ndarray) -> tuple[np.ndarray, float]:
    """Float64 outputs, and the largest error of PyTorch's own float32 run."""
    return tests.helpers.small.truth_and_noise(NETWORK, inputs)
