"""`--format ort`: the saved file itself against float64, the same bytes again, and what a reduced build is told."""

import logging
import platform
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import export.onnx.ort as target
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.formats.onnx.ort import read_ort, schema
from export.onnx import OnnxOptions
from export.onnx.ort import check_ort, in_one_order, ort_notes, required_operators, write_ort
from tests.helpers import ort
from tests.helpers.onnx import SECOND_SIZE, SMALL, error_and_bound, shared
from tests.helpers.onnx_int8 import EXPORTER, OPERATORS, report, wrong
from tests.helpers.targets import NETWORK, left_in

ORT = OnnxOptions(format="ort")


@pytest.fixture(scope="module")
def saved():
    return SMALL.shared(options=ORT)


def changed(artifact, folder, name):
    """A copy of a file whose constant of that name has one byte changed: the exponent of its largest number, by one bit."""
    content = artifact.path.read_bytes()
    values = read_ort(content, artifact.path.name).constants[name]
    assert content.count(values.tobytes()) == 1
    place = content.index(values.tobytes()) + 4 * int(np.abs(values).argmax()) + 3
    path = folder / "model.ort"
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return replace(artifact, path=path)


def largest_weight(artifact):
    """The name of the head's weights: the last constant with a row for each class."""
    constants = read_ort(artifact.path.read_bytes(), "model.ort").constants
    return [name for name, values in constants.items() if values.dtype == np.float32 and 10 in values.shape and values.ndim == 2][
        -1
    ]


def test_the_saved_file_computes_what_float64_does(saved, reference):
    error, bound = error_and_bound(saved, reference)
    assert 0 < error <= bound


def test_one_changed_byte_of_a_weight_fails_the_same_bound(saved, reference, tmp_path):
    error, bound = error_and_bound(changed(saved, tmp_path, largest_weight(saved)), reference)
    assert error > 10 * bound


def test_nothing_but_the_file_and_its_operators_is_left(saved):
    assert saved.path.name == "model.ort"
    assert sorted(left_in(saved.path.parent)) == ["model.ort", "model.required_operators.config"]
    assert saved.facts["ort_format_version"] == "6"
    assert saved.facts["size_bytes"] == saved.path.stat().st_size
    assert sum(saved.operators.values()) == saved.facts["nodes"]
    assert saved.operators["FusedConv"] > 0, "optimised before it was saved"


@pytest.mark.parametrize(("opset", "version"), [(17, "1.16"), (18, "1.16"), (19, "1.16"), (20, "1.17")])
def test_the_first_runtime_knows_the_format_and_the_operators(opset, version):
    """By ONNX Runtime's own tables: the format is of 1.16; opsets 17 to 20 are of 1.12, 1.14, 1.15 and 1.17."""
    assert versions_in(ort_notes(opset)) == [version]


def test_no_two_notes_name_different_runtimes(saved, plain):
    assert versions_in(saved.notes) == versions_in(plain.notes) == ["1.17"]
    nodes = read_ort(saved.path.read_bytes(), "m").nodes
    assert max(node.since for node in nodes if not node.domain) == 20, "an operator that came with the opset"


def versions_in(notes):
    """Every version of ONNX Runtime that a note names."""
    return re.findall(r"\b1\.\d\d\b", " ".join(notes))


@pytest.mark.slow
def test_a_rebuild_is_byte_identical(saved, tmp_path):
    again = SMALL.build(SMALL.plan_of(options=ORT), tmp_path)
    for name in left_in(tmp_path):
        assert (tmp_path / name).read_bytes() == saved.path.with_name(name).read_bytes()
    assert again.facts == saved.facts


def test_only_the_order_of_one_table_is_changed(tmp_path):
    raw = ort.saved(ort.two_roundings(), tmp_path / "raw.ort")
    ordered = in_one_order(raw)
    before, after = read_ort(raw, "raw"), read_ort(ordered, "ordered")
    assert replace(before, constants={}) == replace(after, constants={})
    assert {name: values.tolist() for name, values in before.constants.items()} == {
        name: values.tolist() for name, values in after.constants.items()
    }
    assert _kernels(ordered) == sorted(_kernels(raw))
    assert len(_kernels(ordered)) > 1
    assert in_one_order(ordered) == ordered
    assert in_one_order(ort.saved(ort.two_roundings(), tmp_path / "again.ort")) == ordered


def _kernels(content):
    resolver = schema("InferenceSession").InferenceSession.GetRootAs(content, 0).KernelTypeStrResolver()
    return [resolver.OpKernelTypeStrArgs(place).OpId().decode() for place in range(resolver.OpKernelTypeStrArgsLength())]


def test_a_reduced_build_is_told_every_operator_and_no_path(saved):
    """Read by ONNX Runtime's own build script, with types and without."""
    from onnxruntime.tools.reduced_build_config_parser import parse_config

    path = saved.path.with_name("model.required_operators.config")
    assert str(saved.path.parent) not in path.read_text()
    nodes = {(node.domain or "ai.onnx", node.kind) for node in read_ort(saved.path.read_bytes(), "m").nodes}
    for with_types in (True, False):
        required, types = parse_config(str(path), with_types)
        assert {(domain, kind) for domain, versions in required.items() for kinds in versions.values() for kind in kinds} == nodes
        assert (types is not None) == with_types
    assert '{"inputs": {"0": ["float"]}}' in path.read_text()
    level = logging.root.manager.disable
    assert required_operators(saved.path) == path.read_text()
    assert logging.root.manager.disable == level


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the layout in blocks is x86's")
def test_a_layout_of_one_processor_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "BLOCKS", "NoSuchOptimiser")
    source = tmp_path / "model.onnx"
    source.write_bytes(shared().path.read_bytes())
    plan = SMALL.plan_of(options=ORT)
    with pytest.raises(ExportError, match=r"operators of one processor should be \[\], .* has \['com.microsoft.nchwc'\]"):
        check_ort(write_ort(source, plan), plan, read_ort(SMALL.shared(options=ORT).path.read_bytes(), "m").properties)


def test_what_was_not_asked_for_is_refused(saved):
    good = read_ort(saved.path.read_bytes(), "m").properties
    check_ort(saved.path, SMALL.plan_of(options=ORT), good)  # the control
    with pytest.raises(ExportError, match=r"model\.ort: opset should be 17, the written file has 20"):
        check_ort(saved.path, SMALL.plan_of(options=replace(ORT, opset=17)), good)
    with pytest.raises(ExportError, match=r"model\.ort: properties should be {}"):
        check_ort(saved.path, SMALL.plan_of(options=ORT), {})


def test_halves_that_would_be_floats_are_refused():
    with pytest.raises(
        UsageError, match=r"onnx has no fp16 with --format ort: .*use --precision fp32 or int8, or --format onnx$"
    ):
        SMALL.exporter.refuse(SMALL.plan_of(options=ORT, precision="fp16"))
    SMALL.exporter.refuse(SMALL.plan_of(precision="fp16"))  # the control
    rounded = EXPORTER.plan(NETWORK.spec, precision="int8", options=ORT)
    EXPORTER.refuse(rounded)
    with pytest.raises(UsageError, match=r"\[rounding\] outputs = false.*; use --format onnx$"):
        EXPORTER.refuse(EXPORTER.plan(NETWORK.spec, precision="int8", options=ORT, rounding={"outputs": False}))


@pytest.mark.slow
def test_free_axes_stay_free_at_the_oldest_opset(reference):
    artifact = SMALL.shared(options=replace(ORT, opset=17), dynamic_batch=True, dynamic_size=True)
    for batch, size in ((1, SECOND_SIZE), (3, (64, 64))):
        error, bound = error_and_bound(artifact, reference, batch=batch, size=size)
        assert error <= bound
    assert versions_in(artifact.notes) == ["1.16"]
    assert max(node.since for node in read_ort(artifact.path.read_bytes(), "m").nodes if not node.domain) <= 17


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["u8", "s8"])
def test_an_int8_file_rounds_as_its_emulation(bench, u8, activations, tmp_path):
    """Judged as the `.onnx` file is: grids and integers are read back from the saved operators, and the file itself is run."""
    options = OnnxOptions(format="ort", activations=activations)
    plan = bench.rounded.calibrated(EXPORTER.plan(bench.model.spec, precision="int8", options=options))
    artifact = bench.build(plan)
    kernels = artifact.facts["kernels_in_the_file"]
    assert kernels["QLinearConv"] + kernels["QGemm"] + kernels["MatMulIntegerToFloat"] <= OPERATORS
    assert kernels == {kind: artifact.operators[kind] for kind in kernels}
    stored = EXPORTER.stored(artifact)
    assert len(stored.weights) == OPERATORS
    if activations == "s8":
        assert Counter(values.dtype for _, values in _zero_points(artifact)) == {np.dtype("int8"): len(_zero_points(artifact))}
        return
    assert wrong(u8, artifact.path) == []
    assert report(bench, u8, artifact.path).status == "passed"
    scale, zero_point = next(grid for grid in stored.activations if grid[0] > 0.01)
    content = artifact.path.read_bytes()
    faulty = tmp_path / "model.ort"
    faulty.write_bytes(content.replace(np.float32(scale).tobytes(), np.float32(scale * 1.01).tobytes()))
    assert any("grids of activations are missing" in said for said in wrong(u8, faulty)), (scale, zero_point)


def _zero_points(artifact):
    model = read_ort(artifact.path.read_bytes(), "m")
    names = {node.inputs[2] for node in model.nodes if node.kind == "QuantizeLinear"}
    return [(name, model.constants[name]) for name in names]
