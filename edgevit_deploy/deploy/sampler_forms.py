"""The sampler as a strided slice, or as a depthwise convolution of one weight; `chains.Sampler` is a pool over one element."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Attention, Sampler, chains, replace_all


class SlicedSampler(nn.Module):
    """x[:, :, ::r, ::r]."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sample_rate = sampler.sample_rate

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height / r, width / r)."""
        return x[:, :, :: self.sample_rate, :: self.sample_rate]


def sample_by_slice(graph: nn.Module) -> int:
    """Let every sampler be a strided slice; return how many.

    The maximum over one element is that element, and so is every r-th one.
    """
    return replace_all(graph, Sampler, SlicedSampler)


def sample_by_depthwise(graph: nn.Module) -> int:
    """Let every sampler be a depthwise 1x1 convolution with stride r and weight 1; return how many.

    1 x = x in every precision. The number of channels is the attention's, which stands in the same chain; elsewhere nothing
    says how many there are.
    """
    count = 0
    for chain in chains(graph):
        channels = {module.channels for module in chain.children() if isinstance(module, Attention)}
        for index, module in enumerate(chain.children()):
            if isinstance(module, Sampler) and len(channels) == 1:
                chain[index] = _depthwise(channels.copy().pop(), module.sample_rate)
                count += 1
    return count


def _depthwise(channels: int, sample_rate: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1, stride=sample_rate, groups=channels, bias=False, dtype=torch.float64)
    nn.init.ones_(convolution.weight)
    return convolution.requires_grad_(False)
