"""What a network is laid open into (`lay_open.py`): chains of small modules on feature maps, on which rewrites work.

Feature maps are (batch, channels, height, width) throughout; tokens appear only inside `ChannelNorm` and `Attention`. Linear
maps on tokens are 1x1 convolutions of the feature map, the same sums in another layout. Nothing of rank above 4 is made.
Modules keep their published names (`blocks1.0.LocalAgg.conv1`), so that a node of a written file tells its part.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from edgevit_deploy.model.alternatives import LocallyGroupedAttn, SpatialReductionAttn
from edgevit_deploy.model.edgevit import GlobalSparseAttn
from edgevit_deploy.model.layout import GROUP_SIDE, from_groups, to_groups


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each position, by way of channels-last.

    `centred` says that the mean over the channels of what comes in is zero already.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm
        self.centred = False

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Sampler(nn.MaxPool2d):
    """Takes one position of each window: a pool over one element, which every runtime has.

    `offset` is its row and column in the window, 0 at the top left; what is before the first one is cut off.
    """

    def __init__(self, sample_rate: int, offset: int = 0) -> None:
        super().__init__(1, sample_rate)
        self.sample_rate, self.offset = sample_rate, offset

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height / r, width / r)."""
        return super().forward(x[:, :, self.offset :, self.offset :] if self.offset else x)  # type: ignore[no-any-return]


class LocalProp(nn.ConvTranspose2d):
    """The depthwise transposed convolution of the published network, kernel = stride = sample rate."""


class Spread(nn.Module):
    """What LocalProp has become: one weight and one bias for each channel and place in the window, laid out as a form needs.

    `ends_channels_last` says that the result is computed with channels last and permuted at the end.
    """

    ends_channels_last: ClassVar[bool] = False

    weight: Tensor
    bias: Tensor

    def __init__(self, transposed: LocalProp) -> None:
        super().__init__()
        self.sample_rate = int(transposed.stride[0])
        assert transposed.bias is not None
        self.register_buffer("weight", self.lay_out(transposed.weight[:, 0]))
        self.register_buffer("bias", self.lay_out(self.everywhere(transposed.bias)))

    def lay_out(self, windows: Tensor) -> Tensor:
        """(channels, sample_rate, sample_rate) -> the same values in the layout of this form."""
        raise NotImplementedError

    def everywhere(self, values: Tensor) -> Tensor:
        """(channels) -> (channels, sample_rate, sample_rate), each value at every place of its window."""
        return values[:, None, None].repeat(1, self.sample_rate, self.sample_rate)

    def absorb(self, values: Tensor) -> None:
        """Take in what would be added to each channel of the input: w (x + b) + c = w x + (c + w b)."""
        self.bias += self.weight * self.lay_out(self.everywhere(values))


class MeanPool(nn.Module):
    """(batch, channels, height, width) -> (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over all positions."""
        return x.flatten(2).mean(-1)


class Attention(nn.Module):
    """Multi-head attention among the positions of a feature map; q, k and v are maps of their own, without a fifth axis.

    Keys and values are of what `reduce` makes of the map: of the map itself, but in spatial-reduction attention.
    """

    def __init__(self, attention: GlobalSparseAttn | LocallyGroupedAttn | SpatialReductionAttn) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = attention.num_heads, attention.head_dim, attention.scale
        self.centred = False
        self.reduce = nn.Sequential()
        if isinstance(attention, SpatialReductionAttn):
            self.reduce = chain({"sr": attention.sr, "norm": ChannelNorm(attention.norm)})
            maps = [(attention.q.weight, attention.q.bias), *_chunks(attention.kv, 2)]
        else:
            maps = _chunks(attention.qkv, 3)
        self.q, self.k, self.v = (linear(weight.clone(), bias.clone()) for weight, bias in maps)

    @property
    def reduces(self) -> bool:
        """Whether keys and values are of another map than the queries."""
        return len(self.reduce) > 0

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return self.num_heads * self.head_dim

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        tokens = self.tokens(x)
        source = self.tokens(self.reduce(x)) if self.reduces else tokens
        return self.attend(self.q(tokens), self.k(source), self.v(source), x)

    def tokens(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, tokens, channels); by way of channels-last, which undoes a norm's end."""
        return x.permute(0, 2, 3, 1).flatten(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
        """Attend with q, k and v (batch, tokens, channels), q's tokens those of `x` -> (batch, channels, height, width)."""
        batch, channels, height, width = x.shape
        scores = self.heads(q) @ self.heads(k).transpose(-2, -1)
        if self.scale != 1:
            scores = scores * self.scale
        attended = self.mix(scores.softmax(dim=-1), self.heads(v)).transpose(1, 2)
        return attended.reshape(batch, height, width, channels).permute(0, 3, 1, 2)

    def mix(self, weights: Tensor, v: Tensor) -> Tensor:
        """(batch, heads, tokens, tokens), (batch, heads, tokens, head_dim) -> (batch, heads, tokens, head_dim)."""
        if not self.centred:
            return weights @ v
        mean = v.mean(-2, keepdim=True)  # see `centre_values`
        return weights @ (v - mean) + mean

    def heads(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, channels) -> (batch, heads, tokens, head_dim)."""
        batch, count, _ = tokens.shape
        return tokens.reshape(batch, count, self.num_heads, self.head_dim).transpose(1, 2)


class Grouped(nn.Module):
    """A body that works on feature maps, run on each group of GROUP_SIDE x GROUP_SIDE positions for itself."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        height, width = x.shape[2], x.shape[3]
        groups = to_groups(x.permute(0, 2, 3, 1))
        maps = groups.reshape(-1, GROUP_SIDE, GROUP_SIDE, groups.shape[2]).permute(0, 3, 1, 2)
        return from_groups(self.body(maps).permute(0, 2, 3, 1).flatten(1, 2), height, width).permute(0, 3, 1, 2)


def chain(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    """Return modules that run one after another, under their names."""
    return nn.Sequential(OrderedDict(modules))


def swap(modules: nn.Sequential, index: int) -> None:
    """Let a module and the next one change places, names and all."""
    children = list(modules.named_children())
    children[index], children[index + 1] = children[index + 1], children[index]
    refill(modules, dict(children))


def refill(sequence: nn.Sequential, modules: Mapping[str, nn.Module]) -> None:
    """Give a chain other modules, under their names; its own methods for that would number them."""
    sequence._modules = OrderedDict(modules)


def prune(graph: nn.Module) -> None:
    """Take out what does nothing."""
    for sequence in chains(graph):
        refill(sequence, {name: module for name, module in sequence.named_children() if not isinstance(module, nn.Identity)})


def replace_all(graph: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> int:
    """Replace every module of exactly one kind in any chain; return how many."""
    count = 0
    for sequence in list(chains(graph)):
        for index, module in enumerate(sequence.children()):
            if type(module) is kind:
                sequence[index] = make(module)
                count += 1
    return count


def chains(graph: nn.Module) -> Iterator[nn.Sequential]:
    """Yield every chain of a graph, at any depth."""
    for module in graph.modules():
        if isinstance(module, nn.Sequential):
            yield module


def pointwise(linear: nn.Linear) -> nn.Conv2d:
    """Return a linear map on tokens as a 1x1 convolution of the feature map."""
    convolution = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None, dtype=linear.weight.dtype)
    convolution.weight = nn.Parameter(linear.weight[:, :, None, None], requires_grad=False)
    convolution.bias = linear.bias
    return convolution


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear map on tokens: weight (out, in), bias (out) or none."""
    result = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    result.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        result.bias = nn.Parameter(bias, requires_grad=False)
    return result


def _chunks(packed: nn.Linear, count: int) -> list[tuple[Tensor, Tensor]]:
    """Return weights and biases of maps that are packed into one."""
    return list(zip(packed.weight.chunk(count), packed.bias.chunk(count), strict=True))
