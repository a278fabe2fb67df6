"""LocalProp as one broadcast multiplication; six axes, for runtimes that allow them."""

from typing import ClassVar

from torch import Tensor, nn

from edgevit_deploy.deploy.chains import LocalProp, Spread, replace_all
from edgevit_deploy.deploy.shuffle_local_prop import windows_are_apart


class MultipliedLocalProp(Spread):
    """Weight and bias (r, 1, r, channels): axes of (a, j, b, c)."""

    ends_channels_last: ClassVar[bool] = True

    def lay_out(self, windows: Tensor) -> Tensor:
        """(channels, r, r) -> (r, 1, r, channels)."""
        return windows.permute(1, 2, 0).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, r * height, r * width)."""
        batch, channels, height, width = x.shape
        windows = x.permute(0, 2, 3, 1).reshape(batch, height, 1, width, 1, channels) * self.weight + self.bias
        spread = windows.reshape(batch, self.sample_rate * height, self.sample_rate * width, channels)
        return spread.permute(0, 3, 1, 2)


def multiply_local_prop(graph: nn.Module) -> int:
    """Replace every depthwise transposed convolution whose kernel is its stride; return how many.

    Output pixel (r i + a, r j + b) of channel c is w[c, a, b] x[c, i, j] + bias[c]: x with axes (i, 1, j, 1, c) times w with axes
    (a, 1, b, c), read as (i, a, j, b, c).
    """
    return replace_all(graph, LocalProp, MultipliedLocalProp) if windows_are_apart(graph) else 0
