"""Small OpenVINO models for tests, and what the CPU at hand can compute in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.formats.openvino import BIN_NAME, XML_NAME, load_openvino, read_ir
from edgevit_deploy.spec import Precision
from export.openvino import OpenVinoExporter, OpenVinoOptions
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[OpenVinoOptions] = SmallTarget(exporter=OpenVinoExporter(), defaults={"graph": "deploy"})


def cpu_computes_in(precision: Precision) -> bool:
    """Whether OpenVINO lists a precision among what this CPU has arithmetic for, before any model is compiled."""
    capabilities = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision.upper() in capabilities


def rewritten(source: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """Write a model folder anew with something changed in it, and nothing else."""
    model = read_ir(load_openvino().Core(), source)
    change(model)
    folder.mkdir()
    load_openvino().save_model(model, folder / XML_NAME, compress_to_fp16=False)
    assert (folder / BIN_NAME).is_file()
    return folder


def put(constant: Any, values: Any) -> None:
    """Put other values in the place of a constant."""
    other = load_openvino().opset13.constant(np.asarray(values, dtype=constant.data.dtype).reshape(constant.data.shape))
    for reader in constant.output(0).get_target_inputs():
        reader.replace_source_output(other.output(0))
