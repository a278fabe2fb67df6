"""What is written: nothing that is not needed, nothing of this machine, the same bytes everywhere; and what is left alone."""

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from edgevit_deploy.errors import ExportError
from edgevit_deploy.model.edgevit import GlobalSparseAttn
from export.onnx import OnnxExporter
from tests.helpers.onnx import SMALL, baked_forward, export, in_a_child, make_plan, operators, run
from tests.helpers.small import SMALL_SIZE


def test_static_file_holds_no_shape_arithmetic(plain):
    found = operators(plain)
    assert not {"Shape", "Slice", "Concat", "Unsqueeze", "Constant", "Identity", "Cast"} & set(found)
    assert found["Gather"] == 3 * 7  # q, k and v of each attention, not a size
    assert found["Gemm"] == 1  # the head: tokens keep MatMul + Add instead of Reshape + Gemm + Reshape
    assert plain.operators == dict(found)
    assert plain.facts["nodes"] == found.total()
    assert plain.facts["size_bytes"] == plain.path.stat().st_size


def test_weights_are_inside_and_nothing_is_stamped_in(plain, tmp_path):
    written = onnx.load(plain.path, load_external_data=False)
    assert list(plain.path.parent.iterdir()) == [plain.path]
    assert not any(tensor.data_location == TensorProto.EXTERNAL for tensor in written.graph.initializer)
    assert {entry.key: entry.value for entry in written.metadata_props} == {
        "model": "edgevit_xxs",
        "precision": "fp32",
        "input": "tensor, RGB, planar",
    }
    assert not any([written.doc_string, written.graph.doc_string, *(node.doc_string for node in written.graph.node)])
    content = plain.path.read_bytes()
    for path in (str(Path.cwd()), str(Path.home()), str(plain.path.parent), sys.prefix):
        assert path == "/" or path.encode() not in content


def test_a_second_export_gives_the_same_bytes(plain, tmp_path):
    assert export(tmp_path).path.read_bytes() == plain.path.read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_another_process_in_another_directory_gives_the_same_bytes(plain, half, tmp_path, precision):
    in_a_child(tmp_path, f"export_here({precision!r})", PYTHONHASHSEED="12345")
    expected = plain if precision == "fp32" else half
    assert (tmp_path / "model.onnx").read_bytes() == expected.path.read_bytes()


def test_nothing_is_printed_and_no_warning_leaks(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)  # int() of a traced size: a TracerWarning each
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(tmp_path)
        with pytest.raises(ExportError):
            export(tmp_path, dynamic_size=True)
    assert [str(warning.message) for warning in caught] == []
    assert capfd.readouterr() == ("", "")


def test_the_module_is_left_as_it_was(tmp_path):
    module = SMALL.module_for()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    OnnxExporter().export(module, make_plan(), tmp_path)
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert next(module.parameters()).dtype == torch.float32
    assert not module.training


def test_notes_state_the_limits(plain, free, half):
    assert "ONNX Runtime 1.17" in plain.notes[0]
    assert any("multiples of 32" in note for note in free.notes)
    assert any("float16" in note for note in half.notes)
    assert set(plain.tools) == {"onnx", "onnxruntime", "onnxsim"}


def test_a_size_that_is_no_multiple_of_32_is_not_caught_by_the_file(free):
    """The note about it is true: 66 x 66 runs, on 64 x 64 of it."""
    image = np.random.default_rng(0).standard_normal((1, 3, 66, 66)).astype(np.float32)
    np.testing.assert_array_equal(*run(free.path, image, image[:, :, :64, :64]))


def test_usage_snippet_runs(plain, tmp_path, monkeypatch):
    """The Python of the bundle's README, as it stands there."""
    images = np.random.default_rng(0).standard_normal((2, 3, *SMALL_SIZE)).astype("<f4")
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images.tobytes())
    (tmp_path / "model.onnx").write_bytes(plain.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", OnnxExporter.usage, flags=re.DOTALL)
    names = {}
    exec(snippet, names)
    np.testing.assert_allclose(names["outputs"], *run(plain.path, images[:1]), rtol=0, atol=1e-5)  # threads change the sums


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read on Linux only")
def test_full_size_export_stays_well_below_two_gigabytes(tmp_path):
    """VmHWM, since getrusage's ru_maxrss starts at what the parent used: here everything that was ever tested."""
    call = "export_here('fp32', image_size=(224, 224))\nprint(open('/proc/self/status').read())"
    peak_kib = int(in_a_child(tmp_path, call).partition("VmHWM:")[2].split()[0])
    assert peak_kib * 1024 < 1.2 * 2**30
