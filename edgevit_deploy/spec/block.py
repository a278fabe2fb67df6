"""What a block of the network is made of: the published one, and what the paper's ablations (table 4, A.2) put in its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Local = Literal["aggregation", "grouped", "none"]
SamplerKind = Literal["first", "center", "avg", "max"]
SpreadKind = Literal["transposed", "bilinear"]
AttentionKind = Literal["sparse", "reduced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """How the blocks of the stages 1 to 3 mix positions; in stage 4, where each is its own delegate, all are plain attention.

    Attributes:
        local: `aggregation` is LocalAgg; `grouped` is attention inside groups of positions in place of its convolutions, between
            a position encoding and an FFN like its own; `none` leaves it out whole, as the published network does in stage 4.
        sampler: which position of a window is its delegate, `first` (the top-left one, as published) or `center`; or what is made
            of all of them, their average or their maximum.
        spread: how delegates reach their windows, by a depthwise transposed convolution or by bilinear upsampling.
        attention: `sparse` is among delegates; `reduced` is of every position to keys and values of whole windows, and there is
            nothing to sample or to spread.
    """

    local: Local = "aggregation"
    sampler: SamplerKind = "first"
    spread: SpreadKind = "transposed"
    attention: AttentionKind = "sparse"

    def words(self) -> Iterator[str]:
        """Yield a word for everything that is not as published, for a name."""
        if self.local != "aggregation":
            yield {"grouped": "lsa", "none": "without_la"}[self.local]
        if self.attention == "reduced":
            if self.local != "none":
                yield "without_lp"
            return
        if self.local == "none":
            yield "sparse"
        if self.sampler != "first":
            yield self.sampler
        if self.spread != "transposed":
            yield self.spread


PUBLISHED_BLOCK = BlockSpec()
