"""Memory laid out channels-last from the first convolution on, for PyTorch's own runtimes; the values are the same."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import chains, refill, replace_all


class ToChannelsLast(nn.Module):
    """Copies the image into channels-last memory; convolutions keep that layout."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> the same shape, other strides."""
        return x.contiguous(memory_format=torch.channels_last)


class PermutedGelu(nn.Module):
    """GELU on a view that is contiguous when memory is channels-last."""

    def __init__(self, gelu: nn.GELU) -> None:
        super().__init__()
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.gelu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def to_channels_last(graph: nn.Module) -> int:
    """Enter in channels-last memory and permute around every GELU; return how many GELUs.

    An element-wise function does not care for the order. PyTorch 1.13 takes two to four times as long for a GELU of a tensor
    that is not contiguous.
    """
    first = next(chains(graph))
    refill(first, {"enter": ToChannelsLast(), **dict(first.named_children())})
    return replace_all(graph, nn.GELU, PermutedGelu)
