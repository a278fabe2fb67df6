"""Which operators of a deploy graph may be rounded, and what values go into and out of each: observed once, in PyTorch."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.deploy.ranges import OperatorRanges, Range, Ranges
from edgevit_deploy.errors import RunError

STAND_INS = ("sampler", "LocalProp", "norm", "norm1", "norm2")
"""Parts whose convolutions stand for another operator (a choice of positions, a product, a mean): they stay as they are."""

BINS = 4096
"""Of the histogram from which a percentile is read; a value is then known to this share of its range."""

End = Literal["input", "output"]


def operators_of(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Yield what of a deploy graph may be rounded, by its path: the network's own convolutions and linear maps."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not set(STAND_INS) & set(path.split(".")):
            yield path, module


def observe(
    network: nn.Module, batches: Callable[[], Iterable[Images]], percentile: float | None = None
) -> dict[str, OperatorRanges]:
    """Run pictures through a deploy graph in float32 and return the ranges of its operators.

    Args:
        network: float32, in evaluation mode.
        batches: gives the inputs, float32 (n, 3, height, width), from the start at each call; a percentile takes them twice.
        percentile: leave out the share of values beyond it on either side (99.99 leaves out 1 of 10,000 at each); None leaves
            out none.

    Raises:
        RunError: a value is not finite.
    """
    seen = _Extremes()
    _run(network, batches(), seen)
    if percentile is not None:
        counted = _Histograms(seen.ranges())
        _run(network, batches(), counted)
        return counted.ranges(percentile)
    return seen.ranges()


class _Extremes:
    """The smallest and largest value of each end of each operator."""

    def __init__(self) -> None:
        self._lows: dict[tuple[str, End], float] = {}
        self._highs: dict[tuple[str, End], float] = {}

    def see(self, path: str, end: End, values: Tensor) -> None:
        low, high = (float(value) for value in values.aminmax())
        if not np.isfinite([low, high]).all():
            raise RunError(f"{path}: its {end} is not finite on a calibration picture; such weights cannot be rounded")
        key = (path, end)
        self._lows[key], self._highs[key] = min(low, self._lows.get(key, low)), max(high, self._highs.get(key, high))

    def ranges(self) -> dict[str, OperatorRanges]:
        def of(path: str, end: End) -> Range:
            return Range(low=self._lows[path, end], high=self._highs[path, end])

        paths = dict.fromkeys(path for path, _ in self._lows)
        return {path: OperatorRanges(input=of(path, "input"), output=of(path, "output")) for path in paths}


class _Histograms:
    """How often values fall into each of equal steps of their range."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._counts: dict[tuple[str, End], Tensor] = {}

    def see(self, path: str, end: End, values: Tensor) -> None:
        extent = self._extent(path, end)
        counts = torch.histc(values.flatten(), BINS, extent.low, extent.high).double()
        self._counts[path, end] = self._counts.get((path, end), torch.zeros_like(counts)) + counts

    def ranges(self, percentile: float) -> dict[str, OperatorRanges]:
        return {
            path: OperatorRanges(input=self._trimmed(path, "input", percentile), output=self._trimmed(path, "output", percentile))
            for path in self._ranges
        }

    def _extent(self, path: str, end: End) -> Range:
        ranges = self._ranges[path]
        return ranges.input if end == "input" else ranges.output

    def _trimmed(self, path: str, end: End, percentile: float) -> Range:
        extent, counts = self._extent(path, end), self._counts[path, end].numpy()
        beyond, width = counts.sum() * (1 - percentile / 100), (extent.high - extent.low) / BINS
        first = int(np.searchsorted(np.cumsum(counts), beyond, side="right"))
        last = int(np.searchsorted(np.cumsum(counts[::-1]), beyond, side="right"))
        return Range(low=extent.low + first * width, high=extent.high - last * width)


@torch.no_grad()
def _run(network: nn.Module, batches: Iterable[Images], seen: "_Extremes | _Histograms") -> None:
    def hook(path: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.see(path, "input", inputs[0])
        seen.see(path, "output", output)

    handles: list[Any] = [module.register_forward_hook(partial(hook, path)) for path, module in operators_of(network)]
    try:
        for images in batches:
            network(torch.from_numpy(images))
    finally:
        for handle in handles:
            handle.remove()
