"""Small networks of one part each: a stem, the part out of a real block, and an average; what a part becomes is seen in them.

A converter is given such a network and the same one without the part; what the first has more is what became of the part. Parts
come from the first block of stage 3 (the head: behind stage 4), at the sizes that they have there. Parts of the published graph
that work on tokens are given tokens, so that changing the layout before and after them counts for no part.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Residual, chain
from edgevit_deploy.model.anatomy import Part, Row, modules_alone, part_of, parts_in, rows_of
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn
from edgevit_deploy.model.layout import to_features, to_tokens
from edgevit_deploy.spec import Graph, Size

STAGE = 3
"""All parts are in it, sampled by 2 and with several heads; in every variant it has the most blocks."""

STRIDE = 16
"""Pixels of the image to a position of stage 3: half as many to one of stage 2, twice to a delegate or a position of stage 4."""

WEIGHT_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNetwork:
    """A part between stem and end, and the same without it; each with how many values it returns for an image."""

    part: Part
    network: nn.Module
    without: nn.Module
    outputs: int
    outputs_without: int


class Average(nn.Module):
    """The end: a feature map -> its mean over height and width, in the form that every runtime takes."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels)."""
        return x.mean((2, 3), keepdim=True).flatten(1)


class OnTokens(nn.Module):
    """Runs what works on tokens: a feature map in, the mean of its tokens out."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels)."""
        return self.body(to_tokens(x)).mean(1)  # type: ignore[no-any-return]


class PublishedAttention(nn.Module):
    """The published GlobalSparseAttn without LocalProp and the norm behind it: one token for each delegate comes out.

    Args:
        attention: of a block; it is copied.
        own: the names of its modules that are of this part, the sampler first.
        size: height and width of the feature map.
    """

    def __init__(self, attention: GlobalSparseAttn, own: Sequence[str], size: Size) -> None:
        super().__init__()
        self.attention, self.sampler, self.size = copy.deepcopy(attention), own[0], size
        for name, _ in attention.named_children():
            if name not in own:
                delattr(self.attention, name)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, height * width, channels) -> (batch, delegates, channels)."""
        sample = self.attention.get_submodule(self.sampler)
        delegates = to_tokens(sample(to_features(tokens, *self.size)))
        return self.attention.proj(self.attention.attend(delegates))  # type: ignore[no-any-return]


class OfSize(nn.Module):
    """Tells an attention among tokens of how many rows and columns they are."""

    def __init__(self, attention: nn.Module, size: Size) -> None:
        super().__init__()
        self.attention, self.size = attention, size

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, height * width, channels) -> the same shape."""
        return self.attention(tokens, *self.size)  # type: ignore[no-any-return]


class PublishedHead(nn.Module):
    """Everything behind the last block, as published."""

    def __init__(self, network: EdgeViT) -> None:
        super().__init__()
        self.norm, self.head = network.norm, network.head

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, num_classes)."""
        return self.head(self.norm(x).flatten(2).mean(-1))  # type: ignore[no-any-return]


def part_networks(
    network: EdgeViT, rewritten: nn.Module, graph: Graph, rows: Sequence[Row] | None = None
) -> Iterator[PartNetwork]:
    """Yield a network for each part, in the order of the table, to be run at the size of `network.spec`.

    Args:
        network: the published network.
        rewritten: the same in a form of the deploy graph.
        graph: which of the two the parts are taken from.
        rows: the anatomy of the network; by its spec where none is given.
    """
    spec = network.spec
    rows = rows_of(spec.block) if rows is None else rows
    for part in parts_in(rows):
        body = _published(network, part, rows) if graph == "original" else _rewritten(rewritten, part, rows)
        channels = spec.channels[{"patch embedding": STAGE - 2, "head": STAGE}.get(part, STAGE - 1)]
        stride = {"patch embedding": STRIDE // 2, "LocalProp": STRIDE * 2, "head": STRIDE * 2}.get(part, STRIDE)
        stem = _stem(channels, stride).to(next(network.parameters() if graph == "original" else rewritten.parameters()).dtype)
        without: nn.Module = OnTokens(nn.Identity()) if isinstance(body, OnTokens) else Average()
        end: dict[str, nn.Module] = {} if part == "head" or isinstance(body, OnTokens) else {"end": Average()}
        yield PartNetwork(
            part=part,
            network=chain({"stem": stem, "part": body, **end}),
            without=chain({"stem": stem, "end": without}),
            outputs=spec.num_classes if part == "head" else spec.channels[STAGE - 1],
            outputs_without=channels,
        )


def _stem(channels: int, stride: int) -> nn.Conv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(WEIGHT_SEED)
        return nn.Conv2d(3, channels, stride, stride=stride)


def _published(network: EdgeViT, part: Part, rows: Sequence[Row]) -> nn.Module:
    """Return a part as published, with the sum around it and on tokens if it works on them."""
    paths = modules_alone(part, "original", STAGE, rows)
    if part == "head":
        return PublishedHead(network)
    if part == "GlobalSparseAttn":
        attention = network.get_submodule(paths[0].rpartition(".")[0])
        assert isinstance(attention, GlobalSparseAttn)
        height, width = network.spec.image_size
        own = [path.rpartition(".")[2] for path in paths]
        return OnTokens(PublishedAttention(attention, own, (height // STRIDE, width // STRIDE)))
    if part in ("LSA", "SRA"):
        height, width = network.spec.image_size
        return OnTokens(OfSize(network.get_submodule(paths[0].rpartition(".")[0]), (height // STRIDE, width // STRIDE)))
    body = _one_after_another({path: network.get_submodule(path) for path in paths})
    if part in ("positional encoding", "LocalAgg", "FFN"):
        body = Residual(body)
    return OnTokens(body) if part in ("FFN", "norms") else body


def _rewritten(graph: nn.Module, part: Part, rows: Sequence[Row]) -> nn.Module:
    """Return what a part has become: its modules, one after another."""
    paths = modules_alone(part, "deploy", STAGE, rows)
    return _one_after_another({path: _only(graph.get_submodule(path), path, part, rows) for path in paths})


def _one_after_another(modules: dict[str, nn.Module]) -> nn.Module:
    """Return a chain of modules, given by their paths; one alone stays as it is."""
    if len(modules) == 1:
        return next(iter(modules.values()))
    return chain({path.rpartition(".")[2]: module for path, module in modules.items()})


def _only(module: nn.Module, path: str, part: Part, rows: Sequence[Row]) -> nn.Module:
    """Return a module of the deploy graph without what is of other parts, as the FFN's chain has its norm inside."""
    if isinstance(module, Residual):
        return Residual(_only(module.body, f"{path}.body", part, rows))
    if isinstance(module, nn.Sequential):
        return chain({name: child for name, child in module.named_children() if part_of(f"{path}.{name}", rows) == part})
    return module
