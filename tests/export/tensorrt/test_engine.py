"""The calls into the builder, against a fake TensorRT 10 and 11 that refuses every name that version 11 removed."""

import enum
import json
import types

import numpy as np
import pytest

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, message_log
from edgevit_deploy.formats.tensorrt.probe import Capability
from edgevit_deploy.spec import TensorSpec
from export.tensorrt.engine import BuildSettings, build_engine, inspect_engine

# NVIDIA's 10.x to 11.x migration guide, and the symbols missing from the 11.4 bindings.
REMOVED_IN_11 = {
    "EXPLICIT_BATCH", "EXPLICIT_PRECISION", "FP16", "BF16", "INT8", "FP8", "INT4", "FP4", "OBEY_PRECISION_CONSTRAINTS",
    "PREFER_PRECISION_CONSTRAINTS", "int8_calibrator", "quantization_flags", "set_calibration_profile", "precision",
    "platform_has_fast_fp16", "platform_has_fast_int8", "algorithm_selector", "supports_model", "set_output_type",
    "execute_async_v2", "device_memory_size", "max_workspace_size", "max_batch_size", "build_engine", "set_precision",
}  # fmt: skip


class Strict:
    """Whatever TensorRT 11 removed must not even be looked for; whatever this fake lacks is an AttributeError."""

    def __getattr__(self, name):
        assert name not in REMOVED_IN_11, f"{name} was removed in TensorRT 11"
        raise AttributeError(name)

    def __setattr__(self, name, value):
        assert name not in REMOVED_IN_11, f"{name} was removed in TensorRT 11"
        object.__setattr__(self, name, value)


class Names(Strict):
    def __init__(self, **names):
        self.__dict__.update(names)


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class LayerType(enum.Enum):
    CONVOLUTION = 0
    NORMALIZATION = 1


class Severity(enum.Enum):
    ERROR = 1
    VERBOSE = 4


class Tensor(Strict):
    def __init__(self, name="t", shape=(), dtype=DataType.FLOAT):
        self.name, self.shape, self.dtype = name, shape, dtype


class Layer(Strict):
    def __init__(self, kind, dtype):
        self.type, self._dtype = kind, dtype

    def get_output(self, index):
        return Tensor(dtype=self._dtype)


class ParserError(Strict):
    def __init__(self, operator, node, text):
        self.node_operator, self.node_name, self.desc = (lambda: operator), (lambda: node), (lambda: text)


class FakeTensorRT(types.ModuleType):
    """Just enough of the `tensorrt` module, with a record of the calls in `calls`."""

    def __init__(self, version, *, errors=(), batch=-1, plan=b"ftrt" + bytes(20) + bytes([11, 4, 0, 106, 0, 0, 0, 0])):
        super().__init__("tensorrt")
        self.__version__ = version
        self.calls = []
        self.errors, self.batch, self.plan = errors, batch, plan
        self.profile_index, self.cache_fits, self.engine_loads = 0, True, True
        flags = {} if version.startswith("9") else {"STRONGLY_TYPED": 1 if version.startswith("10") else 0}
        self.NetworkDefinitionCreationFlag = Names(**flags)
        self.BuilderFlag = Names(TF32="TF32")
        self.ProfilingVerbosity = Names(DETAILED="DETAILED")
        self.MemoryPoolType = Names(WORKSPACE="WORKSPACE")
        self.LayerInformationFormat = Names(JSON="JSON")
        fake = self

        class ILogger:
            def __init__(self):
                pass

        class Network(Strict):
            num_inputs, num_outputs, num_layers = 1, 1, 3

            def get_input(self, index):
                return Tensor("input", (fake.batch, 3, 64, 64))

            def get_output(self, index):
                return Tensor("logits", (fake.batch, 10))

            def get_layer(self, index):
                if index == 2:
                    return Layer(LayerType.NORMALIZATION, DataType.FLOAT)
                return Layer(LayerType.CONVOLUTION, DataType.HALF)

        class Profile(Strict):
            def set_shape(self, *arguments):
                fake.calls.append(("set_shape", *arguments))

        class Cache(Strict):
            def serialize(self):
                return b"timings after"

        class Config(Strict):
            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                fake.calls.append((name, value))

            def clear_flag(self, flag):
                fake.calls.append(("clear_flag", flag))

            def get_flag(self, flag):
                return ("clear_flag", flag) not in fake.calls

            def add_optimization_profile(self, profile):
                fake.calls.append("add_optimization_profile")
                return fake.profile_index

            def set_memory_pool_limit(self, pool, limit):
                fake.calls.append(("set_memory_pool_limit", pool, limit))

            def create_timing_cache(self, data):
                fake.calls.append(("create_timing_cache", data))
                return Cache()

            def set_timing_cache(self, cache, ignore_mismatch):
                fake.calls.append(("set_timing_cache", ignore_mismatch))
                return fake.cache_fits

            def get_timing_cache(self):
                return Cache()

        class Builder(Strict):
            def __init__(self, logger):
                self._logger = logger
                fake.calls.append("Builder")

            def create_network(self, flags):
                fake.calls.append(("create_network", flags))
                return Network()

            def create_builder_config(self):
                fake.calls.append("create_builder_config")
                return Config()

            def create_optimization_profile(self):
                return Profile()

            def build_serialized_network(self, network, config):
                fake.calls.append("build_serialized_network")
                self._logger.log(Severity.VERBOSE, "Original: 712 layers")
                self._logger.log(Severity.VERBOSE, "After Myelin optimization: 1 layers")
                self._logger.log(Severity.ERROR, "Error Code 10: no\nkernel")
                if isinstance(fake.plan, Exception):
                    raise fake.plan
                return fake.plan

        class OnnxParser(Strict):
            num_errors = len(errors)

            def __init__(self, network, logger):
                fake.calls.append("OnnxParser")

            def parse_from_file(self, path):
                fake.calls.append("parse_from_file")
                return not fake.errors

            def get_error(self, index):
                return fake.errors[index]

        class Engine(Strict):
            num_layers = 7

            def create_engine_inspector(self):
                return self

            def get_engine_information(self, form):
                assert form == "JSON"
                return '{"Layers": ["conv"], "I/O Tensors": []}'

        class Runtime(Strict):
            def __init__(self, logger):
                self._logger = logger

            def deserialize_cuda_engine(self, data):
                self._logger.log(Severity.ERROR, "wrong compute capability")
                return Engine() if fake.engine_loads else None

        self.ILogger, self.Builder, self.OnnxParser, self.Runtime = ILogger, Builder, OnnxParser, Runtime

    @staticmethod
    def nptype(dtype):
        return {DataType.FLOAT: np.float32, DataType.HALF: np.float16}[dtype]

    def __getattr__(self, name):
        assert name not in REMOVED_IN_11, f"{name} was removed in TensorRT 11"
        raise AttributeError(name)


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
