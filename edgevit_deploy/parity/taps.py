"""Taps: a network that also returns what each of its parts computes, as one long row, so that every target converts it as it is.

To an exporter and to a runtime a tapped network is an ordinary classifier, only with more outputs. So the taps need nothing of
either, and every target is looked into by the same mechanism.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgevit_deploy.spec import Graph, Size

HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """One place in the network.

    Attributes:
        name: the module after which it is, by its published name.
        part: what was computed since the tap before.
        values: how many numbers an image has there.
        shared: the published graph has the very same numbers at this place; other taps differ by what was folded across them.
    """

    name: str
    part: str
    values: int
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Where taps are: a module's path behind its block, and whether its input or its output is taken."""

    path: str
    part: str
    name: str = ""
    takes_input: bool = False
    shared: bool = False


RULES: dict[Graph, tuple[_Rule, ...]] = {
    "original": (
        _Rule(path="", part="patch embedding", shared=True),
        _Rule(path=r"LocalAgg\.pos_embed", part="positional encoding"),
        _Rule(path=r"LocalAgg\.norm2", part="LocalAgg", name="LocalAgg.gather", takes_input=True, shared=True),
        _Rule(path="LocalAgg", part="FFN", shared=True),
        _Rule(path=r"SelfAttn\.pos_embed", part="positional encoding"),
        _Rule(path=r"SelfAttn\.norm[12]", part="norms"),
        _Rule(path=r"SelfAttn\.attn\.sampler", part="sampler"),
        _Rule(path=r"SelfAttn\.attn\.LocalProp", part="attention", name="SelfAttn.attn.attend", takes_input=True),
        _Rule(path=r"SelfAttn\.attn\.LocalProp", part="LocalProp"),
        _Rule(path=r"SelfAttn\.attn\.norm", part="norms"),
        _Rule(path=r"SelfAttn\.attn\.proj", part="attention", name="SelfAttn.attn.attend", takes_input=True),
        _Rule(path=r"SelfAttn\.attn", part="GlobalSparseAttn"),
        _Rule(path="SelfAttn", part="FFN", shared=True),
    ),
    "deploy": (
        _Rule(path="", part="patch embedding", shared=True),
        _Rule(path=r"LocalAgg\.pos_embed", part="positional encoding"),
        _Rule(path=r"LocalAgg\.gather", part="LocalAgg", shared=True),
        _Rule(path="LocalAgg", part="FFN", shared=True),
        _Rule(path=r"SelfAttn\.pos_embed", part="positional encoding"),
        _Rule(path=r"SelfAttn\.attn\.body\.norm1?", part="norms"),
        _Rule(path=r"SelfAttn\.attn\.body\.sampler", part="sampler"),
        _Rule(path=r"SelfAttn\.attn\.body\.attend", part="attention"),
        _Rule(path=r"SelfAttn\.attn\.body\.LocalProp", part="LocalProp"),
        _Rule(path=r"SelfAttn\.attn", part="GlobalSparseAttn"),
        _Rule(path=r"SelfAttn\.mlp\.body\.norm", part="norms"),
        _Rule(path="SelfAttn", part="FFN", shared=True),
    ),
}
"""In both graphs a block ends with the FFN of SelfAttn, and a stage with its last block: that tap is the stage's too."""

PLACE = re.compile(r"(?P<block>patch_embed\d|blocks\d\.\d+)(\.(?P<inside>.+))?")


class Tapped(nn.Module):
    """A module whose input or output is noted in passing."""

    def __init__(self, module: nn.Module, seen: dict[str, Tensor], name: str, takes_input: bool) -> None:
        super().__init__()
        self.module = module
        self.seen = seen
        self.name = name
        self.takes_input = takes_input

    def forward(self, x: Tensor, *sizes: int) -> Tensor:
        """Run the module and note what goes in or comes out."""
        y: Tensor = self.module(x, *sizes)
        self.seen[self.name] = x if self.takes_input else y
        return y


class TappedNetwork(nn.Module):
    """A copy of a network that returns every tap, in the order of computation, and then its logits, in one row an image.

    Args:
        network: the published graph, or the deploy graph in any form.
        graph: which of the two.
    """

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}
        self.network = copy.deepcopy(network)
        self._shared: dict[str, bool] = {}
        self._parts: dict[str, str] = {}
        for path, name, rule in sorted(_places(self.network, graph), key=lambda place: -place[0].count(".")):
            parent, _, child = path.rpartition(".")
            tapped = Tapped(self.network.get_submodule(path), self.seen, name, rule.takes_input)
            setattr(self.network.get_submodule(parent), child, tapped)
            self._shared[name], self._parts[name] = rule.shared, rule.part

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, values of all taps and classes)."""
        logits = self.network(x)
        rows = [value.flatten(1) for value in self.seen.values()] + [logits]
        self.seen.clear()
        return torch.cat(rows, dim=1)

    def taps(self, image_size: Size) -> tuple[Tap, ...]:
        """Return the taps in their order, the logits last, for images of (height, width) pixels."""
        dtype = next(self.network.parameters()).dtype
        with torch.no_grad():
            logits = self.network(torch.zeros(1, 3, *image_size, dtype=dtype))
        taps = [
            Tap(name=name, part=self._parts[name], values=value.numel(), shared=self._shared[name])
            for name, value in self.seen.items()
        ]
        self.seen.clear()
        return (*taps, Tap(name="logits", part=HEAD, values=logits.numel(), shared=True))


def _places(network: nn.Module, graph: Graph) -> Iterator[tuple[str, str, _Rule]]:
    """Yield the path of each module that is tapped, the tap's name and its rule; a module that does nothing has no tap."""
    modules = dict(network.named_modules())
    for path, module in modules.items():
        place = PLACE.fullmatch(path)
        if place is None or isinstance(module, nn.Identity):
            continue
        block, inside = place["block"], place["inside"] or ""
        for rule in RULES[graph]:
            if not re.fullmatch(rule.path, inside) or (not inside and not block.startswith("patch_embed")):
                continue
            if rule.path.endswith("proj") and f"{path[: -len('proj')]}LocalProp" in modules:
                continue  # with LocalProp, what goes into proj is the norm's output
            yield path, f"{block}.{rule.name or inside.replace('body.', '')}".rstrip("."), rule
