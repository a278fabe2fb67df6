"""What a runtime lets a file do, and the sample in C++ does not: bytes of another type, names on the terminal, substitutes."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runtimes.openvino import OpenVinoSession
from tests.helpers import cpp
from tests.helpers.bundles import edit_manifest, rehash

pytestmark = pytest.mark.slow

EVIL = "\x1b[31mevil\nedgevit: all good"

CONSTANTS = {"zero": [0.0], "sevens": [7.0, 7.0]}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(cpp.tiny_bundle("onnx"), tmp_path / "bundle")


def refused(bundle: Path) -> str:
    """One line on stderr, whatever the runtime has to say."""
    done = cpp.edgevit(bundle, "--golden", "--repeat", 0)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "\x1b" not in done.stderr
    return done.stderr


def _model(bundle: Path, kind: int, classes: int = 10, *, name: str = "last", output: str = "logits") -> None:
    """Write an ONNX file that returns zeros of a type, (1, classes), for any picture."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0, axes=[1, 2, 3]),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "zeros"], ["floats"]),
        helper.make_node("Cast", ["floats"], [output], to=kind, name=name),
    ]
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1]),
        helper.make_tensor("zeros", TensorProto.FLOAT, [1, classes], [0.0] * classes),
    ]
    ends = (
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(output, kind, [1, classes])],
    )
    graph = helper.make_graph(nodes, "made", *ends, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, bundle / "model.onnx")
    rehash(bundle)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.DOUBLE])
def test_an_output_of_another_type(bundle: Path, kind: int) -> None:
    """Read as float32 it would be bytes of something else, up to behind its end."""
    _model(bundle, kind)
    assert "output logits is not float32" in refused(bundle)


def test_an_output_that_is_one(bundle: Path) -> None:
    """The control: of the right type and size, and of wrong numbers."""
    _model(bundle, TensorProto.FLOAT)
    done = cpp.edgevit(bundle, "--golden", "--repeat", 0)
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stdout


def test_onnx_runtimes_own_format() -> None:
    done = cpp.edgevit(cpp.tiny_bundle("onnx", "fp32", "--format", "ort"), "--golden", "--repeat", 0)
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout


def test_a_file_of_floats_is_given_no_bytes(bundle: Path) -> None:
    """A manifest that says bytes throughout, of a file that takes floats: it would read four of them as one."""

    def say_bytes(document: dict) -> None:
        document["inputs"][0]["dtype"] = document["conversion"]["takes"] = "uint8"
        document["golden"]["input"]["path"] = "golden/input.u8"

    floats = bundle / "golden/input.f32"
    (bundle / "golden/input.u8").write_bytes(bytes(floats.stat().st_size // 4))
    floats.unlink()
    edit_manifest(bundle, say_bytes)
    rehash(bundle)
    assert "data type" in refused(bundle)


@pytest.mark.parametrize("classes", [9, 11])
def test_an_output_of_another_size(bundle: Path, classes: int) -> None:
    _model(bundle, TensorProto.FLOAT, classes)
    assert f"it returned {classes} values for 10 classes; convert again" in refused(bundle)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        *((target, kind) for target in ("onnx", "openvino", "executorch") for kind in ("text", "nothing", "half")),
        ("litert", "text"),
        ("litert", "nothing"),  # half a file, with its hash, ends LiteRT 2.3 itself
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, target: str, kind: str) -> None:
    bundle = shutil.copytree(cpp.tiny_bundle(target), tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    path = bundle / manifest["path"]
    if path.is_dir():
        path = path / "model.xml"
    data = path.read_bytes()
    path.write_bytes({"text": b"no model", "nothing": b"", "half": data[: len(data) // 2]}[kind])
    rehash(bundle)
    assert "does not load it" in refused(bundle)


def test_names_in_a_file_do_not_reach_the_terminal(bundle: Path) -> None:
    """A node that fails when it runs, in ONNX Runtime, which logs that."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0, axes=[1, 2, 3]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sevens"], ["sides"]),
        helper.make_node("Cast", ["sides"], ["shape"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["mean", "shape"], ["logits"], name=EVIL),
    ]
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values) for name, values in CONSTANTS.items()]
    ends = (
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["a", "b"])],
    )
    graph = helper.make_graph(nodes, "made", *ends, initializer=constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), bundle / "model.onnx")
    rehash(bundle)
    assert "[31mevil" in refused(bundle)


def test_a_back_end_that_an_executorch_file_names(tmp_path: Path) -> None:
    bundle = shutil.copytree(cpp.tiny_bundle("executorch"), tmp_path / "bundle")
    (path,) = bundle.glob("*.pte")
    data = path.read_bytes()
    assert b"XnnpackBackend" in data
    path.write_bytes(data.replace(b"XnnpackBackend", b"\x1b[31mevil\nok!!"))
    rehash(bundle)
    assert "ExecuTorch does not load it" in refused(bundle)


def test_damaged_offsets_of_an_executorch_file(tmp_path: Path) -> None:
    """A flatbuffer whose root lies nowhere, which is followed where nobody verifies it."""
    bundle = shutil.copytree(cpp.tiny_bundle("executorch"), tmp_path / "bundle")
    (path,) = bundle.glob("*.pte")
    data = bytearray(path.read_bytes())
    data[0:4] = (0x7FFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    rehash(bundle)
    assert "ExecuTorch does not verify it" in refused(bundle)


def test_other_arithmetic_proves_nothing_of_the_file(tmp_path: Path) -> None:
    """The setting in the file is a hint; where the CPU does not follow it, the file's own arithmetic was not run."""
    if OpenVinoSession.executes("fp16"):
        pytest.skip("this CPU computes in float16")
    bundle = shutil.copytree(cpp.tiny_bundle("openvino"), tmp_path / "bundle")
    (path,) = bundle.rglob("model.xml")
    text = path.read_text()
    assert text.count('INFERENCE_PRECISION_HINT value="f32"') == 1
    path.write_text(text.replace('INFERENCE_PRECISION_HINT value="f32"', 'INFERENCE_PRECISION_HINT value="f16"'))
    rehash(bundle)
    done = cpp.edgevit(bundle, "--golden", "--repeat", 0, "--json")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["golden"][0]["passed"]
    assert document["substitute"].endswith("when asked for f16, so it is run in float32")
    assert document["verdict"] == "built, not run"
    assert f"*** built, not run ***\n*** {document['substitute']} ***\n" in cpp.edgevit(bundle, "--golden").stdout
    values = np.fromfile(bundle / "golden/output.f32", "<f4")
    (values + 1).tofile(bundle / "golden/output.f32")
    rehash(bundle)
    assert cpp.edgevit(bundle, "--golden", "--repeat", 0).returncode == 1, "what is wrong is worse than what was not run"
    edit_manifest(bundle, lambda document: document["parity"].update(status="failed"))
    assert json.loads(cpp.edgevit(bundle, "--golden", "--json").stdout)["verdict"] == "failed"
