"""How positions are laid out: feature maps (batch, channels, height, width), tokens (batch, height * width, channels), groups.

No size is a Python constant: a trace or an export may keep batch, height and width symbolic.
"""

from torch import Tensor
from torch.nn.functional import pad

GROUP_SIDE = 7
"""Of a group of locally grouped attention (Chu et al., Twins, NeurIPS 2021)."""


def to_tokens(features: Tensor) -> Tensor:
    """(batch, channels, height, width) -> (batch, height * width, channels)."""
    return features.flatten(2).transpose(1, 2)


def to_features(tokens: Tensor, height: int, width: int) -> Tensor:
    """(batch, height * width, channels) -> (batch, channels, height, width)."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, height, width)


def to_groups(x: Tensor) -> Tensor:
    """(batch, height, width, channels) -> (batch * groups, GROUP_SIDE^2, channels), the groups row by row.

    Height and width are filled up with zeros at the bottom and on the right to whole groups. No tensor has more than four axes.
    """
    batch, height, width, channels = x.shape
    rows, columns = _groups(height), _groups(width)
    below, beside = rows * GROUP_SIDE - height, columns * GROUP_SIDE - width
    if _may_be_any(below, beside):
        x = pad(x, (0, 0, 0, beside, 0, below))
    bands = x.reshape(batch * rows, GROUP_SIDE, columns, GROUP_SIDE * channels).transpose(1, 2)
    return bands.reshape(batch * rows * columns, GROUP_SIDE**2, channels)


def from_groups(groups: Tensor, height: int, width: int) -> Tensor:
    """(batch * groups, GROUP_SIDE^2, channels) -> (batch, height, width, channels), without what was filled up."""
    channels = groups.shape[2]
    rows, columns = _groups(height), _groups(width)
    below, beside = rows * GROUP_SIDE - height, columns * GROUP_SIDE - width
    bands = groups.reshape(-1, columns, GROUP_SIDE, GROUP_SIDE * channels).transpose(1, 2)
    x = bands.reshape(-1, rows * GROUP_SIDE, columns * GROUP_SIDE, channels)
    return x[:, :height, :width] if _may_be_any(below, beside) else x


def _groups(side: int) -> int:
    """Return how many groups a side has; of what the oldest mobile runtimes compute with sizes."""
    return (side + GROUP_SIDE - 1) // GROUP_SIDE


def _may_be_any(*filled: int) -> bool:
    """Say whether something is filled up, or may be: a size that a trace or an export keeps symbolic is no number here."""
    return any(not isinstance(count, int) or count > 0 for count in filled)
