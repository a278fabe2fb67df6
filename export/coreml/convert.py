"""PyTorch to a raw ML Program package: the trace, and coremltools without its chatter.

coremltools converts on any platform. Its frontend for traces is the older and faster of its two, and sizes computed with `//`
stay symbolic in it; only numpy below 2.4 suits it, which the project pins.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.coreml import import_coremltools
from edgevit_deploy.spec import INPUT_NAME, SIZE_STEP, FloatPrecision, Precision
from export.coreml.rounding import register_rounding

if TYPE_CHECKING:
    from torch import nn

TargetOS = Literal["iOS15", "iOS16", "iOS17", "iOS18", "macOS12", "macOS13", "macOS14", "macOS15"]

OLDEST: dict[Precision, TargetOS] = {"w8": "iOS16", "palette8": "iOS16", "int8": "iOS17"}
"""Precision -> the system whose operators it needs, where iOS 15 does not have them."""

CONVERTER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What coremltools raises on a graph that it cannot convert; it has no exception of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLOptions:
    """Flags of the Core ML target.

    Attributes:
        target_os: oldest system that must load the file; iOS15 and macOS12 are the same format, and so on. [default: the oldest
            that can hold the precision]
        classifier: return a label and a probability for each label instead of logits; needs --labels.
        max_batch: largest batch, when the batch is dynamic.
        max_side: largest height and width in pixels, when the image size is dynamic.
    """

    target_os: TargetOS | None = None
    classifier: bool = False
    max_batch: int = 8
    max_side: int = 1024


def system_of(plan: ExportPlan[CoreMLOptions]) -> TargetOS:
    """Return the oldest system that must load the file of a plan."""
    return plan.options.target_os or OLDEST.get(plan.precision, "iOS15")


def trace(module: "nn.Module", plan: ExportPlan[CoreMLOptions]) -> Any:
    """Trace the module at the plan's batch and image size."""
    import torch

    with warnings.catch_warnings():
        # torch 2.13 calls tracing deprecated; coremltools' other frontend reads torch.export, at several times the cost.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A traced Python number may be a baked-in size; whether it is gets decided by the comparison of every promised size.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # The written file is compared with the truth, so tracing twice more to compare traces would add nothing.
        return torch.jit.trace(module, plan.example(), check_trace=False)  # type: ignore[no-untyped-call]


def convert(traced: Any, plan: ExportPlan[CoreMLOptions], precision: FloatPrecision, package: Path) -> None:
    """Convert a trace and let coremltools write its package.

    Args:
        traced: what `trace` returned.
        plan: what to build.
        precision: of the arithmetic where nothing is rounded to eight bits; the plan's own, or fp32 for the twin.
        package: where to write, ending in .mlpackage.

    Raises:
        ExportError: with the first line of coremltools' own message.
    """
    ct = import_coremltools()
    if plan.scheme is not None:
        register_rounding()
    try:
        with _quiet():
            ct.convert(
                traced,
                source="pytorch",
                convert_to="mlprogram",
                inputs=[_input_type(ct, plan)],
                outputs=[ct.TensorType(name=spec.name, dtype=np.float32) for spec in plan.outputs],
                classifier_config=ct.ClassifierConfig(list(plan.labels)) if plan.options.classifier else None,
                minimum_deployment_target=ct.target[system_of(plan)],
                compute_precision=_compute_precision(ct, precision),
                pass_pipeline=_passes(ct),
                skip_model_load=True,
                package_dir=str(package),
            )
    except CONVERTER_ERRORS as error:
        raise ExportError(f"coremltools could not convert the model: {first_line(error)}") from error


def _input_type(ct: Any, plan: ExportPlan[CoreMLOptions]) -> Any:
    """Return the input with its free axes; float32 is spelled out because from iOS 16 on it would follow the precision."""
    options = plan.options
    batch = ct.RangeDim(1, options.max_batch, default=1) if plan.dynamic_batch else plan.batch
    sides: tuple[Any, ...] = plan.image_size
    if plan.dynamic_size:
        sides = tuple(ct.RangeDim(SIZE_STEP, options.max_side, default=side) for side in plan.image_size)
    shape = (batch, 3, *sides)
    if plan.takes == "image":
        # The scale of an image input is one number for all channels, so the model itself normalises.
        return ct.ImageType(name=INPUT_NAME, shape=shape, scale=1.0, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=INPUT_NAME, shape=shape, dtype=np.float32)


def _compute_precision(ct: Any, precision: FloatPrecision) -> Any:
    return ct.precision.FLOAT32 if precision == "fp32" else ct.transform.FP16ComputePrecision(op_selector=_becomes_half)


def _passes(ct: Any) -> Any:
    """Return coremltools' own passes but for the one that, with fp16 from iOS 17 on, also shrinks sizes to 16-bit integers."""
    passes = ct.PassPipeline()
    passes.remove_passes({"common::add_int16_cast"})
    return passes


def _becomes_half(operation: Any) -> bool:
    """Keep the normalisation of an image in float32: half precision would round the mean 123.675 to 123.6875.

    The published graph subtracts nowhere else.
    """
    producer = operation.inputs["x"].op if "x" in operation.inputs else None
    return operation.op_type != "sub" and (producer is None or producer.op_type != "sub")


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off progress bars, which would tear up our own, numpy's complaint about how coremltools reads a size, and warnings.

    coremltools offers no switch for its bars. It warns of every 64-bit constant that it stores in 32 bits.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    original = tqdm.__init__
    tqdm.__init__ = partialmethod(original, disable=True)
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        tqdm.__init__ = original
        logger.setLevel(level)
