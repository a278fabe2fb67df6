"""The key's bias, which the softmax cancels."""

from torch import nn

from edgevit_deploy.deploy.chains import Attention


def drop_key_bias(graph: nn.Module) -> int:
    """Drop the bias of every attention's key; return how many.

    q (k_j + b) = q k_j + q b adds the same q b to every score of a row, and softmax does not change when all its inputs move
    by the same amount. The query's bias is no such constant: it meets another key in each column.
    """
    count = 0
    for module in graph.modules():
        if isinstance(module, Attention) and module.k.bias is not None:
            module.k.register_parameter("bias", None)
            count += 1
    return count
