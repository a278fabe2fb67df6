"""What an IR file rounds to integers, read from it: steps of activations, and int8 weights with a scale for each channel.

An activation is rounded by a FakeQuantize of 256 levels, which states the values of the lowest and the highest. A weight is an
int8 constant that is turned into float32 and multiplied by its scales.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError

if TYPE_CHECKING:
    import openvino

ROUNDS, CONSTANT, CONVERT, TIMES = "FakeQuantize", "Constant", "Convert", "Multiply"
LEVELS = 256
LOWEST, HIGHEST = -128, 127
STORED_IN = "i8"


def what_is_rounded(model: "openvino.Model") -> Stored:
    """Return the scales, zero points and integers of a model.

    Raises:
        RunError: it rounds in a way that is never written here.
    """
    return Stored(
        activations=tuple(_grid(node) for node in model.get_ordered_ops() if node.get_type_name() == ROUNDS),
        weights=tuple(
            StoredWeights(scales=np.array(scales.data).ravel(), values=_by_channel(weight, scales))
            for weight, scales in rounded_weights(model)
        ),
    )


def integer_weights(model: "openvino.Model") -> int:
    """Return how many of a model's weights are stored as integers."""
    return sum(1 for node in model.get_ops() if _is_integer(node))


def rounded_weights(model: "openvino.Model") -> "list[tuple[openvino.Node, openvino.Node]]":
    """Return the constants that hold the integers and the scales of each weight, in the order of computation.

    Raises:
        RunError: as `what_is_rounded`.
    """
    return [(node, _scales_behind(node)) for node in model.get_ordered_ops() if _is_integer(node)]


def _is_integer(node: Any) -> bool:
    return node.get_type_name() == CONSTANT and node.get_element_type().get_type_name() == STORED_IN  # type: ignore[no-any-return]


def _scales_behind(weight: Any) -> Any:
    """Follow an int8 constant to the multiplication by its scales; where several read it, they are the same."""
    convert = _only_reader(weight, CONVERT)
    times = _only_reader(convert, TIMES)
    scales = times.input_value(1).get_node()
    if scales.get_type_name() != CONSTANT or scales.get_element_type().get_type_name() != "f32":
        raise RunError(f"weight {weight.get_friendly_name()!r} has no float32 scales; convert it again")
    if np.size(scales.data) != weight.data.shape[0]:
        raise RunError(
            f"weight {weight.get_friendly_name()!r} has {np.size(scales.data)} scales, expected one for each of its "
            f"{weight.data.shape[0]} channels; convert it again"
        )
    return scales


def _only_reader(node: Any, kind: str) -> Any:
    readers = [port.get_node() for port in node.output(0).get_target_inputs()]
    if [reader.get_type_name() for reader in readers] != [kind]:
        found = ", ".join(reader.get_type_name() for reader in readers) or "nothing"
        raise RunError(f"{node.get_friendly_name()!r} is read by {found}, expected one {kind}; convert it again")
    return readers[0]


def _by_channel(weight: Any, scales: Any) -> NDArray[np.int8]:
    return np.array(weight.data, dtype=np.int8).reshape(np.size(scales.data), -1)


def _grid(node: Any) -> tuple[float, int]:
    """Return the scale and the zero point of a FakeQuantize, whose ends are scale * (-128 or 127 - zero point).

    Both are rounded to float32. A power of two times the scale is not, so that with a zero point of 0 it is exact.
    """
    name, ends = node.get_friendly_name(), [node.input_value(port).get_node() for port in range(1, 5)]
    single = all(end.get_type_name() == CONSTANT and np.size(end.data) == 1 for end in ends)
    if not single or node.get_attributes()["levels"] != LEVELS:
        raise RunError(f"{name!r} does not round to {LEVELS} levels of one scale; convert it again")
    low, high, low_out, high_out = (float(np.ravel(end.data)[0]) for end in ends)
    if (low, high) != (low_out, high_out) or not low < high:
        raise RunError(f"{name!r} rounds {low:g} to {high:g} and gives {low_out:g} to {high_out:g}; convert it again")
    zero_point = round(LOWEST - low * (LEVELS - 1) / (high - low))
    scale = low / LOWEST if zero_point == 0 else float(np.float32((high - low) / (LEVELS - 1)))
    expected = [scale * (end - zero_point) for end in (LOWEST, HIGHEST)]
    # Ends and scale are float32, rounded once or twice: some 1e-7. A zero point off by one moves an end by 1/255 or more.
    if not np.allclose((low, high), expected, rtol=1e-6, atol=0):
        raise RunError(f"{name!r} rounds {low:g} to {high:g}, no steps of one size with a whole zero point; convert it again")
    return scale, zero_point
