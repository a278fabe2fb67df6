"""The module that is exported and, in float64, the truth it is compared with: the network between its input and output forms."""

import copy

import torch
from torch import Tensor, nn

from edgevit_deploy.spec import InputForm, OutputForm, Preprocess


class PreparedModel(nn.Module):
    """A network with normalisation in front when it takes images, and softmax behind when it returns probabilities."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocess: Preprocess, input_form: InputForm, output_form: OutputForm) -> None:
        super().__init__()
        self.network = network
        self.takes_images = input_form == "image"
        self.returns_probabilities = output_form == "probabilities"
        low, high = preprocess.value_range
        # Folded to units of 0..255: (x / 255 * (high - low) + low - mean) / std == (x - mean255) / std255.
        factor = 255.0 / (high - low)
        mean = [(m - low) * factor for m in preprocess.mean]
        std = [s * factor for s in preprocess.std]
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width), normalised or 0 to 255 -> (batch, num_classes), logits or probabilities."""
        if self.takes_images:
            x = (x - self.mean) / self.std
        x = self.network(x)
        return x.softmax(dim=-1) if self.returns_probabilities else x


def prepare(
    network: nn.Module, preprocess: Preprocess, input_form: InputForm, output_form: OutputForm, dtype: torch.dtype
) -> PreparedModel:
    """Return a frozen copy of the network in its input and output forms, in `dtype`, in evaluation mode."""
    prepared = PreparedModel(copy.deepcopy(network), preprocess, input_form, output_form)
    return prepared.to(dtype).eval().requires_grad_(False)
