"""EdgeViT: a four-stage pyramid of local-global-local (LGL) blocks.

Paper: Pan et al., "EdgeViTs: Competing Light-weight CNNs on Mobile Devices with Vision Transformers", ECCV 2022,
arXiv 2205.03436, section 3. Parameter names and shapes are those of the published code (saic-fi/edgevit, Apache-2.0), so
that its checkpoints load as they are; hence the capitals in `LocalAgg`, `SelfAttn` and `LocalProp`. What its ablations put in
place of parts is in `alternatives.py`.

Shapes: feature maps are (batch, channels, height, width), tokens (batch, height * width, channels). No size is a Python
constant in any forward: a trace or an export may keep batch, height and width symbolic.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.alternatives import LocallyGroupedAttn, SpatialReductionAttn, make_sampler, make_spread
from edgevit_deploy.model.layout import to_features, to_tokens
from edgevit_deploy.spec import PUBLISHED_BLOCK, BlockSpec, ModelSpec, check_image_size

PATCH_SIZES = (4, 2, 2, 2)


class PatchEmbed(nn.Module):
    """Non-overlapping strided convolution, then LayerNorm over the channels of each position."""

    def __init__(self, in_channels: int, channels: int, patch_size: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.proj = nn.Conv2d(in_channels, channels, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, channels, height / patch, width / patch)."""
        x = self.proj(x)
        return to_features(self.norm(to_tokens(x)), x.shape[2], x.shape[3]).contiguous()


class ConvMlp(nn.Module):
    """The FFN of LocalAgg: two pointwise convolutions around an exact (erf) GELU."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """The FFN of SelfAttn: two linear maps around an exact (erf) GELU."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden_channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, channels) -> the same shape."""
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class LocalAgg(nn.Module):
    """Local aggregation: each window's neighbourhood is gathered by pointwise and depthwise convolutions (section 3.1)."""

    def __init__(self, channels: int, mlp_ratio: int) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.attn = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = ConvMlp(channels, channels * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        x = x + self.pos_embed(x)
        x = x + self.conv2(self.attn(self.conv1(self.norm1(x))))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class GlobalSparseAttn(nn.Module):
    """Global sparse attention over one delegate token a window, and LocalProp, which spreads the result back.

    The sampler takes the top-left token of each sample_rate x sample_rate window; LocalProp is a depthwise transposed
    convolution with kernel = stride = sample_rate. At sample rate 1 every token is a delegate and both fall away. `block` may
    have another sampler or another way to spread.
    """

    def __init__(self, channels: int, head_dim: int, sample_rate: int, eps: float, block: BlockSpec = PUBLISHED_BLOCK) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.head_dim = head_dim
        self.scale = head_dim**-0.5
        self.sample_rate = sample_rate
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        if sample_rate > 1:
            self.sampler = make_sampler(block.sampler, sample_rate)
            self.LocalProp = make_spread(block.spread, channels, sample_rate)
            self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(batch, height * width, channels) -> the same shape."""
        if self.sample_rate == 1:
            return self.proj(self.attend(tokens))  # type: ignore[no-any-return]
        delegates = to_tokens(self.sampler(to_features(tokens, height, width)))
        attended = self.attend(delegates)
        spread = self.LocalProp(to_features(attended, height // self.sample_rate, width // self.sample_rate))
        return self.proj(self.norm(to_tokens(spread)))  # type: ignore[no-any-return]

    def attend(self, tokens: Tensor) -> Tensor:
        """Multi-head self-attention among the given tokens: (batch, tokens, channels) -> the same shape."""
        batch, count, channels = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).reshape(batch, count, channels)  # type: ignore[no-any-return]


class SelfAttn(nn.Module):
    """Conditional positional encoding, attention and FFN, each with a residual connection.

    The attention is `attn`, or `sra` where it is spatial-reduction attention.
    """

    def __init__(self, channels: int, spec: ModelSpec, make_attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels, eps=spec.norm_eps)
        attention = make_attention()
        self.attention_name = "sra" if isinstance(attention, SpatialReductionAttn) else "attn"
        self.add_module(self.attention_name, attention)
        self.norm2 = nn.LayerNorm(channels, eps=spec.norm_eps)
        self.mlp = Mlp(channels, channels * spec.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        x = x + self.pos_embed(x)
        height, width = x.shape[2], x.shape[3]
        tokens = to_tokens(x)
        tokens = tokens + self.get_submodule(self.attention_name)(self.norm1(tokens), height, width)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return to_features(tokens, height, width)


class LGLBlock(nn.Module):
    """One local-global-local bottleneck; without sampling (stage 4) there is nothing local to aggregate.

    What is local is `LocalAgg`, an identity where there is nothing, or `GroupedAttn`.
    """

    def __init__(self, channels: int, sample_rate: int, spec: ModelSpec) -> None:
        super().__init__()
        block, head_dim = spec.block, spec.head_dim
        local: nn.Module = nn.Identity()
        if sample_rate > 1 and block.local == "aggregation":
            local = LocalAgg(channels, spec.mlp_ratio)
        elif sample_rate > 1 and block.local == "grouped":
            local = SelfAttn(channels, spec, lambda: LocallyGroupedAttn(channels, head_dim))
        self.local_name = "GroupedAttn" if isinstance(local, SelfAttn) else "LocalAgg"
        self.add_module(self.local_name, local)

        def attention() -> nn.Module:
            if sample_rate > 1 and block.attention == "reduced":
                return SpatialReductionAttn(channels, head_dim, sample_rate, spec.inner_norm_eps)
            return GlobalSparseAttn(channels, head_dim, sample_rate, spec.inner_norm_eps, block)

        self.SelfAttn = SelfAttn(channels, spec, attention)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.SelfAttn(self.get_submodule(self.local_name)(x))  # type: ignore[no-any-return]


class EdgeViT(nn.Module):
    """The whole classifier for inference; build it with `edgevit_deploy.create_model`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        in_channels = (3, *spec.channels[:3])
        for stage in range(4):
            embed = PatchEmbed(in_channels[stage], spec.channels[stage], PATCH_SIZES[stage], spec.inner_norm_eps)
            setattr(self, f"patch_embed{stage + 1}", embed)
        for stage in range(4):
            blocks = [LGLBlock(spec.channels[stage], spec.sample_rates[stage], spec) for _ in range(spec.depths[stage])]
            setattr(self, f"blocks{stage + 1}", nn.ModuleList(blocks))
        self.norm = nn.BatchNorm2d(spec.channels[3])
        self.head = nn.Linear(spec.channels[3], spec.num_classes, bias=spec.head_bias)
        self.apply(initialise)

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Run stage 1, 2, 3 or 4: (batch, in_channels, height, width) -> (batch, channels, smaller height, width)."""
        x = self.get_submodule(f"patch_embed{number}")(x)
        for block in self.get_submodule(f"blocks{number}").children():
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Classify normalised images.

        Args:
            x: (batch, 3, height, width), float; height and width multiples of 32.

        Returns:
            Logits (batch, num_classes), same dtype.

        Raises:
            UsageError: the input is not (batch, 3, height, width) or a side is not a multiple of 32.
        """
        check_images(x)
        return self.head(self.norm(self.features(x)[-1]).flatten(2).mean(-1))  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the maps that the four stages end with.

        Args:
            x: as for `forward`.

        Returns:
            Four times (batch, channels, height / stride, width / stride), with the strides 4, 8, 16 and 32.
        """
        first = self.stage(1, x)
        second = self.stage(2, first)
        third = self.stage(3, second)
        return first, second, third, self.stage(4, third)


def check_images(x: Tensor) -> None:
    """Refuse what the network cannot divide; while sizes are symbols, as in a trace, nothing is asked of them.

    Raises:
        UsageError: the input is not (batch, 3, height, width) or a side is not a multiple of 32.
    """
    if _is_traced(x):
        return
    if x.ndim != 4 or x.shape[1] != 3:
        raise UsageError(f"expected an input of shape (batch, 3, height, width), got {tuple(x.shape)}")
    check_image_size(x.shape[2], x.shape[3])


def _is_traced(x: Tensor) -> bool:
    tracing = bool(torch.jit.is_tracing()) or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or isinstance(x, Proxy)


def initialise(module: nn.Module) -> None:
    """Initialise as the published code does: truncated normal (std 0.02) linear weights, zero linear biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
