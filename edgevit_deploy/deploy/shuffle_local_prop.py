"""LocalProp without a transposed convolution: a grouped 1x1 convolution and a pixel shuffle."""

from torch import nn

from edgevit_deploy.deploy.graph import LocalProp, chains


def shuffle_local_prop(graph: nn.Module) -> int:
    """Replace every depthwise transposed convolution whose kernel is its stride; return how many.

    With r = sample rate, output pixel (r i + a, r j + b) of channel c is w[c, a, b] x[c, i, j] + bias[c]: windows do not overlap.
    So the r^2 values of a window are a 1x1 convolution of one channel, (channels, height, width) -> (channels r^2, height,
    width), and pixel shuffle puts value c r^2 + a r + b in its place. Overlapping windows would add up.
    """
    count = 0
    for chain in chains(graph):
        for index, module in enumerate(chain.children()):
            if isinstance(module, LocalProp) and tuple(module.kernel_size) == tuple(module.stride):
                chain[index] = nn.Sequential(spread(module), nn.PixelShuffle(int(module.stride[0])))
                count += 1
    return count


def spread(transposed: LocalProp) -> nn.Conv2d:
    """Return the grouped 1x1 convolution: weight (channels r^2, 1, 1, 1), bias (channels r^2)."""
    channels, window = transposed.in_channels, int(transposed.stride[0]) ** 2
    assert transposed.bias is not None
    convolution = nn.Conv2d(channels, channels * window, 1, groups=channels, dtype=transposed.weight.dtype)
    convolution.weight = nn.Parameter(transposed.weight.reshape(channels * window, 1, 1, 1), requires_grad=False)
    convolution.bias = nn.Parameter(transposed.bias.repeat_interleave(window), requires_grad=False)
    return convolution
