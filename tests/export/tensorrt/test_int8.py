"""Engines in int8: built here from explicit roundings, zero points 0; of the source everything is read back and judged."""

from dataclasses import replace

import pytest

from edgevit_deploy.deploy.quantised import emulation, stored
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.formats.tensorrt.library import LIBRARIES
from edgevit_deploy.host import THIS_HOST
from export.onnx import OnnxExporter
from export.tensorrt import TensorRTExporter, TensorRTOptions
from export.tensorrt.engine import BuildSettings, build_engine

RTX = LIBRARIES["tensorrt-rtx"]
EXPORTER = TensorRTExporter()
FIXED = BuildSettings(batches=None, workspace_mib=None, timing_cache=None)


@pytest.fixture(scope="module")
def plan(bench):
    options = TensorRTOptions(flavor="tensorrt-rtx")
    return bench.rounded.calibrated(EXPORTER.plan(bench.model.spec, precision="int8", options=options))


@pytest.fixture(scope="module")
def engine(bench, plan):
    return bench.build(plan)


def test_an_engine_is_built_from_integers(engine):
    kinds, integers = engine.facts["network_layer_types"], engine.facts["source"]["rounded_operators"]
    operators = sum(integers.values())
    assert operators == 84
    assert kinds["CONSTANT INT8"] == operators, "weights are stored as int8"
    assert kinds["DEQUANTIZE FLOAT"] == kinds["QUANTIZE INT8"] + operators, "of weights, and of every rounded activation"
    assert engine.facts["network_inputs"][0]["dtype"] == engine.facts["network_outputs"][0]["dtype"] == "float32"
    assert any("slowly" in note for note in engine.notes), "that the source is no file for ONNX Runtime is said"


def test_what_it_rounds_by_is_read_from_its_source(engine, bench, plan):
    expected = stored(emulation(bench.network(plan.graph, plan.form), plan.scheme, plan.ranges))
    assert {zero_point for _, zero_point in EXPORTER.stored(engine).activations} == {0}
    assert differences(EXPORTER.stored(engine), expected) == []
    with pytest.raises(RunError, match=r"an engine does not say how it rounds, and source\.onnx is not there"):
        EXPORTER.stored(replace(engine, built_from=None))


def test_zero_points_other_than_0_are_not_for_this_library(bench, tmp_path):
    """Why it has a scheme of its own: the file for ONNX Runtime is refused by name."""
    onnx_plan = OnnxExporter().plan(bench.model.spec, precision="int8")
    source = bench.build(onnx_plan)
    with pytest.raises(ExportError, match=r"TensorRT-RTX .*model\.onnx"):
        build_engine(RTX, source, FIXED, tmp_path / "model.engine")


@pytest.mark.slow
def test_the_same_ranges_give_the_same_engine_and_its_source_is_judged(engine, bench, plan):
    again = bench.build(plan)
    for name in ("model.engine", "source.onnx"):
        assert again.path.with_name(name).read_bytes() == engine.path.with_name(name).read_bytes()
    report = bench.judge(engine, bench.truths(plan))
    assert report.status == ("passed" if THIS_HOST.find_session("tensorrt") else "built, not run")
    assert all(diff.ok for diff in report.diffs)
