"""Small Core ML packages for tests: conversions of a seeded XXS, and copies of them with one thing changed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, WEIGHTS_PATH, main_operations, read_package
from export.coreml import CoreMLExporter
from export.coreml.convert import CoreMLOptions
from tests.helpers.targets import SmallTarget

LABELS = ("zebra", "ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis")
"""Not in alphabetical order, so that an order by name shows."""


SMALL: SmallTarget[CoreMLOptions] = SmallTarget(exporter=CoreMLExporter(), defaults={"labels": LABELS})


def changed(package: Path, destination: Path, change: Callable[[Any], None]) -> Path:
    """Copy a package and change its specification."""
    copy = Path(shutil.copytree(package, destination))
    spec = read_package(package)
    change(spec)
    (copy / DATA_FOLDER / MODEL_PATH).write_bytes(spec.SerializeToString())
    return copy


def operations(spec: Any, kind: str) -> list[Any]:
    return [operation for operation in main_operations(spec) if operation.type == kind]


def constant(spec: Any, operation: Any, parameter: str) -> Any:
    """The tensor value of a constant operand, to be changed in place."""
    name = operation.inputs[parameter].arguments[0].name
    (const,) = [other for other in operations(spec, "const") if other.outputs[0].name == name]
    return const.attributes["val"].immediateValue.tensor


def scale_an_attention(spec: Any) -> None:
    """One attention's softmax temperature, 5 % off."""
    for operation in operations(spec, "mul"):
        tensor = constant(spec, operation, "y")
        if tensor.HasField("floats"):
            tensor.floats.values[0] *= 1.05
            return
        if tensor.HasField("bytes"):
            tensor.bytes.values = (np.frombuffer(tensor.bytes.values, np.float16) * np.float16(1.05)).tobytes()
            return
    raise AssertionError("no attention scale found")


def approximate_a_gelu(spec: Any) -> None:
    """One GELU in its tanh form."""
    constant(spec, operations(spec, "gelu")[5], "mode").strings.values[0] = "TANH_APPROXIMATION"


def raise_an_epsilon(spec: Any) -> None:
    """One LayerNorm with PyTorch's default epsilon instead of its own."""
    for operation in operations(spec, "layer_norm"):
        tensor = constant(spec, operation, "epsilon")
        if tensor.HasField("floats") and tensor.floats.values[0] < 2e-6:
            tensor.floats.values[0] = 1e-5
            return
    raise AssertionError("no small epsilon found")


def zero_some_weights(package: Path) -> None:
    """Overwrite 1000 bytes of the largest tensor with zeros; the file keeps its size."""
    path = package / DATA_FOLDER / WEIGHTS_PATH / "weight.bin"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1000] = bytes(1000)
    path.write_bytes(data)
