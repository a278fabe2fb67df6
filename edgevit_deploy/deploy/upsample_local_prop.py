"""LocalProp as nearest-neighbour upsampling times a weight repeated over the map."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

from edgevit_deploy.deploy.chains import LocalProp, Spread, replace_all
from edgevit_deploy.deploy.shuffle_local_prop import windows_are_apart


class UpsampledLocalProp(Spread):
    """Weight and bias (1, channels, r, r): one window, repeated as often as the map has delegates."""

    def lay_out(self, windows: Tensor) -> Tensor:
        """(channels, r, r) -> (1, channels, r, r)."""
        return windows.unsqueeze(0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, r * height, r * width)."""
        height, width = x.shape[2], x.shape[3]
        spread = interpolate(x, scale_factor=float(self.sample_rate), mode="nearest")
        return spread * self.weight.repeat(1, 1, height, width) + self.bias.repeat(1, 1, height, width)


def upsample_local_prop(graph: nn.Module) -> int:
    """Replace every depthwise transposed convolution whose kernel is its stride; return how many.

    Nearest upsampling by r puts x[c, i, j] at every (r i + a, r j + b); there w[c, a, b] multiplies it.
    """
    return replace_all(graph, LocalProp, UpsampledLocalProp) if windows_are_apart(graph) else 0
