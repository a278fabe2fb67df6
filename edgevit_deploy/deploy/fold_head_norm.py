"""The final BatchNorm, folded through the pooling into the head."""

import torch
from torch import nn

from edgevit_deploy.deploy.chains import MeanPool, chains
from edgevit_deploy.deploy.fold_batch_norm import affine


def fold_head_norm(graph: nn.Module) -> int:
    """Fold a BatchNorm that stands before the mean over all positions and a linear head; return how many.

    The mean of s x + t is s mean(x) + t, so W (s m + t) + b = (W s) m + (b + W t) for the pooled m: (batch, channels). A head
    without a bias gets one.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 2):
            norm, pool, head = chain[index], chain[index + 1], chain[index + 2]
            if isinstance(norm, nn.BatchNorm2d) and isinstance(pool, MeanPool) and isinstance(head, nn.Linear):
                scale, shift = affine(norm)
                with torch.no_grad():
                    bias = head.weight @ shift + (0 if head.bias is None else head.bias)
                    head.weight *= scale
                head.bias = nn.Parameter(bias, requires_grad=False)
                chain[index] = nn.Identity()
                count += 1
    return count
