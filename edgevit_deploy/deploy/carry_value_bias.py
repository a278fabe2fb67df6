"""The value's bias, carried past the attention into the next 1x1 convolution."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Attention, Grouped, Spread, chains
from edgevit_deploy.deploy.fold_batch_norm import bias_of


def carry_value_bias(graph: nn.Module) -> int:
    """Move the bias of every attention's value into the bias of the 1x1 convolution that reads it; return how many.

    The rows of a softmax sum to 1, so P (V + b) = P V + b; and W (y + b) + c = W y + (c + W b). The convolution may be grouped
    (what LocalProp became: W b is then w b, window by window) or not. Anything that is not affine in between stops it, and so
    does a transposed convolution: its bias is one value a channel, w b is one for each place in the window.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 1):
            attention, reader = _attention(chain[index]), _first(chain[index + 1])
            if attention is not None and attention.v.bias is not None and (isinstance(reader, Spread) or _is_affine(reader)):
                with torch.no_grad():
                    if isinstance(reader, Spread):
                        reader.absorb(attention.v.bias)
                    else:
                        bias_of(reader).add_(apply_weight(reader, attention.v.bias))
                attention.v.register_parameter("bias", None)
                count += 1
    return count


def apply_weight(convolution: nn.Conv2d, values: Tensor) -> Tensor:
    """Return what a 1x1 convolution without its bias makes of one value a channel: (in) -> (out)."""
    return torch.nn.functional.conv2d(values[None, :, None, None], convolution.weight, groups=convolution.groups).flatten()


def _attention(module: nn.Module) -> Attention | None:
    """Return an attention, also one among groups of positions: what is cut off again has the same bias as the rest."""
    inner = module.body[-1] if isinstance(module, Grouped) else module
    return inner if isinstance(inner, Attention) else None


def _first(module: nn.Module) -> nn.Module:
    return module[0] if isinstance(module, nn.Sequential) else module


def _is_affine(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and tuple(module.kernel_size) == (1, 1) and module.bias is not None
