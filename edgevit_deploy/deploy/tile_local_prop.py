"""LocalProp without a transposed convolution and without a fifth axis: copies side by side, times a tiled weight."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import LocalProp, Spread, replace_all
from edgevit_deploy.deploy.shuffle_local_prop import windows_are_apart


class TiledLocalProp(Spread):
    """Weight and bias (1, r, 1, r * channels): window row, then window column and channel."""

    ends_channels_last: ClassVar[bool] = True

    def lay_out(self, windows: Tensor) -> Tensor:
        """(channels, r, r) -> (1, r, 1, r * channels)."""
        return windows.permute(1, 2, 0).reshape(1, self.sample_rate, 1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, r * height, r * width)."""
        batch, channels, height, width = x.shape
        row = torch.cat([x.permute(0, 2, 3, 1)] * self.sample_rate, dim=-1).flatten(0, 1).unsqueeze(1)
        windows = row * self.weight + self.bias
        spread = windows.reshape(batch, self.sample_rate * height, self.sample_rate * width, channels)
        return spread.permute(0, 3, 1, 2)


def tile_local_prop(graph: nn.Module) -> int:
    """Replace every depthwise transposed convolution whose kernel is its stride; return how many.

    Output pixel (r i + a, r j + b) of channel c is w[c, a, b] x[c, i, j] + bias[c]. With channels last, r copies of x along the
    channels are (batch * height, 1, width, r channels), the axes of (i, a, j, (b, c)); times (1, r, 1, r channels) they are the
    output in its own order.
    """
    return replace_all(graph, LocalProp, TiledLocalProp) if windows_are_apart(graph) else 0
