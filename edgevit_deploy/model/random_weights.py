"""Random weights under which every operator matters, for conversions without a checkpoint.

PyTorch's own initialisation would hide errors: 0.02-wide linear weights leave attention uniform and logits near zero, and
untouched BatchNorm statistics make a lost fold invisible. Here every tensor follows from the seed and its own name alone, the
same on every machine: fan-in scaled weights, random affine terms and statistics, logits of a few units.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

GAINS = {
    "head.weight": 4.0,
    "conv2.weight": 0.25,
    "fc2.weight": 0.25,
    "attn.proj.weight": 0.25,
    "sra.proj.weight": 0.25,
    "pos_embed.weight": 0.25,
    "norm1.running_mean": 0.25,
    "norm2.running_mean": 0.25,
}
"""Residual branches end small, so that the residual stream keeps its scale, as in a trained network; logits get a few units."""

STREAM_SCALE = 0.2
"""Scale of each patch embedding's LayerNorm and so of the stream: small enough that every LayerNorm epsilon shows."""


def randomise(model: nn.Module, seed: int, gains: Mapping[str, float] = GAINS) -> None:
    """Overwrite every parameter and buffer of `model` in place.

    Args:
        model: any EdgeViT, or a head for dense prediction; only names and shapes matter.
        seed: 0 or larger.
        gains: ending of a name -> what its values are multiplied by.
    """
    state = model.state_dict()
    model.load_state_dict({name: _draw(name, tensor, seed, gains) for name, tensor in state.items()})


def _draw(name: str, like: torch.Tensor, seed: int, gains: Mapping[str, float]) -> torch.Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like)
    shape = tuple(like.shape)
    normal = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())])).standard_normal(shape)
    gain = next((gain for ending, gain in gains.items() if name.endswith(ending)), 1.0)
    if name.endswith("running_var"):
        values = 0.5 + np.abs(normal)
    elif len(shape) >= 2:
        values = gain * normal / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * normal
    else:
        values = gain * 0.03 * normal
    if name.startswith("patch_embed") and ".norm." in name:
        values = STREAM_SCALE * values
    return torch.from_numpy(values.astype(np.float32))
