"""A network of four operators that rounds, its Core ML packages, and copies of them with one thing wrong."""

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.quantised import emulation, quantised
from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.formats.coreml import DATA_FOLDER, WEIGHTS_PATH, read_package
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.spec import Precision
from export.coreml.convert import CoreMLOptions
from export.coreml.eight_bits import EIGHT_BITS
from tests.helpers.coreml import SMALL, changed, constant, operations

WEIGHTS_FILE = Path(DATA_FOLDER) / WEIGHTS_PATH / "weight.bin"


class FourOperators(nn.Module):
    """A convolution, a depthwise one and two linear maps, with a GELU and a mean between them that stay float."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 12, 8, 8)
        self.depth = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.fc = nn.Linear(12, 20)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.patch(x)).flatten(2).mean(-1)
        return self.head(nn.functional.gelu(self.fc(x)))


NETWORK = FourOperators().eval().requires_grad_(False)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 64, 64)).astype(np.float32)


RANGES: Ranges = observe(NETWORK, lambda: [pictures(16)])


def scheme_of(precision: Precision) -> Scheme:
    return EIGHT_BITS[precision].scheme


def plan_of(precision: Precision, *, target_os: Any = None, **changes: Any) -> ExportPlan[CoreMLOptions]:
    """A plan as the target makes it."""
    quantisation, options = EIGHT_BITS[precision], CoreMLOptions(target_os=target_os)
    rounded = {"graph": "deploy", "form": quantisation.form, "scheme": quantisation.scheme}
    return SMALL.plan_of(options=options, precision=precision, **{**rounded, **changes})


def emulated(precision: Precision) -> nn.Module:
    return emulation(NETWORK, scheme_of(precision), RANGES)


def built(plan: ExportPlan[CoreMLOptions], folder: Path, change: Callable[[nn.Module], None] = lambda _: None) -> Artifact:
    """Convert the network, after a change to what the exporter is given."""
    rounded = quantised(NETWORK, scheme_of(plan.precision), RANGES)
    change(rounded)
    return SMALL.build(plan, folder, prepare(rounded, plan.spec.preprocess, plan.takes, plan.returns, torch.float32))


def with_file(artifact: Artifact, path: Path) -> Artifact:
    return dataclasses.replace(artifact, path=path)


def double_the_last_scale(spec: Any) -> None:
    """Of what the head takes, where it is rounded and where it is read: coarser steps."""
    _multiply_the_last_scale(spec, 2)


def halve_the_last_scale(spec: Any) -> None:
    """The same way: finer steps, and all that is large is cut off."""
    _multiply_the_last_scale(spec, 0.5)


def double_a_scale_at_its_reader(spec: Any) -> None:
    """Rounded by one scale, read by another."""
    _multiply_the_last_scale(spec, 2, kinds=("dequantize",))


def feed_an_operator_unrounded(spec: Any) -> None:
    """The last linear map takes what was to be rounded."""
    reader = operations(spec, "linear")[-1]
    made_by = {
        operation.outputs[0].name: operation for operation in operations(spec, "quantize") + operations(spec, "dequantize")
    }
    dequantised = made_by[reader.inputs["x"].arguments[0].name]
    quantised_by = made_by[dequantised.inputs["input"].arguments[0].name]
    reader.inputs["x"].arguments[0].name = quantised_by.inputs["input"].arguments[0].name


def swap_two_scales(package: Path) -> None:
    """Of two channels of the first operator."""
    _edit_weights(package, "scale", np.float16, lambda scales: scales[[1, 0, *range(2, len(scales))]])


def round_to_seven_bits(package: Path) -> None:
    """The integers of the first operator's weights to even ones."""
    _edit_weights(package, "quantized_data", np.int8, lambda integers: integers // 2 * 2)


def _multiply_the_last_scale(spec: Any, factor: float, kinds: tuple[str, ...] = ("quantize", "dequantize")) -> None:
    for kind in kinds:
        tensor = constant(spec, operations(spec, kind)[-1], "scale")
        tensor.bytes.values = (np.frombuffer(tensor.bytes.values, np.float16) * np.float16(factor)).tobytes()


def _edit_weights(package: Path, attribute: str, dtype: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change what one attribute of the first constant in eight bits has in the file of weights.

    An entry there begins with 64 bytes: a mark, the type, how many bytes its values have, and where they are.
    """
    first = operations(read_package(package), "constexpr_affine_dequantize")[0]
    entry = first.attributes[attribute].blobFileValue.offset
    data = bytearray((package / WEIGHTS_FILE).read_bytes())
    size, start = struct.unpack_from("<QQ", data, entry + 8)
    values = np.frombuffer(bytes(data[start : start + size]), dtype)
    data[start : start + size] = change(values).astype(dtype).tobytes()
    (package / WEIGHTS_FILE).write_bytes(bytes(data))


def copy_of(package: Path, folder: Path, fault: Callable[[Any], None]) -> Path:
    """A copy with a fault in its specification, or in its file of weights."""
    if fault in (swap_two_scales, round_to_seven_bits):
        copy = changed(package, folder / "model.mlpackage", lambda _: None)
        fault(copy)
        return copy
    return changed(package, folder / "model.mlpackage", fault)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a package."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
