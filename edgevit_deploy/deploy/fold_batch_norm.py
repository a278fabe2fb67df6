"""BatchNorm, folded forward into the 1x1 convolution that reads it; no exporter does this by itself."""

from typing import TypeGuard

import torch
from torch import nn

from edgevit_deploy.deploy.chains import chains


def fold_batch_norm(graph: nn.Module) -> int:
    """Fold every BatchNorm that stands before a 1x1 convolution into it; return how many.

    With y = s x + t for each channel, W y + b = (W s) x + (b + W t): W (out, in), s and t (in). A larger kernel with zero
    padding is left alone: at the border it reads zeros where it would have to read t.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 1):
            norm, convolution = chain[index], chain[index + 1]
            if isinstance(norm, nn.BatchNorm2d) and is_pointwise(convolution):
                scale, shift = affine(norm)
                with torch.no_grad():
                    bias_of(convolution).add_(convolution.weight[:, :, 0, 0] @ shift)
                    convolution.weight *= scale[None, :, None, None]
                chain[index] = nn.Identity()
                count += 1
    return count


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift (channels) of a BatchNorm in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def bias_of(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> torch.Tensor:
    """Return a bias that is known to be there."""
    assert module.bias is not None
    return module.bias


def is_pointwise(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Say whether a module is an ungrouped 1x1 convolution with stride 1 and a bias."""
    return (
        isinstance(module, nn.Conv2d)
        and (*module.kernel_size, *module.stride) == (1, 1, 1, 1)
        and module.groups == 1
        and module.bias is not None
    )
