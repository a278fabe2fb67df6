"""The ONNX exporter against float64, and against everything that could go wrong between the trace and the written file."""

import collections
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.model.edgevit import GlobalSparseAttn, to_features, to_tokens
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import create_model
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference
from export import onnx as target
from export.onnx import OPSETS, OnnxExporter, OnnxOptions
from export.onnx import fp16 as onnx_fp16
from export.onnx.simplify import largest_errors, make_trials
from tests.helpers.bounds import bound_of
from tests.helpers.small import ends, plan_for, prepared, small_network

SIZE = (64, 64)
SECOND_SIZE = (96, 160)


@pytest.fixture(scope="module")
def network():
    return small_network(seed=7)


@pytest.fixture(scope="module")
def reference(network):
    return Reference(network, network.spec.preprocess)


def make_plan(network, *, opset=20, simplify=True, **changes):
    return plan_for(network.spec, OnnxOptions(opset=opset, simplify=simplify), **changes)


def make_module(network, takes="tensor"):
    return prepared(network, torch.float32, takes)


def export(network, folder, **changes):
    plan = make_plan(network, **changes)
    folder.mkdir(exist_ok=True)
    return OnnxExporter().export(make_module(network, plan.takes), plan, folder)


@pytest.fixture(scope="module")
def plain(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def free(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("free"), dynamic_batch=True, dynamic_size=True)


@pytest.fixture(scope="module")
def half(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("half"), precision="fp16")


def run(model, *feeds):
    """Run a file, or the bytes of one, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"input": images})[0] for images in feeds]


def error_and_bound(artifact, reference, *, batch=1, size=SIZE, takes="tensor", precision="fp32"):
    """The largest error over all probes, and what the project allows: k times PyTorch's own error on the same probes."""
    probes = make_probes(size, reference._preprocess, takes, seed=3)
    truth = reference.truth(probes, ends(takes, "logits"), precision)
    starts = range(0, len(probes.inputs), batch)
    rows = [np.arange(start, start + batch) % len(probes.inputs) for start in starts]
    outputs = run(artifact.path, *(probes.inputs[row] for row in rows))
    errors = [np.abs(output - truth.outputs["logits"][row]).max() for output, row in zip(outputs, rows, strict=True)]
    return max(errors), bound_of("onnx", precision).k * truth.noise["logits"]


def operators(artifact):
    return collections.Counter(node.op_type for node in onnx.load(artifact.path).graph.node)


# What it computes


@pytest.mark.parametrize("simplify", [True, False])
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_computes_what_float64_does(network, reference, tmp_path, opset, simplify):
    artifact = export(network, tmp_path, opset=opset, simplify=simplify)
    error, bound = error_and_bound(artifact, reference)
    assert error <= bound
    written = onnx.load(artifact.path)
    assert [(entry.domain, entry.version) for entry in written.opset_import] == [("", opset)]
    assert written.ir_version == (8 if opset < 19 else 9)  # onnx's table of versions
    assert operators(artifact)["Gelu"] == (12 if opset == 20 else 0)


def test_fixed_batch(network, reference, tmp_path):
    artifact = export(network, tmp_path, batch=2)
    assert artifact.inputs[0].shape == (2, 3, 64, 64)
    assert artifact.outputs[0].shape == (2, 10)
    error, bound = error_and_bound(artifact, reference, batch=2)
    assert error <= bound


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [SIZE, SECOND_SIZE, (32, 224)])
def test_free_axes_work_at_other_batches_and_sizes(free, reference, batch, size):
    assert free.inputs[0].shape == ("batch", 3, "height", "width")
    assert free.outputs[0].shape == ("batch", 10)
    error, bound = error_and_bound(free, reference, batch=batch, size=size)
    assert error <= bound


@pytest.mark.parametrize("simplify", [True, False])
def test_free_size_with_a_fixed_batch(network, reference, tmp_path, simplify):
    artifact = export(network, tmp_path, dynamic_size=True, simplify=simplify)
    assert artifact.inputs[0].shape == (1, 3, "height", "width")
    assert artifact.outputs[0].shape == (1, 10)
    error, bound = error_and_bound(artifact, reference, size=SECOND_SIZE)
    assert error <= bound


def test_image_input(network, reference, tmp_path):
    artifact = export(network, tmp_path, takes="image")
    error, bound = error_and_bound(artifact, reference, takes="image")
    assert error <= bound


def test_a_wrong_epsilon_fails_the_same_bound(network, reference, tmp_path):
    """The bound of these tests can fail: the file of a network that differs in one epsilon is outside it."""
    wrong = create_model("edgevit_xxs", num_classes=10, image_size=64, norm_eps=1e-4)
    wrong.load_state_dict(network.state_dict())
    error, bound = error_and_bound(export(wrong, tmp_path), reference)
    assert error > 10 * bound


# Free axes that are not


def baked_forward(self, tokens, height, width):
    """GlobalSparseAttn.forward as converters meet it elsewhere: int() freezes the traced size."""
    if self.sample_rate == 1:
        return self.proj(self.attend(tokens))
    attended = self.attend(to_tokens(self.sampler(to_features(tokens, height, width))))
    spread = self.LocalProp(to_features(attended, int(height / self.sample_rate), int(width / self.sample_rate)))
    return self.proj(self.norm(to_tokens(spread)))


def test_a_baked_in_size_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)
    with pytest.raises(ExportError, match=r"does not run at 1x3x96x160, which it declares"):
        export(network, tmp_path, dynamic_size=True)
    assert not list(tmp_path.iterdir())


def test_only_the_second_size_shows_a_baked_in_one(network, monkeypatch):
    """The old trap: declared free, valid for the checker, right at the traced size."""
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)
    plan = make_plan(network, dynamic_size=True)
    module = make_module(network)
    graph = target.trace(module, plan)
    onnx.checker.check_model(graph, full_check=True)
    assert [dim.dim_param for dim in graph.graph.input[0].type.tensor_type.shape.dim] == ["", "", "height", "width"]
    first, second = make_trials(module, plan, bound_of("onnx", "fp32"))
    (error,) = largest_errors(graph, (first,))
    assert error <= first.atol[0]
    with pytest.raises(ExportError, match="does not run"):
        largest_errors(graph, (second,))


def test_a_baked_in_batch_is_refused(network, tmp_path, monkeypatch):
    attend = GlobalSparseAttn.attend
    monkeypatch.setattr(GlobalSparseAttn, "attend", lambda self, tokens: attend(self, tokens).reshape(1, -1, tokens.shape[2]))
    with pytest.raises(ExportError, match=r"does not run at 3x3x64x64"):
        export(network, tmp_path, dynamic_batch=True)


# What is written


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


def test_a_second_export_gives_the_same_bytes(network, plain, tmp_path):
    assert export(network, tmp_path).path.read_bytes() == plain.path.read_bytes()


def in_a_child(folder, call, **environment):
    """Run one call of this module in a new process, in another directory, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment}
    command = [sys.executable, "-c", f"from tests.export import test_onnx\n{call}"]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def export_here(precision, **changes):
    """What `in_a_child` calls: the same network, by seed, into the current directory."""
    model = create_model("edgevit_xxs", num_classes=10, image_size=64)
    randomise(model, 7)
    export(model, Path(), precision=precision, **changes)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_another_process_in_another_directory_gives_the_same_bytes(plain, half, tmp_path, precision):
    in_a_child(tmp_path, f"test_onnx.export_here({precision!r})", PYTHONHASHSEED="12345")
    expected = plain if precision == "fp32" else half
    assert (tmp_path / "model.onnx").read_bytes() == expected.path.read_bytes()


def test_nothing_is_printed_and_no_warning_leaks(network, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "forward", baked_forward)  # int() of a traced size: a TracerWarning each
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(network, tmp_path)
        with pytest.raises(ExportError):
            export(network, tmp_path, dynamic_size=True)
    assert [str(warning.message) for warning in caught] == []
    assert capfd.readouterr() == ("", "")


def test_the_module_is_left_as_it_was(network, tmp_path):
    module = make_module(network)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    OnnxExporter().export(module, make_plan(network), tmp_path)
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
    images = np.random.default_rng(0).standard_normal((2, 3, *SIZE)).astype("<f4")
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images.tobytes())
    (tmp_path / "model.onnx").write_bytes(plain.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", OnnxExporter.usage, flags=re.DOTALL)
    names = {}
    exec(snippet, names)
    np.testing.assert_allclose(names["outputs"], *run(plain.path, images[:1]), rtol=0, atol=1e-5)  # threads change the sums


@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read on Linux only")
def test_full_size_export_stays_well_below_two_gigabytes(tmp_path):
    """VmHWM, since getrusage's ru_maxrss starts at what the parent used: here everything that was ever tested."""
    call = "test_onnx.export_here('fp32', image_size=(224, 224))\nprint(open('/proc/self/status').read())"
    peak_kib = int(in_a_child(tmp_path, call).partition("VmHWM:")[2].split()[0])
    assert peak_kib * 1024 < 1.2 * 2**30


# Reading back


def rewritten(artifact, folder, change):
    model = onnx.load(artifact.path)
    change(model)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def set_opset(model):
    model.opset_import[0].version = 19


def set_ir_version(model):
    model.ir_version = 11


def add_domain(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def rename_output(model):
    model.graph.output[0].name = model.graph.node[-1].output[0] = "linear_28"


def free_the_batch(model):
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_opset, r"opset should be \{'': 20\}, the written file has \{'': 19\}"),
        (set_ir_version, "IR version should be 9, the written file has 11"),
        (add_domain, "opset should be"),
        (rename_output, "outputs should be .*logits.*linear_28"),
        (free_the_batch, "inputs should be .*'batch'"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for_is_refused(network, plain, tmp_path, change, message):
    plan = make_plan(network)
    path = rewritten(plain, tmp_path, change)
    with pytest.raises(ExportError, match=message):
        target.check_written(path, plan)


def test_another_opset_than_asked_is_refused(network, tmp_path):
    """What the newer exporter does: asked for 17, writes 18. The file is valid, so only reading it back shows it."""
    artifact = export(network, tmp_path, opset=18)
    plan = make_plan(network, opset=17)
    with pytest.raises(ExportError, match=r"opset should be \{'': 17\}, the written file has \{'': 18\}"):
        target.check_written(artifact.path, plan)


def test_weights_outside_the_file_are_refused(network, plain, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(plain.path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    plan = make_plan(network)
    with pytest.raises(ExportError, match="weights outside the file should be"):
        target.check_written(path, plan)


@pytest.mark.parametrize("opset", [9, 16, 21])
def test_an_opset_not_on_offer_is_refused_with_the_flag_that_works(network, opset):
    with pytest.raises(UsageError, match=rf"no --opset {opset}; use --opset 17 to 20"):
        OnnxExporter().refuse(make_plan(network, opset=opset))


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_on_offer_is_accepted(network, opset):
    OnnxExporter().refuse(make_plan(network, opset=opset, dynamic_batch=True, dynamic_size=True, takes="image"))


def test_pytorchs_refusal_is_one_line(network, tmp_path, monkeypatch):
    monkeypatch.setattr(GlobalSparseAttn, "attend", lambda self, tokens: torch.linalg.svd(tokens, full_matrices=False)[0])
    with pytest.raises(ExportError, match=r"PyTorch could not export to ONNX opset 20: ") as caught:
        export(network, tmp_path)
    assert "\n" not in str(caught.value)


# onnxsim


def with_identity(model):
    final = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = f"{final}_before"
    model.graph.node.extend(
        helper.make_node("Identity", [name], [f"{final}{suffix}"]) for name, suffix in [(f"{final}_before", "_0")]
    )
    names = [f"{final}_{number}" for number in range(500)]
    model.graph.node.extend(helper.make_node("Identity", [a], [b]) for a, b in zip(names, [*names[1:], final], strict=True))


def with_ballast(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(10**6, np.float32), "ballast"))


def with_a_wrong_weight(model):
    head = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("head.bias"))
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.float32(1e-4), head.name))


def with_a_missing_node(model):
    del model.graph.node[10]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_identity, "it has more nodes"),
        (with_ballast, "it is larger"),
        (with_a_wrong_weight, "its largest error is"),
        (with_a_missing_node, "it failed: ONNX Runtime cannot load"),
    ],
)
def test_a_simplification_that_gains_nothing_or_harms_is_dropped(network, tmp_path, monkeypatch, change, reason):
    real = onnxsim.simplify

    def sabotaged(model, **options):
        simplified, ok = real(model, **options)
        change(simplified)
        return simplified, ok

    without = export(network, tmp_path / "without", simplify=False)
    assert without.facts["simplification"] == "off"
    monkeypatch.setattr(onnxsim, "simplify", sabotaged)
    artifact = export(network, tmp_path / "with")
    assert artifact.facts["simplification"]["kept"] is False
    assert artifact.facts["simplification"]["reason"].startswith(reason)
    assert any(note.startswith(f"onnxsim's result was dropped: {reason}") for note in artifact.notes)
    assert artifact.path.read_bytes() == without.path.read_bytes()


def test_a_crashing_onnxsim_is_recorded(network, tmp_path, monkeypatch):
    def crash(model, **options):
        raise RuntimeError("inconsistent shapes\nand a long trace")

    monkeypatch.setattr(onnxsim, "simplify", crash)
    artifact = export(network, tmp_path)
    assert artifact.facts["simplification"]["reason"] == "it failed: inconsistent shapes"


def test_a_good_simplification_is_kept_with_its_figures(plain):
    facts = plain.facts["simplification"]
    assert facts["kept"] is True
    assert facts["nodes"][1] == plain.facts["nodes"] < facts["nodes"][0]
    assert facts["size_bytes"][1] <= facts["size_bytes"][0]
    assert 0 < facts["max_abs_after"][0] <= facts["atol"][0]


# fp16


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_half_is_as_good_as_pytorchs_own_and_really_half(network, reference, tmp_path, opset, takes):
    artifact = export(network, tmp_path, precision="fp16", opset=opset, takes=takes)
    error, bound = error_and_bound(artifact, reference, takes=takes, precision="fp16")
    assert error <= bound
    full = error_and_bound(artifact, reference, takes=takes)
    assert error > 10 * full[1], "as exact as float32: it was not converted"


def test_half_with_free_axes(network, reference, tmp_path):
    artifact = export(network, tmp_path, precision="fp16", dynamic_batch=True, dynamic_size=True)
    error, bound = error_and_bound(artifact, reference, batch=3, size=SECOND_SIZE, precision="fp16")
    assert error <= bound


def test_half_file_in_numbers(plain, half):
    assert half.facts["float32_islands"] == {"LayerNormalization": 23, "ReduceMean": 1, "Softmax": 7}
    # one cast into and one out of each island, one for the input, one for the output
    assert half.facts["casts"] == operators(half)["Cast"] == 2 * 31 + 2
    assert operators(half) - operators(plain) == {"Cast": 64}
    assert half.path.stat().st_size < 0.52 * plain.path.stat().st_size


def test_half_types_in_the_written_file(half):
    """Independent of the exporter's own reading: ONNX's inference says what each node takes."""
    model = onnx.shape_inference.infer_shapes(onnx.load(half.path), strict_mode=True)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        floats = {types[name] for name in node.input} - {TensorProto.INT64}
        if node.op_type in ("LayerNormalization", "Softmax", "ReduceMean"):
            assert floats == {TensorProto.FLOAT}
        elif node.op_type != "Cast":
            assert floats == {TensorProto.FLOAT16}, node.name
    assert types["input"] == types["logits"] == TensorProto.FLOAT
    casts = [(node.input[0], node.attribute[0].i) for node in graph.node if node.op_type == "Cast"]
    assert len(set(casts)) == len(casts)


def test_an_image_is_normalised_in_float32(network, tmp_path):
    artifact = export(network, tmp_path, precision="fp16", takes="image")
    assert {"Sub": 1, "Div": 1}.items() <= artifact.facts["float32_islands"].items()
    assert any("normalisation of the image" in note for note in artifact.notes)


def test_a_float32_file_does_not_pass_for_half(plain):
    with pytest.raises(ExportError, match="should compute in FLOAT16, its inputs in the fp16 file are FLOAT"):
        onnx_fp16.check_precision(onnx.load(plain.path))


@pytest.mark.parametrize("operator", onnx_fp16.FLOAT32_OPERATORS)
def test_a_lost_island_is_refused(plain, monkeypatch, operator):
    others = tuple(name for name in onnx_fp16.FLOAT32_OPERATORS if name != operator)
    with monkeypatch.context() as patched:
        patched.setattr(onnx_fp16, "FLOAT32_OPERATORS", others)
        broken = onnx_fp16.to_half(onnx.load(plain.path))
    onnx.checker.check_model(broken, full_check=True)
    with pytest.raises(ExportError, match=rf"{operator} .* should compute in FLOAT, its inputs in the fp16 file are FLOAT16"):
        onnx_fp16.check_precision(broken)


@pytest.mark.parametrize(
    ("operator", "message"),
    [("Softmax", "should compute in FLOAT, its inputs in the fp16 file are FLOAT16"), ("MatMul", "is not valid ONNX")],
)
def test_a_lost_cast_is_refused(network, half, tmp_path, operator, message):
    """Into a Softmax the types still fit, so only our own reading shows it; out of one they do not, and onnx's check does."""

    def lose_a_cast(model):
        makers = {node.output[0]: node for node in model.graph.node}
        user = next(node for node in model.graph.node if node.op_type == operator and makers[node.input[0]].op_type == "Cast")
        user.input[0] = makers[user.input[0]].input[0]

    plan = make_plan(network, precision="fp16")
    with pytest.raises(ExportError, match=message):
        target.check_written(rewritten(half, tmp_path, lose_a_cast), plan)


def test_a_weight_too_large_for_half_is_refused(network, tmp_path):
    large = create_model("edgevit_xxs", num_classes=10, image_size=64)
    large.load_state_dict(network.state_dict())
    with torch.no_grad():
        large.head.bias[0] = 1e5
    with pytest.raises(ExportError, match=r"head\.bias reaches 1e\+05, float16 ends at 65504; use --precision fp32"):
        export(large, tmp_path, precision="fp16")


def test_a_weight_that_float32_and_half_share_is_kept_in_both(tmp_path):
    """One initialiser used by a LayerNormalization and a multiplication: each gets it in its own type."""
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 20]>
        shared (float[1, 2, 4, 4] input) => (float[1, 2, 4, 4] logits)
        <float[2, 2, 1, 1] kernel = {1, 0, 0, 1}, float[4] scale = {1, 2, 3, 4}> {
            features = Conv(input, kernel)
            normed = LayerNormalization(features, scale)
            logits = Mul(normed, scale)
        }"""
    )
    half = onnx_fp16.to_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert {tensor.name: tensor.data_type for tensor in half.graph.initializer} == {
        "scale": TensorProto.FLOAT,
        "kernel_fp16": TensorProto.FLOAT16,
        "scale_fp16": TensorProto.FLOAT16,
    }
    image = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    (full,), (rounded,) = (run(each.SerializeToString(), image) for each in (model, half))
    np.testing.assert_allclose(rounded, full, rtol=0, atol=8 * 2**-10)  # a few half roundings of values up to 8
