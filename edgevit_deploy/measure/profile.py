"""Where a run's time goes: operations by part of the network, and what the arithmetic alone would need on this machine."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from edgevit_deploy.model.anatomy import ALL_PARTS, STAGE, part_of
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.session import OpTime
from edgevit_deploy.spec import ModelSpec, Size

BETWEEN = "between the parts"
"""Sums with a residual, changes of layout, and operations whose names a runtime made up while it merged others."""

SQUARE = 1024
CHANNELS, SIDE = 256, 32
KERNEL_RUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTime:
    """What one part of the network took in a run.

    Attributes:
        part: of `model.anatomy.ALL_PARTS`, or `BETWEEN`.
        time_ms: the sum of its operations' times.
        share: of the sum of all operations.
        operations: how many the runtime executed for it.
        macs: multiply-accumulates of the published graph's convolutions and products in this part, of one batch.
        peak_share: those, over what the machine could do in that time at its measured peak; None where none are counted.
    """

    part: str
    time_ms: float
    share: float
    operations: int
    macs: int
    peak_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTime:
    """What one kind of operation took in a run, by the runtime's own names: its time, its share, and how many there were."""

    kind: str
    time_ms: float
    share: float
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One file's profile, added up by part of the network and by kind of operation."""

    parts: tuple[PartTime, ...]
    kinds: tuple[KindTime, ...]


def time_by_kind(ops: Sequence[OpTime]) -> tuple[KindTime, ...]:
    """Add up a profile by kind of operation, the longest first.

    It bounds what any rewriting can reach: convolutions, products and activations stay, whatever is done about the rest.
    """
    total_ms = sum(op.time_ms for op in ops)
    counts = Counter(op.kind for op in ops)
    times_ms = {kind: sum(op.time_ms for op in ops if op.kind == kind) for kind in counts}
    return tuple(
        KindTime(kind=kind, time_ms=time_ms, share=time_ms / total_ms if total_ms else 0.0, operations=counts[kind])
        for kind, time_ms in sorted(times_ms.items(), key=lambda item: -item[1])
    )


def time_by_part(ops: Sequence[OpTime], macs: dict[str, int], peak_gmacs: float) -> tuple[PartTime, ...]:
    """Add up a profile by part of the network, in the order of the data's way; parts without operations are left out.

    Args:
        ops: a profile; names that tell no part count as `BETWEEN`.
        macs: from `macs_by_part`, of the profiled batch.
        peak_gmacs: from `measure_peak_gmacs`, with as many threads as the profile.
    """
    total_ms = sum(op.time_ms for op in ops)
    rows = []
    for part in (*ALL_PARTS, BETWEEN):
        mine = [op for op in ops if (part_of(op.name) or BETWEEN) == part]
        if not mine:
            continue
        time_ms, count = sum(op.time_ms for op in mine), macs.get(part, 0)
        rows.append(
            PartTime(
                part=part,
                time_ms=time_ms,
                share=time_ms / total_ms if total_ms else 0.0,
                operations=len(mine),
                macs=count,
                peak_share=count / 1e6 / (time_ms * peak_gmacs) if count and time_ms else None,
            )
        )
    return tuple(rows)


def macs_by_part(network: nn.Module, batch: int, image_size: Size) -> dict[str, int]:
    """Count the multiply-accumulates of a published network by part, as PyTorch's own counter sees them.

    Convolutions and matrix products count; sums, norms and activations do not.

    Args:
        network: the published graph.
        batch: images a run.
        image_size: (height, width) in pixels.
    """
    macs: dict[str, int] = {}
    for path, count in _macs_by_module(network, torch.zeros(batch, 3, *image_size)).items():
        part = part_of(path) or BETWEEN
        macs[part] = macs.get(part, 0) + count
    return macs


def macs_by_stage(spec: ModelSpec, image_size: Size) -> dict[str, int]:
    """Count the multiply-accumulates of a published network for one image by stage, `stage 1` to `stage 4`, then `head`.

    PyTorch's counter sees the network's own modules without their values, so a large image takes no memory.

    Args:
        spec: of the network.
        image_size: (height, width) in pixels.
    """
    with torch.device("meta"):
        network, image = EdgeViT(spec).eval(), torch.zeros(1, 3, *image_size)
    macs: dict[str, int] = {}
    for path, count in _macs_by_module(network, image).items():
        stage = STAGE.match(path)
        name = f"stage {stage[0][-1]}" if stage else "head"
        macs[name] = macs.get(name, 0) + count
    return macs


def _macs_by_module(network: nn.Module, images: torch.Tensor) -> dict[str, int]:
    """Return what PyTorch's counter sees in each module, what is inside of it left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items() if name != "Global"}
    own = dict(flops)  # each name counts what is inside of it as well
    for name, count in flops.items():
        if (around := _nearest_around(name, flops)) is not None:
            own[around] -= count
    return {name.partition(".")[2]: count // 2 for name, count in own.items() if count}


def _nearest_around(name: str, names: Collection[str]) -> str | None:
    """Return the innermost module around one; lists of modules compute nothing and are not among the names."""
    while name := name.rpartition(".")[0]:
        if name in names:
            return name
    return None


def measure_peak_gmacs(threads: int) -> float:
    """Measure how many thousand million float32 multiply-accumulates a second this machine reaches.

    It is the fastest of some runs of two large kernels of PyTorch, which come from different libraries: a matrix product (MKL
    keeps its widest instructions from CPUs of other makers) and a 3x3 convolution (oneDNN does not).

    Args:
        threads: of PyTorch, for the time of the measurement.
    """
    matrix = torch.rand(SQUARE, SQUARE)
    image, kernel = torch.rand(1, CHANNELS, SIDE, SIDE), torch.rand(CHANNELS, CHANNELS, 3, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            product_s = min(_seconds(lambda: torch.mm(matrix, matrix)) for _ in range(KERNEL_RUNS))
            convolution_s = min(_seconds(lambda: conv2d(image, kernel, padding=1)) for _ in range(KERNEL_RUNS))
    finally:
        torch.set_num_threads(before)
    return max(SQUARE**3 / product_s, (3 * SIDE * CHANNELS) ** 2 / convolution_s) / 1e9


def _seconds(kernel: Callable[[], torch.Tensor]) -> float:
    start_ns = time.perf_counter_ns()
    kernel()
    return (time.perf_counter_ns() - start_ns) / 1e9
