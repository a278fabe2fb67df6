"""The anatomy of EdgeViT: one table of parts, with their places in the published and in the deploy graph.

Everything that names a part or looks for one is derived from it: which part a profile's operation belongs to, where the taps of
parity by layer are, and which modules a network of one part is made of. The table is in `anatomy_table.py`. The two graphs
themselves are built in `model/edgevit.py` and `deploy/lay_open.py`; what a module is called there is what stands in the table.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from edgevit_deploy.model.anatomy_table import ALL_ROWS as ALL_ROWS
from edgevit_deploy.model.anatomy_table import BOTH as BOTH
from edgevit_deploy.model.anatomy_table import ROWS as ROWS
from edgevit_deploy.model.anatomy_table import Part as Part
from edgevit_deploy.model.anatomy_table import Row as Row
from edgevit_deploy.model.anatomy_table import at as at
from edgevit_deploy.model.anatomy_table import rows_of as rows_of
from edgevit_deploy.spec import Graph

STAGE = re.compile(r"(patch_embed|blocks)\d")

BLOCK = re.compile(r"patch_embed\d|blocks\d\.\d+")


def parts_in(rows: Sequence[Row]) -> tuple[Part, ...]:
    """Return the parts that a table has, in its order."""
    return tuple(dict.fromkeys(row.part for row in rows))


PARTS: tuple[Part, ...] = parts_in(ROWS)
"""Of the published networks, in the order of the data's way through them; the norms, which are all over them, before the head."""

ALL_PARTS: tuple[Part, ...] = parts_in(ALL_ROWS)
"""Of these and of the ablations, likewise."""


def part_of(path: str, rows: Sequence[Row] = ALL_ROWS) -> Part | None:
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


def tap_places(modules: Collection[str], graph: Graph, rows: Sequence[Row] = ALL_ROWS) -> Iterator[TapPlace]:
    """Yield where the taps of a network are; a row of which a block has no module has no tap there.

    Args:
        modules: the paths of its modules, but for those that do nothing.
        graph: which of the two graphs it is.
        rows: the table.
    """
    for block in filter(BLOCK.fullmatch, modules):
        for row in rows:
            place = row.place(graph)
            if not place.modules:
                continue
            candidates = place.before or (place.after or place.modules[-1],)
            path = next((path for path in (_inside(block, known) for known in candidates) if path and path in modules), None)
            if row.tapped and path is not None:
                name = _inside(block, row.name) or path.replace(".body.", ".")
                computes = row.computes or row.part
                yield TapPlace(path=path, takes_input=bool(place.before), name=name, computes=computes, shared=row.shared)


def modules_alone(part: Part, graph: Graph, stage: int, rows: Sequence[Row] = ALL_ROWS) -> tuple[str, ...]:
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
