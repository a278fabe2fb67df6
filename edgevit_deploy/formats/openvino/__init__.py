"""An OpenVINO IR folder: its two files, the settings that it must be run with, and what a compiled model really executes.

The settings are stored in the file, where OpenVINO keeps options (`runtime_options`), but the CPU plugin of 2026.4 does not take
them from there: whoever compiles the model passes them on.
"""

import collections
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.spec import Precision, TensorSpec

if TYPE_CHECKING:
    import openvino

XML_NAME, BIN_NAME = "model.xml", "model.bin"

HINT_NAME, SNIPPETS_NAME = "INFERENCE_PRECISION_HINT", "SNIPPETS_MODE"
HINTS: dict[Precision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""Of an int8 file the hint is for what stays in floating point. In bfloat16, with the generated code, int8 graphs at 64 x 64 had
0.9 to 4.3 times the error of their emulation, in float32 0.9 to 1.0 times (2026.4.1)."""

SNIPPETS: dict[Precision, str] = {**dict.fromkeys(HINTS, "DISABLE"), "int8": "ENABLE"}
"""The CPU plugin's code generator for fused operators, on by default, answers some shapes with wrong numbers (2026.4.1: the
original graph at 64 x 64 in f32, 74,000 times the noise of float32; the deploy graph there in bf16, 4.5 times that of bf16). In
the int8 graph it was right at nine sizes from 64 x 64 to 320 x 320, and it is faster; each file is judged with it on."""

STORED_AT = "runtime_options"

WORKERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
"""The layers that hold the weights and do the work; in which type they execute decides what a run proves."""

INTEGERS = ("i8", "u8")

HEAD = re.compile(rb"(<\?xml[^>]*\?>)?\s*<net ")
"""How the file starts: no document type between, in which XML names entities and other files."""
HEAD_BYTES = 1024


def load_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import over the network.

    A module that is None cannot be imported; OpenVINO then takes its own stub.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def settings_for(precision: Precision) -> dict[str, str]:
    """Return the CPU plugin's settings that a file of a precision is verified with."""
    return {HINT_NAME: HINTS[precision], SNIPPETS_NAME: SNIPPETS[precision]}


def read_ir(core: "openvino.Core", folder: Path) -> "openvino.Model":
    """Read a model folder.

    Raises:
        RunError: a file is missing or damaged, or `model.xml` is no IR: OpenVINO would try its other formats on it.
    """
    xml = folder / XML_NAME
    try:
        with xml.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise RunError(f"{XML_NAME} cannot be read ({error.strerror}); copy or convert it again") from error
    if not HEAD.match(head):
        raise RunError(f"{XML_NAME} is not OpenVINO IR (it does not start with <net>); copy or convert it again")
    if not (folder / BIN_NAME).is_file():
        raise RunError(f"{BIN_NAME} is missing beside {XML_NAME}; copy or convert it again")
    try:
        return core.read_model(xml, folder / BIN_NAME)
    except RuntimeError as error:
        raise RunError(f"OpenVINO cannot read it: {reason(error)}; copy or convert it again") from error


def stored_settings(model: "openvino.Model") -> dict[str, str]:
    """Return the settings that a file asks to be run with.

    Raises:
        RunError: they are not there, or not those of any precision.
    """
    names = (HINT_NAME, SNIPPETS_NAME)
    found = {name: model.get_rt_info([STORED_AT, name]).astype(str) for name in names if model.has_rt_info([STORED_AT, name])}
    if found not in [settings_for(precision) for precision in HINTS]:
        raise RunError(f"it asks for the settings {found}, those of no precision ({', '.join(HINTS)}); convert it again")
    return found


def check_ends(model: "openvino.Model", inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Compare a model's inputs and outputs with what they should be.

    Raises:
        RunError: another name, type or shape; a free axis is -1.
    """
    found = [_end(port) for port in (*model.inputs, *model.outputs)]
    asked = [
        ([spec.name], spec.dtype, [size if isinstance(size, int) else -1 for size in spec.shape]) for spec in (*inputs, *outputs)
    ]
    if found != asked:
        raise RunError(f"it has the inputs and outputs {found}, expected {asked}; convert it again")


def _end(port: Any) -> tuple[list[str], str, list[int]]:
    sizes = [axis.get_length() if axis.is_static else -1 for axis in port.get_partial_shape()]
    return sorted(port.get_names()), port.get_element_type().to_dtype().name, sizes


def one_convolution(*, rounded: bool = False) -> "openvino.Model":
    """Return the smallest model of which the plugin tells what it computes in: one of `WORKERS`.

    Args:
        rounded: its input and its weights are rounded to integers.
    """
    ops = importlib.import_module("openvino.opset13")

    def ended(value: Any) -> Any:
        low, high = np.float32(-1.28), np.float32(1.27)
        return ops.fake_quantize(value, low, high, low, high, 256) if rounded else value

    image = ops.parameter([1, 4, 8, 8], name="image")
    weights = ops.constant(np.ones((4, 4, 1, 1), np.float32))
    return load_openvino().Model([ops.convolution(ended(image), ended(weights), [1, 1], [0, 0], [0, 0], [1, 1])], [image])


def compile_for_cpu(
    core: "openvino.Core", model: "openvino.Model", settings: Mapping[str, str | int | bool]
) -> "openvino.CompiledModel":
    """Compile a model for the CPU plugin.

    Raises:
        RunError: with OpenVINO's own words.
    """
    try:
        return core.compile_model(model, "CPU", dict(settings))
    except RuntimeError as error:
        raise RunError(f"OpenVINO cannot compile it: {reason(error)}") from error


def executed_layers(compiled: "openvino.CompiledModel") -> dict[str, int]:
    """Count what a compiled model executes, as `Type precision`, from the plugin's own execution graph.

    The precision is that of the activations that go in. The graph's `runtimePrecision` is not asked: for a layer with weights
    stored in float16 that computes in float32 it says float16 (2026.4.1).
    """
    nodes = [node for node in compiled.get_runtime_model().get_ops() if node.inputs()]
    kinds = [(node.get_rt_info()["layerType"].astype(str), node.input(0).get_element_type().get_type_name()) for node in nodes]
    return dict(sorted(collections.Counter(f"{layer} {precision}" for layer, precision in kinds).items()))


def integer_layers(executed: Mapping[str, int]) -> int:
    """Return how many of the executed layers that hold weights take integers."""
    kinds = [(layer.split(), count) for layer, count in executed.items()]
    return sum(count for (kind, precision), count in kinds if kind in WORKERS and precision in INTEGERS)


def other_arithmetic(compiled: "openvino.CompiledModel", hint: str, integers: int = 0) -> str:
    """Say what a compiled model computes in if that is not what was asked for; the plugin does not refuse, it substitutes.

    Both are asked: what the plugin says that it does, and the type in which each layer with weights executes.

    Args:
        compiled: the model.
        hint: the precision of what is in floating point.
        integers: how many of its layers must execute in integers; without any, all are in floating point.
    """
    reported = compiled.get_property(HINT_NAME).get_type_name()
    if reported != hint:
        return f"this CPU computes in {reported} when asked for {hint}"
    executed = executed_layers(compiled)
    if integers:
        found = integer_layers(executed)
        return "" if found == integers else f"this CPU executes {found} of {integers} rounded layers in integers"
    workers = [layer for layer in executed if layer.split()[0] in WORKERS]
    others = [layer for layer in workers if layer.split()[1] != hint]
    if others or not workers:
        return f"this CPU executes {', '.join(others) or 'nothing that can be told'} when asked for {hint}"
    return ""


def reason(error: BaseException) -> str:
    """Return what an OpenVINO exception says last: it begins with the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
