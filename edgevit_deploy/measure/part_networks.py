"""Small networks of one part each: a stem, the part out of a real block, and an average; what a part becomes is seen in them.

A converter is given such a network and the same one without the part; what the first has more is what became of the part. Parts
come from the first block of stage 3 (the head: behind stage 4), at the sizes that they have there. Parts of the published graph
that work on tokens are given tokens, so that changing the layout before and after them counts for no part.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Residual, chain
from edgevit_deploy.model.anatomy import PARTS, Part, part_of
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn, LocalAgg, SelfAttn, to_features, to_tokens
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
    """The published GlobalSparseAttn without LocalProp and the norm behind it: one token for each delegate comes out."""

    def __init__(self, attention: GlobalSparseAttn, size: Size) -> None:
        super().__init__()
        self.attention, self.size = copy.deepcopy(attention), size
        del self.attention.LocalProp, self.attention.norm

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, height * width, channels) -> (batch, delegates, channels)."""
        delegates = to_tokens(self.attention.sampler(to_features(tokens, *self.size)))
        return self.attention.proj(self.attention.attend(delegates))  # type: ignore[no-any-return]


class PublishedHead(nn.Module):
    """Everything behind the last block, as published."""

    def __init__(self, network: EdgeViT) -> None:
        super().__init__()
        self.norm, self.head = network.norm, network.head

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, num_classes)."""
        return self.head(self.norm(x).flatten(2).mean(-1))  # type: ignore[no-any-return]


def part_networks(network: EdgeViT, rewritten: nn.Module, graph: Graph) -> Iterator[PartNetwork]:
    """Yield a network for each part, in the order of `PARTS`, to be run at the size of `network.spec`.

    Args:
        network: the published network.
        rewritten: the same in a form of the deploy graph.
        graph: which of the two the parts are taken from.
    """
    spec = network.spec
    published = _published(network) if graph == "original" else {}
    for part in PARTS:
        body = published[part] if graph == "original" else _rewritten(rewritten, part)
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


def _published(network: EdgeViT) -> dict[Part, nn.Module]:
    block = network.get_submodule(f"blocks{STAGE}.0")
    local, sparse = block.get_submodule("LocalAgg"), block.get_submodule("SelfAttn")
    assert isinstance(local, LocalAgg)
    assert isinstance(sparse, SelfAttn)
    gather = {"norm1": local.norm1, "conv1": local.conv1, "attn": local.attn, "conv2": local.conv2}
    height, width = network.spec.image_size
    return {
        "patch embedding": network.get_submodule(f"patch_embed{STAGE}.proj"),
        "positional encoding": Residual(sparse.pos_embed),
        "LocalAgg": Residual(chain(gather)),
        "GlobalSparseAttn": OnTokens(PublishedAttention(sparse.attn, (height // STRIDE, width // STRIDE))),
        "LocalProp": sparse.attn.LocalProp,
        "FFN": OnTokens(Residual(sparse.mlp)),
        "norms": OnTokens(sparse.norm1),
        "head": PublishedHead(network),
    }


def _rewritten(graph: nn.Module, part: Part) -> nn.Module:
    """Return what a part has become: the modules whose names say that they are of it, one after another."""
    block = f"blocks{STAGE}.0"
    if part == "head":
        return chain({name: module for name, module in graph.named_children() if part_of(name) == "head"})
    if part == "patch embedding":
        return graph.get_submodule(f"patch_embed{STAGE}.proj")
    if part == "positional encoding":
        return graph.get_submodule(f"{block}.SelfAttn.pos_embed")
    if part == "LocalAgg":
        return graph.get_submodule(f"{block}.LocalAgg.gather")
    if part == "norms":
        return graph.get_submodule(f"{block}.SelfAttn.mlp.body.norm")
    path = f"{block}.SelfAttn.{'mlp' if part == 'FFN' else 'attn'}.body"
    own = chain({n: m for n, m in graph.get_submodule(path).named_children() if part_of(f"{path}.{n}") == part})
    return Residual(own) if part == "FFN" else own
