"""The network laid open: the published computation as a chain of small modules on feature maps, on which rewrites work.

Feature maps are (batch, channels, height, width) throughout; tokens appear only inside `ChannelNorm` and `Attention`. Linear
maps on tokens are 1x1 convolutions of the feature map, the same sums in another layout. Nothing of rank above 4 is made.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn, LocalAgg, PatchEmbed, SelfAttn


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each position, by way of channels-last."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Sampler(nn.MaxPool2d):
    """Takes the top-left position of each window: a pool over one element, which every runtime has."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__(1, sample_rate)


class LocalProp(nn.ConvTranspose2d):
    """The depthwise transposed convolution of the published network, kernel = stride = sample rate."""


class MeanPool(nn.Module):
    """(batch, channels, height, width) -> (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over all positions."""
        return x.flatten(2).mean(-1)


class Attention(nn.Module):
    """Multi-head self-attention among the positions of a feature map; q, k and v are maps of their own, without a fifth axis."""

    def __init__(self, attention: GlobalSparseAttn) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = attention.num_heads, attention.head_dim, attention.scale
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        self.q, self.k, self.v = (_linear(weight, bias) for weight, bias in zip(weights, biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # channels-last, which undoes the end of a ChannelNorm
        q, k, v = self.heads(self.q(tokens)), self.heads(self.k(tokens)), self.heads(self.v(tokens))
        scores = q @ k.transpose(-2, -1)
        if self.scale != 1:
            scores = scores * self.scale
        attended = (scores.softmax(dim=-1) @ v).transpose(1, 2)
        return attended.reshape(batch, height, width, channels).permute(0, 3, 1, 2)

    def heads(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, channels) -> (batch, heads, tokens, head_dim)."""
        batch, count, _ = tokens.shape
        return tokens.reshape(batch, count, self.num_heads, self.head_dim).transpose(1, 2)


def lay_open(network: EdgeViT) -> nn.Sequential:
    """Return the same computation as one chain; takes the network's own parameters.

    Args:
        network: in evaluation mode; afterwards it shares its parameters with the result.
    """
    stages = []
    for number in range(1, 5):
        stages.append(_patch_embed(network.get_submodule(f"patch_embed{number}")))
        for block in network.get_submodule(f"blocks{number}").children():
            local, attention = block.get_submodule("LocalAgg"), block.get_submodule("SelfAttn")
            stages += [_local_agg(local)] if isinstance(local, LocalAgg) else []
            stages.append(_self_attn(attention))
    return nn.Sequential(*stages, network.norm, MeanPool(), network.head)


def chains(graph: nn.Module) -> Iterator[nn.Sequential]:
    """Yield every chain of a graph, at any depth."""
    for module in graph.modules():
        if isinstance(module, nn.Sequential):
            yield module


def _patch_embed(embed: nn.Module) -> nn.Sequential:
    assert isinstance(embed, PatchEmbed)
    return nn.Sequential(embed.proj, ChannelNorm(embed.norm))


def _local_agg(block: LocalAgg) -> nn.Sequential:
    return nn.Sequential(
        Residual(block.pos_embed),
        Residual(nn.Sequential(block.norm1, block.conv1, block.attn, block.conv2)),
        Residual(nn.Sequential(block.norm2, block.mlp.fc1, block.mlp.act, block.mlp.fc2)),
    )


def _self_attn(block: nn.Module) -> nn.Sequential:
    assert isinstance(block, SelfAttn)
    attention, mlp = block.attn, block.mlp
    sparse: list[nn.Module] = [ChannelNorm(block.norm1), Attention(attention), pointwise(attention.proj)]
    if attention.sample_rate > 1:
        sparse[1:1] = [Sampler(attention.sample_rate)]
        sparse[3:3] = [_local_prop(attention.LocalProp), ChannelNorm(attention.norm)]
    return nn.Sequential(
        Residual(block.pos_embed),
        Residual(nn.Sequential(*sparse)),
        Residual(nn.Sequential(ChannelNorm(block.norm2), pointwise(mlp.fc1), mlp.act, pointwise(mlp.fc2))),
    )


def pointwise(linear: nn.Linear) -> nn.Conv2d:
    """Return a linear map on tokens as a 1x1 convolution of the feature map."""
    convolution = nn.Conv2d(linear.in_features, linear.out_features, 1, dtype=linear.weight.dtype)
    convolution.weight = nn.Parameter(linear.weight[:, :, None, None], requires_grad=False)
    convolution.bias = linear.bias
    return convolution


def _local_prop(transposed: nn.ConvTranspose2d) -> LocalProp:
    rate = int(transposed.stride[0])
    copied = LocalProp(transposed.in_channels, transposed.out_channels, rate, stride=rate, groups=transposed.groups)
    copied.weight, copied.bias = transposed.weight, transposed.bias
    return copied


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear.requires_grad_(False)
