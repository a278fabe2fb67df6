"""The attention's scale, folded into the query's map."""

import torch
from torch import nn

from edgevit_deploy.deploy.chains import Attention
from edgevit_deploy.deploy.fold_batch_norm import bias_of


def fold_attention_scale(graph: nn.Module) -> int:
    """Fold the scale of every attention into its query; return how many.

    a (Wx + b) k = ((a W) x + a b) k: one multiplication for each weight, once, instead of one for each pair of delegates.
    """
    count = 0
    for module in graph.modules():
        if isinstance(module, Attention) and module.scale != 1:
            with torch.no_grad():
                module.q.weight *= module.scale
                bias_of(module.q).mul_(module.scale)
            module.scale = 1.0
            count += 1
    return count
