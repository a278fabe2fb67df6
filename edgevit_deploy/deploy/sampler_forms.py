"""The sampler as a strided slice, or as a depthwise convolution of one weight; `chains.Sampler` is a pool over one element."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Attention, Sampler, chains, replace_all


class SlicedSampler(nn.Module):
    """x[:, :, o::r, o::r] with the sampler's offset o."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sample_rate, self.offset = sampler.sample_rate, sampler.offset

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height / r, width / r)."""
        return x[:, :, self.offset :: self.sample_rate, self.offset :: self.sample_rate]


def sample_by_slice(graph: nn.Module) -> int:
    """Let every sampler be a strided slice; return how many.

    The maximum over one element is that element, and so is every r-th one.
    """
    return replace_all(graph, Sampler, SlicedSampler)


def sample_by_depthwise(graph: nn.Module) -> int:
    """Let every sampler be a depthwise 1x1 convolution with stride r and weight 1; return how many.

    1 x = x in every precision. For a position that is not the first of its window, the kernel reaches as far as that one, and
    has zeros before it: 0 x = 0 and x + 0 = x. The number of channels is the attention's, which stands in the same chain;
    elsewhere nothing says how many there are.
    """
    count = 0
    for chain in chains(graph):
        channels = {module.channels for module in chain.children() if isinstance(module, Attention)}
        for index, module in enumerate(chain.children()):
            if isinstance(module, Sampler) and len(channels) == 1:
                chain[index] = _depthwise(channels.copy().pop(), module)
                count += 1
    return count


def _depthwise(channels: int, sampler: Sampler) -> nn.Conv2d:
    kernel, stride = sampler.offset + 1, sampler.sample_rate
    convolution = nn.Conv2d(channels, channels, kernel, stride=stride, groups=channels, bias=False, dtype=torch.float64)
    nn.init.zeros_(convolution.weight)
    nn.init.ones_(convolution.weight[:, :, -1, -1])
    return convolution.requires_grad_(False)
