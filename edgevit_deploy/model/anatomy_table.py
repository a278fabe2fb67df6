"""The table of parts: where each is in the published and in the deploy graph, of the published networks and of ablations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.spec import PUBLISHED_BLOCK, BlockSpec, Graph

Part = Literal[
    "patch embedding",
    "positional encoding",
    "LocalAgg",
    "LSA",
    "GlobalSparseAttn",
    "SRA",
    "LocalProp",
    "FFN",
    "norms",
    "head",
]

BOTH: tuple[Graph, ...] = ("original", "deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row's modules are in one graph; in paths, `patch_embed` and `blocks` stand for those of any stage and block.

    Attributes:
        modules: in the order of computation; none where the row is of the other graph alone.
        after: the module whose output is the value behind them; the last of them if nothing is said.
        before: modules whose input is that value, for where no module has it as its output; the first one that the block has.
    """

    modules: tuple[str, ...]
    after: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stretch of the data's way, which belongs to one part.

    Attributes:
        part: as the paper calls it; LSA and SRA are what its ablations have, locally grouped and spatial-reduction attention.
            `norms` are the LayerNorms, but for the one inside SRA. The BatchNorms inside LocalAgg count with what they stand
            before, into which a fold makes them vanish.
        published: its place in the published graph.
        deploy: its place in the deploy graph.
        rest_of: the module whose remaining operations (sums with a residual, changes of layout) count with this part as well.
        shared: the two graphs have the same numbers behind this row.
        tapped: parity by layer looks at the value behind this row.
        name: of the tap; without one it is the path of the module where it is.
        computes: what the tap says was computed, where that is less than the part.
        alone: the graphs in which the part's own network is made of these modules; of what a block has more than once, it takes
            one, and which one it is makes no difference to what is seen there.
    """

    part: Part
    published: Place
    deploy: Place
    rest_of: str = ""
    shared: bool = False
    tapped: bool = True
    name: str = ""
    computes: str = ""
    alone: tuple[Graph, ...] = BOTH

    def place(self, graph: Graph) -> Place:
        """Return the place in one of the graphs."""
        return self.published if graph == "original" else self.deploy


def at(*modules: str, after: str = "", before: tuple[str, ...] = ()) -> Place:
    """Return a place, written short enough for a table."""
    return Place(modules=modules, after=after, before=before)


ALL_ROWS: tuple[Row, ...] = (
    Row(
        part="patch embedding",
        published=at("patch_embed.proj", after="patch_embed"),
        deploy=at("patch_embed.proj", after="patch_embed"),
        rest_of="patch_embed",
        shared=True,
    ),
    Row(part="positional encoding", published=at("blocks.LocalAgg.pos_embed"), deploy=at("blocks.LocalAgg.pos_embed"), alone=()),
    Row(
        part="positional encoding",
        published=at("blocks.GroupedAttn.pos_embed"),
        deploy=at("blocks.GroupedAttn.pos_embed"),
        alone=(),
    ),
    Row(part="positional encoding", published=at("blocks.SelfAttn.pos_embed"), deploy=at("blocks.SelfAttn.pos_embed")),
    Row(
        part="LocalAgg",
        published=at(
            "blocks.LocalAgg.norm1",
            "blocks.LocalAgg.conv1",
            "blocks.LocalAgg.attn",
            "blocks.LocalAgg.conv2",
            before=("blocks.LocalAgg.norm2",),
        ),
        deploy=at("blocks.LocalAgg.gather"),
        rest_of="blocks.LocalAgg",
        shared=True,
        name="blocks.LocalAgg.gather",
    ),
    Row(
        part="LSA",
        published=at("blocks.GroupedAttn.attn.qkv", before=("blocks.GroupedAttn.attn.proj",)),
        deploy=at("blocks.GroupedAttn.attn.body.groups"),
        name="blocks.GroupedAttn.attn.attend",
        computes="attention",
    ),
    Row(
        part="LSA",
        published=at("blocks.GroupedAttn.attn.proj", after="blocks.GroupedAttn.attn"),
        deploy=at("blocks.GroupedAttn.attn.body.proj", after="blocks.GroupedAttn.attn"),
        rest_of="blocks.GroupedAttn.attn",
    ),
    Row(
        part="GlobalSparseAttn",
        published=at("blocks.SelfAttn.attn.sampler"),
        deploy=at("blocks.SelfAttn.attn.body.sampler"),
        computes="sampler",
    ),
    Row(
        part="GlobalSparseAttn",
        published=at("blocks.SelfAttn.attn.qkv", before=("blocks.SelfAttn.attn.LocalProp", "blocks.SelfAttn.attn.proj")),
        deploy=at("blocks.SelfAttn.attn.body.attend"),
        name="blocks.SelfAttn.attn.attend",
        computes="attention",
    ),
    Row(
        part="GlobalSparseAttn",
        published=at("blocks.SelfAttn.attn.proj", after="blocks.SelfAttn.attn"),
        deploy=at("blocks.SelfAttn.attn.body.proj", after="blocks.SelfAttn.attn"),
        rest_of="blocks.SelfAttn.attn",
    ),
    Row(
        part="SRA",
        published=at(
            "blocks.SelfAttn.sra.q",
            "blocks.SelfAttn.sra.sr",
            "blocks.SelfAttn.sra.norm",
            "blocks.SelfAttn.sra.kv",
            before=("blocks.SelfAttn.sra.proj",),
        ),
        deploy=at("blocks.SelfAttn.sra.body.attend"),
        name="blocks.SelfAttn.sra.attend",
        computes="attention",
    ),
    Row(
        part="SRA",
        published=at("blocks.SelfAttn.sra.proj", after="blocks.SelfAttn.sra"),
        deploy=at("blocks.SelfAttn.sra.body.proj", after="blocks.SelfAttn.sra"),
        rest_of="blocks.SelfAttn.sra",
    ),
    Row(part="LocalProp", published=at("blocks.SelfAttn.attn.LocalProp"), deploy=at("blocks.SelfAttn.attn.body.LocalProp")),
    Row(
        part="FFN",
        published=at("blocks.LocalAgg.norm2", "blocks.LocalAgg.mlp", after="blocks.LocalAgg"),
        deploy=at("blocks.LocalAgg.mlp", after="blocks.LocalAgg"),
        shared=True,
        alone=(),
    ),
    Row(
        part="FFN",
        published=at("blocks.GroupedAttn.mlp", after="blocks.GroupedAttn"),
        deploy=at("blocks.GroupedAttn.mlp", after="blocks.GroupedAttn"),
        shared=True,
        alone=(),
    ),
    Row(
        part="FFN",
        published=at("blocks.SelfAttn.mlp", after="blocks.SelfAttn"),
        deploy=at("blocks.SelfAttn.mlp", after="blocks.SelfAttn"),
        shared=True,
    ),
    Row(part="norms", published=at("patch_embed.norm"), deploy=at("patch_embed.norm"), tapped=False, alone=()),
    Row(
        part="norms",
        published=at("blocks.GroupedAttn.norm1"),
        deploy=at("blocks.GroupedAttn.attn.body.norm1"),
        alone=(),
    ),
    Row(part="norms", published=at("blocks.GroupedAttn.norm2"), deploy=at("blocks.GroupedAttn.mlp.body.norm"), alone=()),
    Row(part="norms", published=at(), deploy=at("blocks.SelfAttn.sra.body.norm1"), alone=()),
    Row(part="norms", published=at("blocks.SelfAttn.norm1"), deploy=at("blocks.SelfAttn.attn.body.norm1"), alone=("original",)),
    Row(part="norms", published=at("blocks.SelfAttn.attn.norm"), deploy=at("blocks.SelfAttn.attn.body.norm"), alone=()),
    Row(part="norms", published=at("blocks.SelfAttn.norm2"), deploy=at("blocks.SelfAttn.mlp.body.norm"), alone=("deploy",)),
    Row(part="head", published=at("norm", "head"), deploy=at("pool", "head"), tapped=False),
)
"""Part by part, in the order of the data's way. In both graphs a block ends with the FFN of SelfAttn, and a stage with its last
block: that tap is the stage's too. Behind the head are the logits, which the network returns anyway. A row of which a block has
no module is not there: stage 4 samples nothing, and so its attention is GlobalSparseAttn's in every network."""


def rows_of(block: BlockSpec) -> tuple[Row, ...]:
    """Return the rows of a network, by what the blocks of its stages 1 to 3 are made of."""
    missing = set(_missing(block))
    return tuple(row for row in ALL_ROWS if not any(_is_in(path, missing) for path in row.deploy.modules))


def _missing(block: BlockSpec) -> Iterator[str]:
    if block.local != "aggregation":
        yield "blocks.LocalAgg"
    if block.local != "grouped":
        yield "blocks.GroupedAttn"
    yield "blocks.SelfAttn.sra" if block.attention == "sparse" else "blocks.SelfAttn.attn"


def _is_in(path: str, modules: set[str]) -> bool:
    return any(path == module or path.startswith(f"{module}.") for module in modules)


ROWS: tuple[Row, ...] = rows_of(PUBLISHED_BLOCK)
"""Of the published networks."""
