"""The onnxsim step of the ONNX target, and the runs that decide whether its result is kept."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.onnx import DEQUANTIZE, QUANTIZE, SILENT, count_operators, runtime_errors, settings_for
from edgevit_deploy.parity.bounds import NoiseMultiple, tolerance_for
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.spec import INPUT_NAME

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto
    from torch import nn

DRY_RUN_IMAGES = 3
DRY_RUN_SEED = 0

SKIPPED_PASSES = ["fuse_matmul_add_bias_into_gemm_batched"]
"""It makes Reshape + Gemm + Reshape of MatMul + Add on tokens: more nodes (XXS: 366 against 361), and slower, because ONNX
Runtime then misses some of the GELUs of opset 17."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Seeded images of one size, what the module gives for them in float64, and at which batch sizes to run them.

    `images` is (n, 3, height, width), of the type that the file takes, `exact` float64 (n, ...) for each output; `atol` is the
    project's bound for an fp32 ONNX file on these images, one for each output. Of a rounded graph `exact` is float32, as it was
    rounded, and there is no bound: one value that falls to the other side of a step is no error, and moves the outputs by more
    than any noise.
    """

    images: Images
    exact: tuple[NDArray[Any], ...]
    batches: tuple[int, ...]
    atol: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplification:
    """What onnxsim did and whether its result was kept; errors are against float64, one for each image size and output."""

    kept: bool
    reason: str
    nodes: tuple[int, int]
    size_bytes: tuple[int, int]
    max_abs_before: tuple[float, ...]
    max_abs_after: tuple[float, ...] = ()
    atol: tuple[float, ...]


def make_dry_runs(module: "nn.Module", plan: ExportPlan[Any], bound: NoiseMultiple) -> tuple[DryRun, ...]:
    """Make the dry runs for every batch and image size that a file of this plan promises; `bound` is that of an fp32 file."""
    import torch

    rounded = plan.scheme is not None
    exact_module = module if rounded else copy.deepcopy(module).double()
    dry_runs = []
    for size in plan.proven_sizes():
        images = make_probes(size, plan.spec.preprocess, plan.takes, DRY_RUN_SEED).inputs[:DRY_RUN_IMAGES]
        with torch.no_grad():  # one image at a time: the attention of a large size may not fit as a batch
            rows = [torch.from_numpy(image[None]) for image in images]
            exact = joined([exact_module(row.double() if row.is_floating_point() and not rounded else row) for row in rows])
            own = exact if rounded else joined([module(row) for row in rows])
        atol = tuple(
            tolerance_for(bound, "fp32", float(np.abs(mine - true).max()), float(np.abs(true).max())).atol
            for mine, true in zip(own, exact, strict=True)
        )
        dry_runs.append(DryRun(images=images, exact=exact, batches=plan.proven_batches(), atol=None if rounded else atol))
    return tuple(dry_runs)


def largest_errors(model: "ModelProto", dry_runs: tuple[DryRun, ...]) -> tuple[float, ...]:
    """Run a graph on ONNX Runtime (CPU, one thread) and return its largest absolute error in each dry run and output.

    Raises:
        ExportError: it does not load, or does not run at a batch or image size of the dry_runs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = 1  # the same sums on every machine
    for setting, value in settings_for(model).items():
        options.add_session_config_entry(setting, value)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise ExportError(f"ONNX Runtime cannot load the exported graph: {first_line(error)}") from error

    def run(images: Images) -> list[NDArray[np.float32]]:
        try:
            outputs: list[NDArray[np.float32]] = session.run(None, {INPUT_NAME: images})
        except runtime_errors() as error:
            shape = "x".join(str(size) for size in images.shape)
            raise ExportError(f"the exported graph does not run at {shape}, which it declares: {first_line(error)}") from error
        return outputs

    by_dry_run = [[_largest_error(run, dry_run, batch) for batch in dry_run.batches] for dry_run in dry_runs]
    return tuple(float(error) for of_batches in by_dry_run for error in np.max(of_batches, axis=0))


def simplify(
    traced: "ModelProto", dry_runs: tuple[DryRun, ...], tidy: "Callable[[ModelProto], ModelProto]"
) -> "tuple[ModelProto, Simplification]":
    """Return onnxsim's result where it has no more nodes, is no larger and stays within the bound, else `traced`; and why.

    Args:
        traced: tidied; not changed.
        dry_runs: `traced` must run in all of them; where they have no bound, the result may be no further off than it.
        tidy: brings onnxsim's result into the same form, so that like is compared with like.

    Raises:
        ExportError: `traced` itself does not run.
    """
    import onnxsim

    errors_before = largest_errors(traced, dry_runs)
    bounds = [dry_run.atol for dry_run in dry_runs]
    kept = Simplification(
        kept=False,
        reason="",
        nodes=(len(traced.graph.node), len(traced.graph.node)),
        size_bytes=(traced.ByteSize(), traced.ByteSize()),
        max_abs_before=errors_before,
        atol=errors_before if None in bounds else tuple(atol for bound in bounds for atol in bound or ()),
    )
    try:
        simplified = tidy(onnxsim.simplify(traced, skipped_optimizers=list(SKIPPED_PASSES))[0])
        errors = largest_errors(simplified, dry_runs)
    except (RuntimeError, ValueError, ExportError) as error:
        return traced, replace(kept, reason=f"it failed: {first_line(error)}")
    tried = replace(
        kept,
        nodes=(len(traced.graph.node), len(simplified.graph.node)),
        size_bytes=(traced.ByteSize(), simplified.ByteSize()),
        max_abs_after=errors,
    )
    before, after = _roundings(traced), _roundings(simplified)
    if before != after:
        return traced, replace(tried, reason=f"it has other roundings to integers: {after} against {before}")
    if tried.nodes[1] > tried.nodes[0]:
        return traced, replace(tried, reason=f"it has more nodes: {tried.nodes[1]} against {tried.nodes[0]}")
    if tried.size_bytes[1] > tried.size_bytes[0]:
        return traced, replace(tried, reason=f"it is larger: {tried.size_bytes[1]} against {tried.size_bytes[0]} bytes")
    if not all(error <= atol for error, atol in zip(errors, tried.atol, strict=True)):
        return traced, replace(tried, reason=f"its largest error is {max(errors):.3g}, bound {min(tried.atol):.3g}")
    return simplified, replace(tried, kept=True, reason="no more nodes, no larger, every error within its bound")


def _roundings(model: "ModelProto") -> dict[str, int]:
    return {kind: count for kind, count in count_operators(model.graph).items() if kind in (QUANTIZE, DEQUANTIZE)}


def joined(results: "Sequence[torch.Tensor | tuple[torch.Tensor, ...]]") -> tuple[NDArray[Any], ...]:
    """Return what a module gave for several images, one array for each of its outputs."""
    import torch

    from edgevit_deploy.model.ends import as_tuple

    by_output = zip(*(as_tuple(result) for result in results), strict=True)
    return tuple(torch.cat(rows).numpy() for rows in by_output)


def _largest_error(run: Callable[[Images], Sequence[NDArray[np.float32]]], dry_run: DryRun, batch: int) -> list[float]:
    count = len(dry_run.images)
    errors = []
    for rows in np.resize(np.arange(count), (-(-count // batch), batch)):
        outputs, exact = run(dry_run.images[rows]), [output[rows] for output in dry_run.exact]
        shapes = [output.shape for output in outputs]
        if shapes != [output.shape for output in exact]:
            raise ExportError(f"the exported graph returns {', '.join(map(str, shapes))} for a batch of {batch}")
        errors.append([np.abs(output - true).max() for output, true in zip(outputs, exact, strict=True)])
    return [float(error) for error in np.max(errors, axis=0)]
