"""Which part of the local-global-local network a module belongs to, told from its name in the published or the deploy graph."""

import re
from typing import Literal, get_args

Part = Literal["patch embedding", "positional encoding", "LocalAgg", "GlobalSparseAttn", "LocalProp", "FFN", "norms", "head"]

PARTS: tuple[Part, ...] = get_args(Part)
"""In the order of the data's way through the network."""

STAGE = re.compile(r"(patch_embed|blocks)\d")


def part_of(path: str) -> Part | None:
    """Return the part of a module, None for what is between the parts: sums with a residual, changes of layout.

    `norms` are the LayerNorms. The BatchNorms inside LocalAgg count with what they stand before, into which a fold makes them
    vanish.

    Args:
        path: as in `named_modules` (`blocks1.0.LocalAgg.conv1`), or with slashes as in a traced graph's node names
            (`/network/blocks1.0/LocalAgg/conv1/Conv`); anything may stand around it.
    """
    names = re.split(r"[./]", path)
    stages = [index for index, name in enumerate(names) if STAGE.fullmatch(name)]
    if not stages:
        return "head" if {"head", "pool", "norm"} & set(names) else None
    inside = names[stages[-1] + 1 :]
    is_norm = any(re.fullmatch(r"norm\d?", name) for name in inside)
    if names[stages[-1]].startswith("patch_embed"):
        return "norms" if is_norm else "patch embedding"
    if "LocalProp" in inside:
        return "LocalProp"
    if "pos_embed" in inside:
        return "positional encoding"
    if "LocalAgg" in inside:
        return "FFN" if {"mlp", "norm2"} & set(inside) else "LocalAgg"
    if is_norm:
        return "norms"
    if "mlp" in inside:
        return "FFN"
    return "GlobalSparseAttn" if "attn" in inside else None
