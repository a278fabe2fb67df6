"""Module names for a profile that has none: its operations, in their order, against those of a PyTorch trace of the same network.

Some files keep no module names. But a converter that writes operators one after the other keeps their order, and the trace
that it started from tells the module of each. So both are aligned, kind by kind and in order: as many products as can be paired,
and then as many of the rest, whose order a converter is freer to change. A convolution that it has taken apart, group by group,
lends its name to all of them; what it has merged or put in stays without one.

An example: a profile of four operations, a trace of five calls, and the names that come out. The runtime says that its `Conv`
stands for `aten::_convolution` and its `Norm` for `aten::layer_norm`.

    profile    trace                             name
    Conv       aten::_convolution of mlp.fc1     mlp.fc1
               aten::gelu of mlp.act                         merged into the convolution before it: no operation is named so
    Conv       aten::_convolution of mlp.fc2     mlp.fc2
               aten::add of mlp                              merged as well
    Reorder                                      (none)      put in by the converter
    Norm       aten::layer_norm of norm1         norm1

Without the second `Conv` the profile would be refused: a network cannot do without one of its convolutions.
"""

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgevit_deploy.errors import RunError
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import Size

PRODUCTS = frozenset({"aten::_convolution", "aten::linear", "aten::matmul", "aten::bmm", "aten::einsum"})
"""What the arithmetic of a network is made of: a profile in which one of these finds no partner is not of this network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """One operator of a trace, `aten::...`, and the path of the module that called it."""

    kind: str
    path: str


def profile_by_module(
    session: Session, feeds: Mapping[str, Array], runs: int, make_module: Callable[[], nn.Module]
) -> tuple[OpTime, ...] | None:
    """Profile an open session; every operation is named after its module, by the file itself or by a trace of the network.

    Args:
        session: of a file.
        feeds: (batch, 3, height, width) by input name.
        runs: how often it is run.
        make_module: returns the module that the file was written from; called where the file keeps no names.

    Returns:
        None where the runtime has no profiler that Python reaches.

    Raises:
        RunError: the file is not of that module.
    """
    ops = session.profile(feeds, runs)
    if ops is None or session.traced_as is None:
        return ops
    (images,) = feeds.values()
    return name_by_order(ops, trace_calls(make_module(), len(images), (images.shape[2], images.shape[3])), session.traced_as)


def trace_calls(module: nn.Module, batch: int, image_size: Size) -> tuple[TracedCall, ...]:
    """Trace a network and return its operators in order.

    Args:
        module: float32, evaluation mode; takes (batch, 3, height, width).
        batch: images a run.
        image_size: (height, width) in pixels.
    """
    with torch.no_grad():
        trace = torch.jit.trace(module, torch.zeros(batch, 3, *image_size), check_trace=False)  # type: ignore[no-untyped-call]
    return tuple(
        TracedCall(kind=node.kind(), path=node.scopeName().rpartition("/")[2])
        for node in trace.inlined_graph.nodes()
        if node.kind().startswith("aten::")
    )


def name_by_order(
    ops: Sequence[OpTime], calls: Sequence[TracedCall], traced_as: Mapping[str, frozenset[str]]
) -> tuple[OpTime, ...]:
    """Give each operation of a profile the module of the traced one that it stands for.

    Args:
        ops: in the order of execution.
        calls: in the order of the trace.
        traced_as: a runtime's kind of operation -> the kinds of traced operators that it may stand for.

    Returns:
        The same operations; one without a partner has no name.

    Raises:
        RunError: a convolution or product of the trace has no partner, so this is not the profile of that network.
    """
    product = 1 + min(len(ops), len(calls))  # worth more than all of the rest
    worth = np.array([product if call.kind in PRODUCTS else 1 for call in calls], dtype=np.int64)
    same = np.array([[call.kind in traced_as.get(op.kind, ()) for call in calls] for op in ops]).reshape(len(ops), len(calls))
    partners = _with_pieces(_align(same * worth), ops, traced_as)
    for index, call in enumerate(calls):
        if call.kind in PRODUCTS and index not in partners.values():
            raise RunError(f"the profile has no operation for {call.kind} of {call.path}: the file is not of this network")
    return tuple(replace(op, name=calls[partners[index]].path if index in partners else "") for index, op in enumerate(ops))


def _with_pieces(partners: Mapping[int, int], ops: Sequence[OpTime], traced_as: Mapping[str, frozenset[str]]) -> dict[int, int]:
    """Give a product without a partner that of the nearest operation with one, before or after, if it is of the same kind."""
    paired = sorted(partners)
    whole = dict(partners)
    for index, op in enumerate(ops):
        if index not in partners and PRODUCTS & traced_as.get(op.kind, frozenset()):
            after = bisect(paired, index)
            for neighbour in paired[max(after - 1, 0) : after + 1]:
                if ops[neighbour].kind == op.kind:
                    whole[index] = partners[neighbour]
                    break
    return whole


def _align(worth: NDArray[np.int64]) -> dict[int, int]:
    """Return row -> column of the pairs, in order, that are worth the most together; zero says that two may not be paired."""
    rows, columns = worth.shape
    best = np.zeros((rows + 1, columns + 1), dtype=np.int64)  # of what follows
    for row in range(rows - 1, -1, -1):
        paired = np.where(worth[row] > 0, best[row + 1, 1:] + worth[row], 0)
        best[row, :-1] = np.maximum.accumulate(np.maximum(paired, best[row + 1, :-1])[::-1])[::-1]
    pairs, row, column = {}, 0, 0
    while row < rows and column < columns:
        if worth[row, column] and best[row, column] == best[row + 1, column + 1] + worth[row, column]:
            pairs[row] = column
            row, column = row + 1, column + 1
        elif best[row, column] == best[row + 1, column]:
            row += 1
        else:
            column += 1
    return pairs
