"""What an int8 file takes beside: its weights as they were given, and the sentences that state its limits."""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import StoredWeights
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.formats.openvino import integer_layers
from edgevit_deploy.formats.openvino.integers import rounded_weights

if TYPE_CHECKING:
    import openvino
    from torch import nn

INTEGERS_NOTE = (
    "Takes {input}, returns float32. The {operators} convolutions and linear maps round their inputs and weights to "
    "8 bits; normalisations, softmax, GELU, the two products of attention, LocalProp's product and residual sums stay in float32."
)
EXECUTED_NOTE = (
    "On the CPU that wrote it {found} of these {operators} execute in integers, read from OpenVINO's executed graph; another "
    "CPU may execute fewer, and a session here says so."
)
SNIPPETS_ON_NOTE = (
    "Compiled with SNIPPETS_MODE=ENABLE, stored in the file too: OpenVINO's own default, and faster for this graph. In float32 "
    "files OpenVINO 2026.4.1's generated code returned wrong numbers at some image sizes; this file was judged with it on."
)


def put_weights(model: "openvino.Model", module: "nn.Module") -> None:
    """Put the integers and scales of a rounded module's weights into the model that it was converted to.

    OpenVINO makes both anew from the ends of each channel's range: scales differ in a last bit, and with them, here and there, an
    integer by 1. Whatever differs by more is another weight.

    Raises:
        ExportError: a weight of the model is in no integers, or is none of the module's.
    """
    from edgevit_deploy.deploy.quantised import stored

    given = list(stored(module).weights)
    try:
        found = rounded_weights(model)
    except RunError as error:
        raise ExportError(f"OpenVINO converted a rounded weight to something else: {error}") from error
    if len(found) != len(given):
        raise ExportError(f"OpenVINO keeps {len(found)} weights in integers, the network rounds {len(given)}")
    for weight, scales in found:
        twin = next((index for index, one in enumerate(given) if _nearly(one, weight, scales)), None)
        if twin is None:
            raise ExportError(f"OpenVINO's {weight.get_friendly_name()!r} is none of the network's weights, rounded")
        exact = given.pop(twin)
        _replace(weight, exact.values.reshape(weight.data.shape))
        _replace(scales, exact.scales.reshape(scales.data.shape))


def _nearly(one: StoredWeights, weight: "openvino.Node", scales: "openvino.Node") -> bool:
    if one.scales.size != scales.data.size or one.values.size != weight.data.size:
        return False
    # OpenVINO computes the scales anew in float32: off by the last bits, some 1e-7. Theirs are replaced by ours, so none is kept.
    if not np.allclose(scales.data.ravel(), one.scales, rtol=1e-6, atol=0):
        return False
    apart = weight.data.reshape(one.values.shape).astype(np.int16) - one.values
    return bool(np.abs(apart).max() <= 1)


def _replace(constant: "openvino.Node", values: NDArray[Any]) -> None:
    """Put other values in the place of a constant, which is read-only, under its name."""
    other = importlib.import_module("openvino.opset13").constant(values)
    other.set_friendly_name(constant.get_friendly_name())
    for reader in constant.output(0).get_target_inputs():
        reader.replace_source_output(other.output(0))


def integer_notes(operators: int, executed: Mapping[str, int], dtype: str) -> Iterator[str]:
    """Yield the limits of an int8 file.

    Args:
        operators: how many convolutions and linear maps it rounds.
        executed: layers by type and precision, as this CPU executes them.
        dtype: of the input.
    """
    yield INTEGERS_NOTE.format(input=dtype, operators=operators)
    yield EXECUTED_NOTE.format(found=integer_layers(executed), operators=operators)
    yield SNIPPETS_ON_NOTE
