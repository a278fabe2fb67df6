"""Small ExecuTorch programs for tests: the small network, which takes seconds to lower, and one convolution, which does not."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.spec import Graph, TensorSpec
from export.executorch import ExecuTorchExporter, ExecuTorchOptions, lower
from tests.helpers.small import plan_for, small_network

NETWORK = small_network(seed=4)


def plan_of(**changes: Any) -> ExportPlan[ExecuTorchOptions]:
    return plan_for(NETWORK.spec, ExecuTorchOptions(), **{"graph": "deploy", "form": ExecuTorchExporter.form, **changes})


def module_for(graph: Graph = "deploy") -> nn.Module:
    """The network in float32, ready to be converted."""
    network = to_deploy_form(NETWORK, ExecuTorchExporter.form).network if graph == "deploy" else NETWORK
    return prepare(network, NETWORK.spec.preprocess, "tensor", "logits", torch.float32)


def build(plan: ExportPlan[ExecuTorchOptions], folder: Path, module: nn.Module | None = None) -> Artifact:
    return ExecuTorchExporter().export(module or module_for(plan.graph), plan, folder)


def images() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((1, 3, 64, 64)).astype(np.float32)


class OneConvolution(nn.Module):
    """A 1x1 convolution of 3 channels into 2, and a LayerNorm over columns, which XNNPACK does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(6).reshape(2, 3, 1, 1))
            self.conv.bias.copy_(torch.tensor([6.0, 7.0]))
        self.norm = nn.LayerNorm(4)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


INPUTS = (TensorSpec(name="x", shape=(1, 3, 4, 4), dtype="float32"),)
OUTPUTS = (TensorSpec(name="y", shape=(1, 2, 4, 4), dtype="float32"),)


def one_convolution(x: np.ndarray) -> np.ndarray:
    """What `OneConvolution` computes, in float64."""
    weight, bias = np.arange(6, dtype=np.float64).reshape(2, 3), np.array([6.0, 7.0])
    y = np.einsum("oc,bchw->bohw", weight, x) + bias[None, :, None, None]
    return (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)


def write_one_convolution(folder: Path) -> Path:
    path = folder / "model.pte"
    path.write_bytes(lower(OneConvolution(), (1, 3, 4, 4)).content)
    return path
