"""The calls into the builder, against a fake TensorRT 10 and 11 that refuses every name that version 11 removed."""

import json

import pytest

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, message_log
from edgevit_deploy.formats.tensorrt.probe import Capability
from edgevit_deploy.spec import TensorSpec
from export.tensorrt.engine import BuildSettings, build_engine, inspect_engine
from tests.helpers.fake_tensorrt import FakeTensorRT, ParserError


@pytest.fixture
def install(monkeypatch):
    def use(fake):
        monkeypatch.setitem(__import__("sys").modules, "tensorrt", fake)
        message_log.cache_clear()
        return fake

    yield use
    message_log.cache_clear()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.onnx"
    path.write_bytes(b"the fake parser does not read it")
    return Artifact(
        target="onnx",
        path=path,
        inputs=(TensorSpec(name="input", shape=("batch", 3, 64, 64), dtype="float32"),),
        outputs=(TensorSpec(name="logits", shape=("batch", 10), dtype="float32"),),
        tools={},
    )


FULL = LIBRARIES["tensorrt"]
PLAIN = BuildSettings(batches=(1, 2, 4), workspace_mib=None, timing_cache=None)


@pytest.mark.parametrize(("version", "flags"), [("10.16.1.11", 2), ("11.4.0.106", 1)])
def test_the_calls_in_their_order(install, source, tmp_path, version, flags):
    fake = install(FakeTensorRT(version))
    cache = tmp_path / "timings"
    cache.write_bytes(b"timings before")
    settings = BuildSettings(batches=(1, 2, 4), workspace_mib=256, timing_cache=cache)
    facts = build_engine(FULL, source, settings, tmp_path / "model.engine")
    assert fake.calls == [
        "Builder",
        ("create_network", flags),
        "OnnxParser",
        "parse_from_file",
        "create_builder_config",
        ("profiling_verbosity", "DETAILED"),
        ("clear_flag", "TF32"),
        ("set_shape", "input", (1, 3, 64, 64), (2, 3, 64, 64), (4, 3, 64, 64)),
        "add_optimization_profile",
        ("set_memory_pool_limit", "WORKSPACE", 256 * 2**20),
        ("create_timing_cache", b"timings before"),
        ("set_timing_cache", False),
        "build_serialized_network",
    ]
    assert (tmp_path / "model.engine").read_bytes() == fake.plan
    assert cache.read_bytes() == b"timings after"
    assert facts == {
        "network_inputs": [{"name": "input", "shape": [-1, 3, 64, 64], "dtype": "float32"}],
        "network_outputs": [{"name": "logits", "shape": [-1, 10], "dtype": "float32"}],
        "tf32": False,
        "network_layers": 3,
        "network_layer_types": {"CONVOLUTION HALF": 2, "NORMALIZATION FLOAT": 1},
        "operators": {"CONVOLUTION": 2, "NORMALIZATION": 1},
        "builder_layers_before": 712,
        "builder_layers_after": 1,
    }


def test_a_fixed_batch_has_no_profile_and_the_defaults_touch_nothing_else(install, source, tmp_path):
    fake = install(FakeTensorRT("11.4.0.106"))
    build_engine(FULL, source, BuildSettings(batches=None, workspace_mib=None, timing_cache=None), tmp_path / "e")
    names = {call if isinstance(call, str) else call[0] for call in fake.calls}
    assert not names & {"set_shape", "add_optimization_profile", "set_memory_pool_limit", "create_timing_cache"}


def test_the_denylist_can_fail():
    with pytest.raises(AssertionError, match="FP16 was removed in TensorRT 11"):
        _ = FakeTensorRT("11.4.0.106").BuilderFlag.FP16
    with pytest.raises(AssertionError, match="int8_calibrator was removed"):
        FakeTensorRT("11.4.0.106").Builder(None).create_builder_config().int8_calibrator = object()


def test_a_first_timing_cache_is_made(install, source, tmp_path):
    fake = install(FakeTensorRT("11.4.0.106"))
    settings = BuildSettings(batches=None, workspace_mib=None, timing_cache=tmp_path / "new")
    build_engine(FULL, source, settings, tmp_path / "e")
    assert ("create_timing_cache", b"") in fake.calls
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["e", "new", "source.onnx"]


def test_a_timing_cache_of_another_gpu_is_refused(install, source, tmp_path):
    fake = install(FakeTensorRT("11.4.0.106"))
    fake.cache_fits = False
    settings = BuildSettings(batches=None, workspace_mib=None, timing_cache=tmp_path / "other")
    with pytest.raises(UsageError, match=r"other: not a timing cache of this TensorRT on this GPU; delete it"):
        build_engine(FULL, source, settings, tmp_path / "e")
    assert "build_serialized_network" not in fake.calls


def test_parser_errors_are_collected_into_one(install, source, tmp_path):
    errors = (
        ParserError("FusedMatMul", "/attn/1", "Plugin not\nfound"),
        ParserError("FusedMatMul", "/attn/2", "Plugin not\nfound"),
        ParserError("NhwcConv", "/conv", "no importer"),
    )
    install(FakeTensorRT("11.4.0.106", errors=errors))
    with pytest.raises(ExportError) as caught:
        build_engine(FULL, source, PLAIN, tmp_path / "e")
    assert str(caught.value) == (
        "TensorRT cannot read source.onnx, 3 errors: FusedMatMul: Plugin not found (first at '/attn/1'); NhwcConv: no importer "
        "(first at '/conv'); it takes plain ONNX operators only, so not a file optimised by ONNX Runtime"
    )


def test_another_interface_than_the_sources_is_refused(install, source, tmp_path):
    install(FakeTensorRT("11.4.0.106", batch=5))
    with pytest.raises(ExportError, match=r"read inputs .*\[5, 3, 64, 64\].* from source.onnx, expected .*\[-1, 3, 64, 64\]"):
        build_engine(FULL, source, PLAIN, tmp_path / "e")


def test_a_refused_profile(install, source, tmp_path):
    install(FakeTensorRT("11.4.0.106")).profile_index = -1
    with pytest.raises(ExportError, match=r"refused the batch profile \(1, 2, 4\)"):
        build_engine(FULL, source, PLAIN, tmp_path / "e")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (None, "TensorRT could not build the engine: Error Code 10: no kernel"),
        (TypeError("factory function returned nullptr"), "TensorRT crashed: factory function returned nullptr; .*no kernel"),
        (RuntimeError("std::bad_alloc"), "TensorRT crashed: std::bad_alloc"),
    ],
)
def test_a_build_that_fails_says_what_the_library_said(install, source, tmp_path, plan, message):
    install(FakeTensorRT("11.4.0.106", plan=plan))
    with pytest.raises(ExportError, match=message):
        build_engine(FULL, source, PLAIN, tmp_path / "model.engine")
    assert not (tmp_path / "model.engine").exists()


class TestInspector:
    GPU = Capability(can_import=True, can_build=True, can_run=True, gpu="a GPU")

    @pytest.fixture
    def engine(self, tmp_path):
        path = tmp_path / "model.engine"
        path.write_bytes(b"plan")
        return path

    def test_its_json_is_kept_beside_the_engine(self, install, engine):
        install(FakeTensorRT("11.4.0.106"))
        assert inspect_engine(FULL, self.GPU, engine) == {"inspector": "inspector.json", "engine_layers": 7}
        assert json.loads((engine.parent / "inspector.json").read_text())["Layers"] == ["conv"]

    def test_without_a_gpu_nothing_is_loaded(self, install, engine):
        install(FakeTensorRT("11.4.0.106")).Runtime = lambda _: pytest.fail("loaded an engine without a GPU")
        found = Capability(can_import=True, can_build=True, reason="no driver")
        assert inspect_engine(FULL, found, engine) == {"inspector": "not available, loading an engine needs a GPU: no driver"}
        assert not (engine.parent / "inspector.json").exists()

    def test_a_gpu_that_refuses_is_recorded(self, install, engine):
        install(FakeTensorRT("11.4.0.106")).engine_loads = False
        facts = inspect_engine(FULL, self.GPU, engine)
        assert facts == {"inspector": "not available, a GPU refused the engine: wrong compute capability"}
