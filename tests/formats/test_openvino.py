"""Reading an IR folder without trusting it, and the settings in it. The damaged files are in tests/runtimes/test_openvino.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.openvino import (
    BIN_NAME,
    STORED_AT,
    XML_NAME,
    check_ends,
    load_openvino,
    read_ir,
    reason,
    settings_for,
    stored_settings,
)
from edgevit_deploy.spec import TensorSpec

X = TensorSpec(name="x", shape=("batch", 3), dtype="float32")
Y = TensorSpec(name="y", shape=("batch", 3), dtype="float32")


@pytest.fixture
def relu(tmp_path: Path) -> Any:
    """A model of one operator, float32 (batch, 3), in memory."""
    ov = load_openvino()
    x = ov.opset1.parameter([-1, 3], dtype=np.float32, name="x")
    model = ov.Model([ov.opset1.relu(x)], [x])
    model.inputs[0].get_tensor().set_names({"x"})
    model.outputs[0].get_tensor().set_names({"y"})
    return model


def save(model: Any, folder: Path) -> Path:
    load_openvino().save_model(model, folder / XML_NAME)
    return folder


def test_a_written_model_is_read(relu: Any, tmp_path: Path) -> None:
    read = read_ir(load_openvino().Core(), save(relu, tmp_path))
    assert "Relu" in {node.get_type_name() for node in read.get_ops()}
    check_ends(read, (X,), (Y,))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_settings_survive_the_file(relu: Any, tmp_path: Path, precision: Any) -> None:
    for name, value in settings_for(precision).items():
        relu.set_rt_info(value, [STORED_AT, name])
    read = read_ir(load_openvino().Core(), save(relu, tmp_path))
    assert stored_settings(read) == settings_for(precision)


def test_a_model_without_settings_is_refused(relu: Any) -> None:
    with pytest.raises(
        RunError, match=r"asks for the settings \{\}, those of no precision \(fp32, fp16, bf16, int8\); convert it again"
    ):
        stored_settings(relu)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((TensorSpec(name="z", shape=("batch", 3), dtype="float32"),), (Y,)),
        ((TensorSpec(name="x", shape=(1, 3), dtype="float32"),), (Y,)),
        ((X,), (TensorSpec(name="y", shape=("batch", 3), dtype="float16"),)),
        ((X, X), (Y,)),
    ],
)
def test_other_ends_are_refused(relu: Any, inputs: Any, outputs: Any) -> None:
    with pytest.raises(RunError, match=r"it has the inputs and outputs .*, expected .*; convert it again"):
        check_ends(relu, inputs, outputs)


@pytest.mark.parametrize("head", [b"", b"\x08\x0a<net ", b"<!DOCTYPE net [<!ENTITY x SYSTEM 'y'>]><net ", b"<network "])
def test_what_is_no_ir_never_reaches_openvino(relu: Any, tmp_path: Path, head: bytes) -> None:
    """OpenVINO would try its other formats: ONNX, TensorFlow, TensorFlow Lite, PaddlePaddle."""
    folder = save(relu, tmp_path)
    (folder / XML_NAME).write_bytes(head)
    with pytest.raises(RunError, match="is not OpenVINO IR"):
        read_ir(None, folder)  # type: ignore[arg-type]


def test_a_missing_file_is_named(relu: Any, tmp_path: Path) -> None:
    folder = save(relu, tmp_path)
    (folder / BIN_NAME).unlink()
    with pytest.raises(RunError, match=r"model\.bin is missing beside model\.xml"):
        read_ir(None, folder)  # type: ignore[arg-type]
    (folder / XML_NAME).unlink()
    with pytest.raises(RunError, match=r"model\.xml cannot be read \(No such file or directory\)"):
        read_ir(None, folder)  # type: ignore[arg-type]


def test_the_reason_is_the_last_line() -> None:
    assert reason(RuntimeError("Exception from src/a.cpp:1:\nCheck 'b' failed\nIncorrect weights\n\n")) == "Incorrect weights"
    assert reason(RuntimeError()) == "RuntimeError"


def test_importing_it_calls_nobody() -> None:
    """OpenVINO's telemetry reports each import over the network where its package is installed."""
    import sys

    load_openvino()
    assert sys.modules["openvino_telemetry"] is None
