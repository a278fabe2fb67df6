"""LayerNorm over channels in pieces, for runtimes whose own operator wants channels last; `chains.ChannelNorm` is that one."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import ChannelNorm, Spread, chains, replace_all


class MeanNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) with the means over axis 1; the affine, where there is one, is (1, channels, 1, 1)."""

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        self.eps, self.centred = norm.norm.eps, norm.centred
        self.weight, self.bias = (
            None if values is None else nn.Parameter(values[None, :, None, None], requires_grad=False)
            for values in (norm.norm.weight, norm.norm.bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        x = x if self.centred else x - self.mean(x)
        x = x * torch.rsqrt(self.shifted_mean(x * x))
        return x if self.weight is None or self.bias is None else x * self.weight + self.bias

    def mean(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, 1, height, width)."""
        return x.mean(dim=1, keepdim=True)

    def shifted_mean(self, x: Tensor) -> Tensor:
        """Return the mean plus eps: (batch, channels, height, width) -> (batch, 1, height, width)."""
        return self.mean(x) + self.eps


class LastAxisNorm(nn.Module):
    """The same with channels last, means over the last axis and an affine of (channels)."""

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.norm.eps, norm.norm.weight, norm.norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        x = x.permute(0, 2, 3, 1)
        x = x - x.mean(dim=-1, keepdim=True)
        x = x * torch.rsqrt((x * x).mean(dim=-1, keepdim=True) + self.eps)
        x = x if self.weight is None else x * self.weight + self.bias
        return x.permute(0, 3, 1, 2)


class ConvolvedNorm(MeanNorm):
    """The same with each mean as a 1x1 convolution to one channel, whose bias is eps."""

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__(norm)
        (channels,) = norm.norm.normalized_shape
        if not self.centred:
            self.to_mean = _averaging(channels, None)
        self.to_variance = _averaging(channels, self.eps)

    def mean(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, 1, height, width)."""
        return self.to_mean(x)  # type: ignore[no-any-return]

    def shifted_mean(self, x: Tensor) -> Tensor:
        """Return the mean plus eps: (batch, channels, height, width) -> (batch, 1, height, width)."""
        return self.to_variance(x)  # type: ignore[no-any-return]


def norm_by_means(graph: nn.Module) -> int:
    """Write every LayerNorm over channels out as means over the axis that they have; return how many.

    It is the definition: the variance is the mean square of what the mean was taken from, before anything is squared. That axis
    is 1, but after a LocalProp that ends channels-last it is the last one, before anything is moved: over axis 1 of that result,
    OpenVINO takes 4 % longer for the whole network.
    """
    count = 0
    for chain in list(chains(graph)):
        for index, module in enumerate(chain):
            if isinstance(module, ChannelNorm):
                before = chain[index - 1] if index else None
                ends_channels_last = isinstance(before, Spread) and before.ends_channels_last
                chain[index] = LastAxisNorm(module) if ends_channels_last else MeanNorm(module)
                count += 1
    return count


def norm_by_convolutions(graph: nn.Module) -> int:
    """Write every LayerNorm over channels out as two 1x1 convolutions and a reciprocal square root; return how many.

    A mean over C channels is a 1x1 convolution to one channel with every weight 1 / C.
    """
    return replace_all(graph, ChannelNorm, ConvolvedNorm)


def _averaging(channels: int, bias: float | None) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, 1, 1, bias=bias is not None, dtype=torch.float64)
    nn.init.constant_(convolution.weight, 1 / channels)
    if convolution.bias is not None and bias is not None:
        nn.init.constant_(convolution.bias, bias)
    return convolution.requires_grad_(False)
