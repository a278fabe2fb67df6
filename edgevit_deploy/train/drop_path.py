"""Stochastic depth: in training, each sample skips some residual branches (Huang et al., 2016; the published code's DropPath).

It hangs on the network as hooks of the branches, so that keys, the evaluation graph and every exporter see the network as it is.
Each mask is drawn for the whole batch and cut to the samples at hand: it does not depend on how many processes share the batch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from edgevit_deploy.train.draws import Purpose, draw

BRANCHES = (
    "LocalAgg.conv2",
    "LocalAgg.mlp",
    "GroupedAttn.attn",
    "GroupedAttn.mlp",
    "SelfAttn.attn",
    "SelfAttn.sra",
    "SelfAttn.mlp",
)
"""The last module of each residual branch that a block may have."""


class DropPath:
    """The masks of one network's branches."""

    def __init__(self, network: nn.Module, rate: float) -> None:
        self.rates: list[float] = []
        self.scales: list[Tensor] = []
        if rate == 0:  # a network that rounds has other names for its branches
            return
        blocks = [block for name in range(1, 5) for block in network.get_submodule(f"blocks{name}").children()]
        rates = torch.linspace(0, rate, len(blocks)).tolist()
        for block, block_rate in zip(blocks, rates, strict=True):
            modules = dict(block.named_modules())
            for branch in BRANCHES if block_rate > 0 else ():
                if branch not in modules:
                    continue
                modules[branch].register_forward_hook(_Skip(self, len(self.rates)))
                self.rates.append(block_rate)

    def draw(self, places: Tensor, batch_size: int, device: torch.device, *key: int) -> None:
        """Draw the masks of one part of a batch.

        Args:
            places: of the part's samples in the whole batch.
            batch_size: of the whole batch.
            device: where the network is.
            key: seed and update.
        """
        if not self.rates:
            return
        generator = torch.Generator().manual_seed(draw(Purpose.DROP_PATH, *key))
        chances = torch.rand(len(self.rates), batch_size, generator=generator)[:, places]
        keep = 1 - torch.tensor(self.rates).unsqueeze(1)
        self.scales = list(((chances < keep) / keep).to(device))


class _Skip:
    """The hook of one branch."""

    def __init__(self, masks: DropPath, index: int) -> None:
        self.masks = masks
        self.index = index

    def __call__(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        scale = self.masks.scales[self.index].to(output.dtype)
        return output * scale.view(-1, *[1] * (output.ndim - 1))
