"""Taps: a network that also returns what each of its parts computes, as one long row, so that every target converts it as it is.

To an exporter and to a runtime a tapped network is an ordinary classifier, only with more outputs. So the taps need nothing of
either, and every target is looked into by the same mechanism.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgevit_deploy.model.anatomy import ALL_ROWS, Row, TapPlace, tap_places
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


class Tapped(nn.Module):
    """A module whose input or output is noted in passing, on the sheet that the network around it hands out for one run."""

    def __init__(self, module: nn.Module, name: str, takes_input: bool) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self.takes_input = takes_input
        self.sheet: dict[str, Tensor] | None = None

    def forward(self, x: Tensor, *sizes: int) -> Tensor:
        """Run the module and note what goes in or comes out."""
        y: Tensor = self.module(x, *sizes)
        if self.sheet is not None:
            self.sheet[self.name] = x if self.takes_input else y
        return y


class TappedNetwork(nn.Module):
    """A copy of a network that returns every tap, in the order of computation, and then its logits, in one row an image.

    Args:
        network: the published graph, or the deploy graph in any form.
        graph: which of the two.
        rows: the anatomy of the network.
    """

    def __init__(self, network: nn.Module, graph: Graph, rows: Sequence[Row] = ALL_ROWS) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        modules = [path for path, module in network.named_modules() if not isinstance(module, nn.Identity)]
        places = sorted(tap_places(modules, graph, rows), key=lambda place: -place.path.count("."))  # from the innermost outwards
        for place in places:
            parent, _, child = place.path.rpartition(".")
            tapped = Tapped(self.network.get_submodule(place.path), place.name, place.takes_input)
            setattr(self.network.get_submodule(parent), child, tapped)
        self._places = {place.name: place for place in places}

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, values of all taps and classes)."""
        seen, logits = self._run(x)
        return torch.cat([*(value.flatten(1) for value in seen.values()), logits], dim=1)

    def taps(self, image_size: Size) -> tuple[Tap, ...]:
        """Return the taps in their order, the logits last, for images of (height, width) pixels."""
        dtype = next(self.network.parameters()).dtype
        with torch.no_grad():
            seen, logits = self._run(torch.zeros(1, 3, *image_size, dtype=dtype))
        taps = [_tap(self._places[name], value) for name, value in seen.items()]
        return (*taps, Tap(name="logits", part=HEAD, values=logits.numel(), shared=True))

    def _run(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what is seen at each tap, in the order of computation, and the logits.

        Every run has a sheet of its own, handed to the taps of this very network: a copy of it, or of a part of it, shares none.
        """
        sheet: dict[str, Tensor] = {}
        for tapped in self._tapped():
            tapped.sheet = sheet
        logits = self.network(x)
        for tapped in self._tapped():
            tapped.sheet = None
        return sheet, logits

    def _tapped(self) -> Iterator[Tapped]:
        return (module for module in self.network.modules() if isinstance(module, Tapped))


def _tap(place: TapPlace, value: Tensor) -> Tap:
    return Tap(name=place.name, part=place.computes, values=value.numel(), shared=place.shared)
