"""The anatomy of EdgeViT: one table of parts, with their places in the published and in the deploy graph.

Everything that names a part or looks for one is derived from it: which part a profile's operation belongs to, where the taps of
parity by layer are, and which modules a network of one part is made of. Another sampler is another path in a row; a network
without LocalAgg needs the rows of LocalAgg no more. The two graphs themselves are built in `model/edgevit.py` and
`deploy/lay_open.py`; what a module is called there is what stands here.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.spec import Graph

Part = Literal["patch embedding", "positional encoding", "LocalAgg", "GlobalSparseAttn", "LocalProp", "FFN", "norms", "head"]

BOTH: tuple[Graph, ...] = ("original", "deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row's modules are in one graph; in paths, `patch_embed` and `blocks` stand for those of any stage and block.

    Attributes:
        modules: in the order of computation.
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
        part: as the paper calls it. `norms` are the LayerNorms. The BatchNorms inside LocalAgg count with what they stand before,
            into which a fold makes them vanish.
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


ROWS: tuple[Row, ...] = (
    Row(
        part="patch embedding",
        published=at("patch_embed.proj", after="patch_embed"),
        deploy=at("patch_embed.proj", after="patch_embed"),
        rest_of="patch_embed",
        shared=True,
    ),
    Row(part="positional encoding", published=at("blocks.LocalAgg.pos_embed"), deploy=at("blocks.LocalAgg.pos_embed"), alone=()),
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
        published=at("blocks.SelfAttn.mlp", after="blocks.SelfAttn"),
        deploy=at("blocks.SelfAttn.mlp", after="blocks.SelfAttn"),
        shared=True,
    ),
    Row(part="norms", published=at("patch_embed.norm"), deploy=at("patch_embed.norm"), tapped=False, alone=()),
    Row(part="norms", published=at("blocks.SelfAttn.norm1"), deploy=at("blocks.SelfAttn.attn.body.norm1"), alone=("original",)),
    Row(part="norms", published=at("blocks.SelfAttn.attn.norm"), deploy=at("blocks.SelfAttn.attn.body.norm"), alone=()),
    Row(part="norms", published=at("blocks.SelfAttn.norm2"), deploy=at("blocks.SelfAttn.mlp.body.norm"), alone=("deploy",)),
    Row(part="head", published=at("norm", "head"), deploy=at("pool", "head"), tapped=False),
)
"""Part by part, in the order of `PARTS`. In both graphs a block ends with the FFN of SelfAttn, and a stage with its last block:
that tap is the stage's too. Behind the head are the logits, which the network returns anyway."""

STAGE = re.compile(r"(patch_embed|blocks)\d")

BLOCK = re.compile(r"patch_embed\d|blocks\d\.\d+")


def parts_in(rows: Sequence[Row]) -> tuple[Part, ...]:
    """Return the parts that a table has, in its order."""
    return tuple(dict.fromkeys(row.part for row in rows))


PARTS: tuple[Part, ...] = parts_in(ROWS)
"""In the order of the data's way through the network; the norms, which are all over it, before the head."""


def part_of(path: str, rows: Sequence[Row] = ROWS) -> Part | None:
    """Return the part of a module, None for what is between the parts: sums with a residual, changes of layout.

    Of the paths in the table whose names all occur in this one, in their order, the longest tells the part.

    Args:
        path: as in `named_modules` (`blocks1.0.LocalAgg.conv1`), or with slashes as in a traced graph's node names
            (`/network/blocks1.0/LocalAgg/conv1/Conv`); anything may stand around it.
        rows: the table.
    """
    kind, names = _from_stage(path)
    longest, part = 0, None
    for row in rows:
        for known in filter(None, (*row.published.modules, *row.deploy.modules, row.rest_of)):
            length = known.count(".") + 1
            if length > longest and _stands_for(known, kind, names):
                longest, part = length, row.part
    return part


def _from_stage(path: str) -> tuple[str, list[str]]:
    """Return `patch_embed` or `blocks` and the names behind it; "" and all names for what is in no stage."""
    names = re.split(r"[./]", path)
    stages = [index for index, name in enumerate(names) if STAGE.fullmatch(name)]
    return (names[stages[-1]][:-1], names[stages[-1] + 1 :]) if stages else ("", names)


def _stands_for(known: str, kind: str, names: list[str]) -> bool:
    """Say whether a path of the table begins in this kind of stage and all its names occur among these, in their order."""
    wanted = known.split(".")
    begins = wanted.pop(0) if wanted[0] in ("patch_embed", "blocks") else ""
    rest = iter(names)
    return begins == kind and all(name in rest for name in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class TapPlace:
    """One tap: the module where it is, whether it takes what goes in or what comes out, and what is known of the value."""

    path: str
    takes_input: bool
    name: str
    computes: str
    shared: bool


def tap_places(modules: Collection[str], graph: Graph, rows: Sequence[Row] = ROWS) -> Iterator[TapPlace]:
    """Yield where the taps of a network are; a row of which a block has no module has no tap there.

    Args:
        modules: the paths of its modules, but for those that do nothing.
        graph: which of the two graphs it is.
        rows: the table.
    """
    for block in filter(BLOCK.fullmatch, modules):
        for row in rows:
            place = row.place(graph)
            candidates = place.before or (place.after or place.modules[-1],)
            path = next((path for path in (_inside(block, known) for known in candidates) if path and path in modules), None)
            if row.tapped and path is not None:
                name = _inside(block, row.name) or path.replace(".body.", ".")
                computes = row.computes or row.part
                yield TapPlace(path=path, takes_input=bool(place.before), name=name, computes=computes, shared=row.shared)


def modules_alone(part: Part, graph: Graph, stage: int, rows: Sequence[Row] = ROWS) -> tuple[str, ...]:
    """Return the paths of the modules that a part's own network is made of, in the order of computation.

    Args:
        part: of the table.
        graph: which of the two graphs they are taken from.
        stage: 1 to 4; of its blocks it is the first.
        rows: the table.
    """
    first = {"patch_embed": f"patch_embed{stage}", "blocks": f"blocks{stage}.0"}
    paths = [path for row in rows if row.part == part and graph in row.alone for path in row.place(graph).modules]
    return tuple(_inside(first.get(path.partition(".")[0], ""), path) or path for path in paths)


def _inside(block: str, path: str) -> str:
    """Return a path of the table in one block of a network, "" where blocks of this kind have no such path."""
    kind, dot, inside = path.partition(".")
    return f"{block}{dot}{inside}" if kind and block.startswith(kind) else ""
