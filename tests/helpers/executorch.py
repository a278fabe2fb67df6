"""Small ExecuTorch programs for tests: the small network, which takes seconds to lower, and one convolution, which does not."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgevit_deploy.deploy.form import form_for
from edgevit_deploy.spec import TensorSpec
from export.executorch import ExecuTorchExporter, ExecuTorchOptions, lower
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[ExecuTorchOptions] = SmallTarget(
    exporter=ExecuTorchExporter(), defaults={"graph": "deploy", "form": form_for("executorch")}
)


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
