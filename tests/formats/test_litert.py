"""What a `.tflite` file says of itself, read from one that was written by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.litert import SIGNATURE, check_identifier, find_signature, read_ends
from edgevit_deploy.spec import TensorSpec
from tests.helpers.litert import write_handwritten


def test_a_good_file_is_taken(tmp_path: Path) -> None:
    check_identifier(write_handwritten(tmp_path / "model.tflite"))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL2"])
def test_another_identifier_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"it is no \.tflite file: bytes 4 to 7 are b'.*', expected b'TFL3'"):
        check_identifier(path)


@pytest.mark.parametrize("names", [[], ["other"], ["other", SIGNATURE]])
def test_another_signature_is_refused(names: list[str]) -> None:
    interpreter = SimpleNamespace(get_signature_list=lambda: dict.fromkeys(names))
    with pytest.raises(RunError, match=r"it has the signatures \[.*\], expected \['serving_default'\]; convert it again"):
        find_signature(interpreter)


def test_ends_are_read(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    signature = find_signature(Interpreter(model_path=str(write_handwritten(tmp_path / "model.tflite", shape=(1, 3, 4, 5)))))
    assert read_ends(signature.get_input_details()) == (TensorSpec(name="x", shape=(1, 3, 4, 5), dtype="float32"),)
    assert read_ends({"n": {"shape": np.array([7]), "dtype": np.int32}}) == (TensorSpec(name="n", shape=(7,), dtype="int32"),)
