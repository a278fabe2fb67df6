"""Rounding in a Core ML program: how what rounds in a trace becomes operators of MIL, and whether all of it is there.

coremltools' frontend for traces knows neither `fake_quantize` nor `take`, and takes converters of one's own for what it does not
know. So a rounded network goes the way of every other one, with free axes, image inputs and all.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.coreml import DEQUANTISED, import_coremltools, load_main, producer, read_package

if TYPE_CHECKING:
    from torch import nn


@cache
def register_rounding() -> None:
    """Teach coremltools the three operators of a trace that round, once in a process."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - its documentation's own name for it
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs
    from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
    from coremltools.converters.mil.mil.block import is_current_opset_version_compatible_with as is_for

    def fake_quantize_per_tensor_affine(context: Any, node: Any) -> None:
        x, scale, zero_point, *_ = _get_inputs(context, node, expected=5)
        grid: dict[str, Any] = {"scale": np.float32(scale.val)}
        if zero_point.val != 0:
            grid["zero_point"] = np.int8(zero_point.val)
        integers = mb.quantize(input=x, output_dtype="int8", name=f"{node.name}_integers", **grid)
        context.add(mb.dequantize(input=integers, name=node.name, **grid))

    def fake_quantize_per_channel_affine(context: Any, node: Any) -> None:
        weight, scales, _, axis, lowest, highest = _get_inputs(context, node, expected=6)
        along = [-1 if place == axis.val else 1 for place in range(weight.val.ndim)]
        spread = scales.val.reshape(along)
        integers = np.clip(np.round(weight.val / spread), lowest.val, highest.val).astype(np.int8)
        if is_for(ct.target.iOS18):
            context.add(mb.constexpr_blockwise_shift_scale(data=integers, scale=spread, name=node.name))
            return
        grid = {"zero_point": np.int8(0), "scale": scales.val, "axis": np.int32(axis.val)}
        context.add(mb.constexpr_affine_dequantize(quantized_data=integers, name=node.name, **grid))

    def take(context: Any, node: Any) -> None:
        table, places = _get_inputs(context, node, expected=2)
        integers = places.val.astype(np.uint8)
        if is_for(ct.target.iOS18):
            lut = table.val.reshape([1] * integers.ndim + [-1, 1])
            context.add(mb.constexpr_lut_to_dense(indices=integers, lut=lut, name=node.name))
            return
        shape = np.array(integers.shape, dtype=np.uint32)
        context.add(mb.constexpr_lut_to_dense(indices=integers.flatten(), lut=table.val, shape=shape, name=node.name))

    for converter in (fake_quantize_per_tensor_affine, fake_quantize_per_channel_affine, take):
        register_torch_op(converter, override=True)


def rounded_operators(module: "nn.Module") -> int:
    """Return how many operators of a network that is to be written round."""
    from edgevit_deploy.deploy.quantised import QuantisedOperator

    return sum(isinstance(part, QuantisedOperator) for part in module.modules())


def check_rounded(package: Path, scheme: Scheme, expected: int) -> dict[str, int]:
    """Compare what a written program rounds with how many operators of the network do; return it for people to read.

    Args:
        package: the .mlpackage.
        scheme: what is rounded, and how.
        expected: what `rounded_operators` says of the network.

    Raises:
        ExportError: an operator has no weight in eight bits, or takes an input that is not rounded.
    """
    readers = list(_readers_of_eight_bits(load_main(read_package(package), package)))
    if len(readers) != expected:
        raise ExportError(f"{package.name}: {len(readers)} operators have weights in eight bits, {expected} should have")
    unrounded = [operation.name for operation in readers if producer(operation.inputs["x"]) != "dequantize"]
    if scheme.calibrated and unrounded:
        raise ExportError(f"{package.name}: {len(unrounded)} operators take an input that is not rounded, {unrounded[0]} first")
    return {"weights_in_eight_bits": expected, "inputs_in_eight_bits": expected - len(unrounded)}


def _readers_of_eight_bits(function: Any) -> Iterator[Any]:
    for operation in function.operations:
        if operation.op_type in ("conv", "linear") and producer(operation.inputs["weight"]) in DEQUANTISED:
            yield operation
