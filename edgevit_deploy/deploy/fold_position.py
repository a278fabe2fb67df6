"""The conditional positional encoding, x + depthwise(x), as one depthwise convolution."""

from typing import TypeGuard

import torch
from torch import nn

from edgevit_deploy.deploy.chains import Residual, chains


def fold_position(graph: nn.Module) -> int:
    """Fold the residual into the centre tap of each depthwise kernel; return how many.

    x + w * x = (w + delta) * x, where delta is 1 at the centre: w (channels, 1, 3, 3). A convolution that is not depthwise,
    is strided, dilated or not padded to keep the size has no tap that is the position itself for every output.
    """
    count = 0
    for chain in chains(graph):
        for index, module in enumerate(chain.children()):
            if isinstance(module, Residual) and keeps_positions(module.body):
                convolution = module.body
                rows, columns = convolution.kernel_size
                with torch.no_grad():
                    convolution.weight[:, 0, rows // 2, columns // 2] += 1
                chain[index] = convolution
                count += 1
    return count


def keeps_positions(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Say whether a module is a depthwise convolution with an odd kernel whose centre tap reads the output's own position."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels == module.out_channels
        and tuple(module.stride) == tuple(module.dilation) == (1, 1)
        and all(size % 2 == 1 for size in module.kernel_size)
        and module.padding == tuple(size // 2 for size in module.kernel_size)
    )
