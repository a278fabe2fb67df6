"""A fake TensorRT 10 and 11 that refuses every name that version 11 removed, with a record of the calls into its builder."""

import enum
import types

import numpy as np

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
