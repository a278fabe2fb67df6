"""What the paper's ablations (table 4, A.2) put in place of the parts of LGL; what the paper leaves open is in decision 0023.

Parameters are named as the published code names its own (`qkv`, `proj`), those of spatial-reduction attention as PVT does (`q`,
`kv`, `sr`, `norm`).
"""

from torch import Tensor, nn

from edgevit_deploy.model.layout import from_groups, to_features, to_groups, to_tokens
from edgevit_deploy.spec.block import SamplerKind, SpreadKind


class LocallyGroupedAttn(nn.Module):
    """Attention inside groups of 7 x 7 positions (Chu et al., Twins, NeurIPS 2021), in place of LocalAgg's convolutions.

    Height and width that are no multiples of 7 are filled up with zeros in front of `qkv`, at the bottom and on the right, as in
    Twins: the filled positions have keys and values too, those of the biases. Heads are as wide as the block's others.
    """

    def __init__(self, channels: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.head_dim = head_dim
        self.scale = head_dim**-0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(batch, height * width, channels) -> the same shape."""
        batch, count, channels = tokens.shape
        q, k, v = self.qkv(to_groups(tokens.reshape(batch, height, width, channels))).chunk(3, dim=-1)
        attended = from_groups(attend(q, k, v, self.num_heads, self.scale), height, width)
        return self.proj(attended.reshape(batch, count, channels))  # type: ignore[no-any-return]


class SpatialReductionAttn(nn.Module):
    """Attention of every position to one key and value a window (Wang et al., PVT, ICCV 2021), in place of sparse attention.

    A convolution with kernel = stride = `sample_rate` and a LayerNorm make the windows.
    """

    def __init__(self, channels: int, head_dim: int, sample_rate: int, eps: float) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.head_dim = head_dim
        self.scale = head_dim**-0.5
        self.sample_rate = sample_rate
        self.q = nn.Linear(channels, channels)
        self.sr = nn.Conv2d(channels, channels, sample_rate, stride=sample_rate)
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(batch, height * width, channels) -> the same shape."""
        reduced = self.norm(to_tokens(self.sr(to_features(tokens, height, width))))
        k, v = self.kv(reduced).chunk(2, dim=-1)
        return self.proj(attend(self.q(tokens), k, v, self.num_heads, self.scale))  # type: ignore[no-any-return]


class CenterSampler(nn.Module):
    """Takes the middle position of each sample_rate x sample_rate window.

    A window with an even side has no middle position: it is the one below and on the right of the middle.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.offset = sample_rate // 2

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height / sample_rate, width / sample_rate)."""
        return x[:, :, self.offset :: self.sample_rate, self.offset :: self.sample_rate]


def make_sampler(kind: SamplerKind, sample_rate: int) -> nn.Module:
    """Return what makes a delegate of each window; the published one is a pool over one element."""
    match kind:
        case "first":
            return nn.AvgPool2d(1, sample_rate)
        case "center":
            return CenterSampler(sample_rate)
        case "avg":
            return nn.AvgPool2d(sample_rate, sample_rate)
        case "max":
            return nn.MaxPool2d(sample_rate, sample_rate)


def make_spread(kind: SpreadKind, channels: int, sample_rate: int) -> nn.Module:
    """Return what spreads each delegate over its window.

    Bilinear upsampling has no parameters. Positions are centres of pixels (`align_corners=False`): a delegate stands in the
    middle of its window, and a position mixes up to four delegates.
    """
    if kind == "bilinear":
        return nn.Upsample(scale_factor=sample_rate, mode="bilinear", align_corners=False)
    return nn.ConvTranspose2d(channels, channels, sample_rate, stride=sample_rate, groups=channels)


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, scale: float) -> Tensor:
    """Multi-head attention of q (batch, tokens, channels) to k and v, which may be of other tokens; the shape is that of q."""
    batch, count, channels = q.shape
    q, k, v = (x.reshape(x.shape[0], x.shape[1], num_heads, channels // num_heads).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-2, -1) * scale).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).reshape(batch, count, channels)
