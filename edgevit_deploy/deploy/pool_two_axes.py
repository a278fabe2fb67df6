"""The average over all positions as one over height and width; in `chains.py` it is over one flattened axis."""

from torch import Tensor, nn

from edgevit_deploy.deploy.chains import MeanPool, replace_all


class MeanPoolTwoAxes(nn.Module):
    """(batch, channels, height, width) -> (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over height and width, by way of a map of one position."""
        return x.mean((-1, -2), keepdim=True).flatten(1)


def pool_two_axes(graph: nn.Module) -> int:
    """Let every average over positions be one over height and width; return how many.

    It is the same sum. XNNPACK takes an average only over both axes of a feature map, both kept.
    """
    return replace_all(graph, MeanPool, lambda _: MeanPoolTwoAxes())
