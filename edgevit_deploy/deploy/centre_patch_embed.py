"""The centring of a patch embedding's LayerNorm, folded into the convolution in front of it."""

import torch
from torch import nn

from edgevit_deploy.deploy.chains import ChannelNorm, chains
from edgevit_deploy.deploy.fold_batch_norm import bias_of


def centre_patch_embed(graph: nn.Module) -> int:
    """Let every convolution that only a LayerNorm reads return channels whose mean is zero; return how many.

    The mean over the output channels of W x + b is (mean of W's rows) x + mean of b: taken off W and b, nothing is left of it,
    and the norm divides by the root of the mean square alone. A sum with a residual has a mean of its own.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 1):
            convolution, norm = chain[index], chain[index + 1]
            if (
                isinstance(convolution, nn.Conv2d)
                and isinstance(norm, ChannelNorm)
                and convolution.groups == 1
                and not norm.centred
            ):
                with torch.no_grad():
                    convolution.weight -= convolution.weight.mean(dim=0)
                    bias_of(convolution).sub_(bias_of(convolution).mean())
                norm.centred = True
                count += 1
    return count
