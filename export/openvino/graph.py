"""What a model in OpenVINO's memory holds, counted, and whether a written one is the converted one."""

import collections
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.openvino.integers import STORED_IN

if TYPE_CHECKING:
    import openvino

KEPT = "f32"
CONVERT = "Convert"
"""The type that a single number may keep, and the operator that turns what is stored in half back into float32."""


def check_same_graph(written: "openvino.Model", model: "openvino.Model", storage: str) -> None:
    """Refuse a written model that differs from the converted one in more than the storage of its weights.

    So an fp16 or bf16 file has the operators of its float32 twin, whose bound can see what theirs cannot. A single number (an
    attention scale) may stay in float32.

    Raises:
        ExportError: naming the first operator or weight that differs.
    """
    counts, twin_counts = count_operators(written), count_operators(model)
    for operator in sorted({*counts, *twin_counts} - {CONVERT}):
        if counts.get(operator) != twin_counts.get(operator):
            raise ExportError(
                f"OpenVINO wrote {counts.get(operator, 0)} {operator} operators and had converted {twin_counts.get(operator, 0)}"
            )
    for weight, twin in zip(weights_of(written), weights_of(model), strict=True):
        stored, name = storage_of(weight), weight.get_friendly_name()
        asked = STORED_IN if storage_of(twin) == STORED_IN else storage
        if stored != asked and not (stored == KEPT and weight.data.size == 1):
            raise ExportError(f"weight {name!r} is stored in {stored}, asked for: {asked}")
        if not np.array_equal(weight.data, twin.data.astype(weight.data.dtype)):
            raise ExportError(f"weight {name!r} is not what was converted, rounded to {stored}")


def weights_of(model: "openvino.Model") -> list[Any]:
    """Return a model's constants in floating point and in int8, in the order of computation, which writing keeps."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and (node.get_element_type().is_real() or storage_of(node) == STORED_IN)
    ]


def storage_of(constant: Any) -> str:
    """Return the type that a constant is stored in."""
    return str(constant.get_element_type().get_type_name())


def count_operators(model: "openvino.Model") -> dict[str, int]:
    """Count a model's operators by type; constants and conversions of stored types are operators in IR."""
    return dict(sorted(collections.Counter(node.get_type_name() for node in model.get_ops()).items()))


def count_computing(model: "openvino.Model") -> dict[str, int]:
    """Count the operators of a model that compute: not its ends, constants and the conversions of these as they are read."""
    counts = collections.Counter(
        node.get_type_name()
        for node in model.get_ops()
        if node.get_type_name() not in ("Parameter", "Result", "Constant")
        and not (node.get_type_name() == CONVERT and node.input_value(0).get_node().get_type_name() == "Constant")
    )
    return dict(sorted(counts.items()))


def count_weights(model: "openvino.Model") -> dict[str, int]:
    """Count the numbers in a model's weights by the type that they are stored in."""
    counts: collections.Counter[str] = collections.Counter()
    for node in weights_of(model):
        counts[storage_of(node)] += node.data.size
    return dict(sorted(counts.items()))
