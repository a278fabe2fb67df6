"""LocalProp without a transposed convolution: a grouped 1x1 convolution and a pixel shuffle."""

from torch import nn

from edgevit_deploy.deploy.chains import LocalProp, replace_all
from edgevit_deploy.deploy.fold_batch_norm import bias_of


def shuffle_local_prop(graph: nn.Module) -> int:
    """Replace every depthwise transposed convolution whose kernel is its stride; return how many.

    With r = sample rate, output pixel (r i + a, r j + b) of channel c is w[c, a, b] x[c, i, j] + bias[c]: windows do not overlap.
    So the r^2 values of a window are a 1x1 convolution of one channel, (channels, height, width) -> (channels r^2, height,
    width), and pixel shuffle puts value c r^2 + a r + b in its place. Overlapping windows would add up.
    """
    return replace_all(graph, LocalProp, _shuffled) if windows_are_apart(graph) else 0


def windows_are_apart(graph: nn.Module) -> bool:
    """Say whether every LocalProp has a kernel as large as its stride, so that each output comes from one delegate."""
    found = [module for module in graph.modules() if isinstance(module, LocalProp)]
    return all(tuple(module.kernel_size) == tuple(module.stride) and not any(module.padding) for module in found)


def _shuffled(transposed: LocalProp) -> nn.Sequential:
    return nn.Sequential(spread(transposed), nn.PixelShuffle(int(transposed.stride[0])))


def spread(transposed: LocalProp) -> nn.Conv2d:
    """Return the grouped 1x1 convolution: weight (channels r^2, 1, 1, 1), bias (channels r^2)."""
    channels, window = transposed.in_channels, int(transposed.stride[0]) ** 2
    convolution = nn.Conv2d(channels, channels * window, 1, groups=channels, dtype=transposed.weight.dtype)
    convolution.weight = nn.Parameter(transposed.weight.reshape(channels * window, 1, 1, 1), requires_grad=False)
    convolution.bias = nn.Parameter(bias_of(transposed).repeat_interleave(window), requires_grad=False)
    return convolution
