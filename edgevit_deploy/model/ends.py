"""The module that is exported and, in float64, the truth it is compared with: the network between its two ends."""

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.spec import INPUTS, InputKind, OutputKind, Preprocess


class PreparedModel(nn.Module):
    """A network with normalisation in front when it takes pixels, and softmax behind when it returns probabilities.

    Args:
        network: the published graph or, as one chain, the deploy graph.
        preprocess: whose normalisation it is.
        takes: what of pixels is taken puts the normalisation in front; bytes become floats there first.
        returns: `features` gives the four stages' maps in place of the head's logits; a network for dense prediction has what
            its own task returns.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocess: Preprocess, takes: InputKind, returns: OutputKind) -> None:
        super().__init__()
        self.network = StageFeatures(network) if returns == "features" else network
        self.takes_pixels = INPUTS[takes].pixels
        self.returns_probabilities = returns == "probabilities"
        low, high = preprocess.value_range
        # Folded to units of 0..255: (x / 255 * (high - low) + low - mean) / std == (x - mean255) / std255.
        factor = 255.0 / (high - low)
        mean = [(m - low) * factor for m in preprocess.mean]
        std = [s * factor for s in preprocess.std]
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(batch, 3, height, width), normalised or 0 to 255 -> what `spec.output_specs` says, one tensor or a tuple."""
        if self.takes_pixels:
            pixels = x if x.is_floating_point() else x.to(self.mean.dtype)
            x = (pixels - self.mean) / self.std
        y: Tensor | tuple[Tensor, ...] = self.network(x)
        return y.softmax(dim=-1) if self.returns_probabilities and isinstance(y, Tensor) else y


class Pyramid(nn.Module, ABC):
    """A network of another kind that gives four feature maps."""

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(batch, 3, height, width) -> four times (batch, channels, height / stride, width / stride)."""


class StageFeatures(nn.Module):
    """The feature maps that the four stages of a network end with (strides 4, 8, 16 and 32), as a dense backbone gives them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(batch, 3, height, width) -> four times (batch, channels, height / stride, width / stride)."""
        if isinstance(self.network, EdgeViT | Pyramid):
            return self.network.features(x)
        maps = []
        for name, module in self.network.named_children():
            if name == "norm":
                break  # behind the last stage there is only the head
            x = module(x)
            if name.startswith("blocks"):
                maps.append(x)
        return tuple(maps)


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a prepared module's outputs in their order, one or several."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def prepare(
    network: nn.Module, preprocess: Preprocess, takes: InputKind, returns: OutputKind, dtype: torch.dtype
) -> PreparedModel:
    """Return a frozen copy of the network between its ends, in `dtype`, in evaluation mode."""
    prepared = PreparedModel(copy.deepcopy(network), preprocess, takes, returns)
    return prepared.to(dtype).eval().requires_grad_(False)
