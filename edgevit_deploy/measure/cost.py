"""What a block costs, as a formula of its size (paper, A.1): multiply-accumulates of LGL, and of what it stands in place of.

A stage has h x w positions of C channels. LocalAgg gathers with a k x k depthwise convolution, the sampler takes one position of
each r x r window. Only convolutions and matrix products count, as in the paper's table 2 and PyTorch's own counter: no softmax,
norm, activation, bias, sum, pool or interpolation. Another way to mix positions is one more function that returns terms, and a
row of `MIXINGS`; which of them the blocks of a network have, `parts_of` says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgevit_deploy.model.edgevit import PATCH_SIZES
from edgevit_deploy.model.layout import GROUP_SIDE
from edgevit_deploy.spec import FEATURE_STRIDES, PUBLISHED_BLOCK, BlockSpec, ModelSpec, Size

GATHER_KERNEL = 5
"""k: of LocalAgg's depthwise convolution."""

POSITION_KERNEL = 3
"""Of the depthwise convolutions that encode positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of a formula.

    Attributes:
        part: of the network that it is the cost of.
        formula: in h, w, C, k, r.
        macs: its value.
    """

    part: str
    formula: str
    macs: int


Terms = tuple[Term, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The sizes that a block's cost depends on: h, w, C, k, r."""

    height: int
    width: int
    channels: int
    kernel: int
    sample_rate: int

    @property
    def positions(self) -> int:
        """Return hw."""
        return self.height * self.width

    @property
    def delegates(self) -> int:
        """Return hw/r^2: one position of each window."""
        return (self.height // self.sample_rate) * (self.width // self.sample_rate)


def local_aggregation(block: Block) -> Terms:
    """Return what LocalAgg costs before its FFN: two pointwise convolutions around a depthwise one."""
    return (
        Term(part="LocalAgg", formula="2hwC^2", macs=2 * block.positions * block.channels**2),
        Term(part="LocalAgg", formula="k^2hwC", macs=block.kernel**2 * block.positions * block.channels),
    )


def sparse_attention(block: Block) -> Terms:
    """Return what attention among the delegates costs, and the projection behind it, which is of all positions."""
    count, channels = block.delegates, block.channels
    return (
        Term(part="GlobalSparseAttn", formula="3hwC^2/r^2", macs=3 * count * channels**2),
        Term(part="GlobalSparseAttn", formula="2(hw)^2C/r^4", macs=2 * count**2 * channels),
        Term(part="GlobalSparseAttn", formula="hwC^2", macs=block.positions * channels**2),
    )


def local_propagation(block: Block) -> Terms:
    """Return what LocalProp costs: each window is spread from its one delegate."""
    return (Term(part="LocalProp", formula="hwC", macs=block.positions * block.channels),)


def self_attention(block: Block) -> Terms:
    """Return what multi-head self-attention among all positions costs."""
    count, channels = block.positions, block.channels
    return (
        Term(part="MHSA", formula="4hwC^2", macs=4 * count * channels**2),
        Term(part="MHSA", formula="2(hw)^2C", macs=2 * count**2 * channels),
    )


def spatial_reduction_attention(block: Block) -> Terms:
    """Return what attention costs whose keys and values are of each r x r window (Wang et al., PVT, ICCV 2021).

    The windows are made by a convolution with kernel = stride = r.
    """
    count, reduced, channels = block.positions, block.delegates, block.channels
    return (
        Term(part="SRA", formula="2hwC^2", macs=2 * count * channels**2),
        Term(part="SRA", formula="hwC^2 + 2hwC^2/r^2", macs=(count + 2 * reduced) * channels**2),
        Term(part="SRA", formula="2(hw)^2C/r^2", macs=2 * count * reduced * channels),
    )


def locally_grouped_attention(block: Block) -> Terms:
    """Return what attention inside groups of GROUP_SIDE x GROUP_SIDE positions costs.

    h and w are filled up to whole groups, but for the projection at the end.
    """
    rows, columns = (-(-side // GROUP_SIDE) for side in (block.height, block.width))
    filled, channels = rows * columns * GROUP_SIDE**2, block.channels
    return (
        Term(part="LSA", formula="4hwC^2", macs=(3 * filled + block.positions) * channels**2),
        Term(part="LSA", formula=f"2*{GROUP_SIDE}^2hwC", macs=2 * GROUP_SIDE**2 * filled * channels),
    )


Parts = tuple[Callable[[Block], Terms], ...]


def parts_of(block: BlockSpec) -> Parts:
    """Return what a kind of block mixes positions with. No sampler costs anything here, nor does bilinear upsampling."""
    local: dict[str, Parts] = {"aggregation": (local_aggregation,), "grouped": (locally_grouped_attention,), "none": ()}
    if block.attention == "reduced":
        return (*local[block.local], spatial_reduction_attention)
    spread: Parts = (local_propagation,) if block.spread == "transposed" else ()
    return (*local[block.local], sparse_attention, *spread)


MIXINGS: dict[str, Parts] = {
    "LGL": parts_of(PUBLISHED_BLOCK),
    "LSA": parts_of(BlockSpec(local="grouped")),
    "LocalAgg + SRA": parts_of(BlockSpec(attention="reduced")),
    "SRA": parts_of(BlockSpec(local="none", attention="reduced")),
    "MHSA": (self_attention,),
}
"""How positions are mixed: as the network does it; with locally grouped attention in place of LocalAgg; with spatial-reduction
attention in place of sparse attention and LocalProp, and of all three; and by attention among all positions. The three between
are after the idea of the paper's table 4, whose own networks are not known (docs/decisions/0023)."""


def mixing(name: str, block: Block) -> Terms:
    """Return what one of `MIXINGS` costs; where every position is its own delegate (r = 1, stage 4) each is plain attention."""
    return _terms(MIXINGS[name], block)


def _terms(parts: Parts, block: Block) -> Terms:
    if block.sample_rate == 1:
        return self_attention(block)
    return tuple(term for part in parts for term in part(block))


def beside_the_mixing(block: Block, mlp_ratio: int, *, local: bool = True) -> Terms:
    """Return what a block has besides: a position encoding and an FFN behind each mixing.

    Args:
        block: the sizes.
        mlp_ratio: how many times wider an FFN is inside.
        local: whether something local is mixed too, as is never so in stage 4: then there are two of both, else one.
    """
    count, halves = block.positions, 2 if local and block.sample_rate > 1 else 1
    encodings = halves * POSITION_KERNEL**2 * count * block.channels
    return (
        Term(part="positional encoding", formula=f"{halves}*3^2hwC", macs=encodings),
        Term(part="FFN", formula=f"{2 * halves * mlp_ratio}hwC^2", macs=2 * halves * mlp_ratio * count * block.channels**2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one stage costs.

    Attributes:
        blocks: how many there are.
        block: the sizes of each.
        kind: what they mix positions with.
        embedding: multiply-accumulates of its patch embedding.
        besides: of one block, what does not mix positions.
    """

    blocks: int
    block: Block
    kind: BlockSpec
    embedding: int
    besides: Terms

    def mixing_macs(self, name: str) -> int:
        """Return what mixing positions would cost in all blocks by one of `MIXINGS`."""
        return self.blocks * sum(term.macs for term in mixing(name, self.block))

    @property
    def own_mixing(self) -> Terms:
        """What mixing positions costs in one block, as the network does it."""
        return _terms(parts_of(self.kind), self.block)

    @property
    def own_mixing_macs(self) -> int:
        """The same in all blocks."""
        return self.blocks * sum(term.macs for term in self.own_mixing)

    @property
    def macs(self) -> int:
        """The stage as the network has it, its patch embedding with it."""
        return self.embedding + self.own_mixing_macs + self.blocks * sum(term.macs for term in self.besides)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What a whole network costs for one image; `head` is its classifier."""

    stages: tuple[StageCost, ...]
    head: int

    @property
    def macs(self) -> int:
        """All of it."""
        return self.head + sum(stage.macs for stage in self.stages)


def network_cost(spec: ModelSpec, size: Size) -> NetworkCost:
    """Return what a network costs by the formula.

    Args:
        spec: of the network.
        size: (height, width) of an image in pixels, multiples of 32, so that the windows divide every stage.
    """
    stages = []
    for index, (stride, patch) in enumerate(zip(FEATURE_STRIDES, PATCH_SIZES, strict=True)):
        block = Block(
            height=size[0] // stride,
            width=size[1] // stride,
            channels=spec.channels[index],
            kernel=GATHER_KERNEL,
            sample_rate=spec.sample_rates[index],
        )
        before = spec.channels[index - 1] if index else 3
        stages.append(
            StageCost(
                blocks=spec.depths[index],
                block=block,
                kind=spec.block,
                embedding=patch**2 * before * block.channels * block.positions,
                besides=beside_the_mixing(block, spec.mlp_ratio, local=spec.block.local != "none"),
            )
        )
    return NetworkCost(stages=tuple(stages), head=spec.channels[3] * spec.num_classes)
