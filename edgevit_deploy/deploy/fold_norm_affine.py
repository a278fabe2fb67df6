"""The weight and bias of a LayerNorm, folded into the maps that read it."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Attention, ChannelNorm, chains
from edgevit_deploy.deploy.fold_batch_norm import bias_of, is_pointwise


def fold_norm_affine(graph: nn.Module) -> int:
    """Fold the affine of every LayerNorm into the 1x1 convolution or the attention that reads it; return how many.

    With y = s n + t for each channel of the normalised n, W y + b = (W s) n + (b + W t); of a larger kernel without padding, W t
    is summed over its positions. A reader without a bias has nowhere to put W t, so this comes before biases are dropped.
    Attention inside groups reads zeros where they are filled up; there it would have to read t.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 1):
            norm, reader = chain[index], chain[index + 1]
            if isinstance(norm, ChannelNorm) and norm.norm.bias is not None and (maps := _maps(reader)):
                _move(norm, maps)
                count += 1
    for attention in graph.modules():
        if isinstance(attention, Attention) and attention.k.bias is not None and attention.v.bias is not None:
            for norm in attention.reduce:
                if isinstance(norm, ChannelNorm) and norm.norm.bias is not None:
                    _move(norm, [attention.k, attention.v])
                    count += 1
    return count


def _maps(reader: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    maps: list[nn.Conv2d | nn.Linear] = []
    if isinstance(reader, Attention):
        reduction = [module for module in reader.reduce if isinstance(module, nn.Conv2d)]
        maps = [reader.q, *reduction] if reduction else [reader.q, reader.k, reader.v]
    elif is_pointwise(reader):
        maps = [reader]
    return maps if all(module.bias is not None for module in maps) else []


def _move(norm: ChannelNorm, maps: list[nn.Conv2d | nn.Linear]) -> None:
    for module in maps:
        _absorb(module, norm.norm.weight, norm.norm.bias)
    norm.norm = _without_affine(norm.norm)


def _absorb(module: nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    with torch.no_grad():
        weight = module.weight.reshape(*module.weight.shape[:2], -1)
        bias_of(module).add_(weight.sum(dim=2) @ shift)
        weight *= scale[:, None]


def _without_affine(norm: nn.LayerNorm) -> nn.LayerNorm:
    return nn.LayerNorm(norm.normalized_shape, eps=norm.eps, elementwise_affine=False)
