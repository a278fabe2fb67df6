"""A fake CUDA driver that keeps device memory in ordinary memory, and a fake TensorRT runtime that adds it up."""

import ctypes
import types

import numpy as np

from edgevit_deploy.formats.tensorrt import cuda

STREAM = 0x5EED

# cuda.h, as it stands in CUDA 12 and 13; pointers to results are given by reference.
SIGNATURES = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGet": (ctypes.POINTER(ctypes.c_int), ctypes.c_int),
    "cuDeviceGetName": (ctypes.c_char * cuda.NAME_BYTES, ctypes.c_int, ctypes.c_int),
    "cuDeviceGetAttribute": (ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int),
    "cuDevicePrimaryCtxRelease_v2": (ctypes.c_int,),
    "cuCtxSetCurrent": (ctypes.c_void_p,),
    "cuStreamCreate": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint),
    "cuStreamSynchronize": (ctypes.c_void_p,),
    "cuStreamDestroy_v2": (ctypes.c_void_p,),
    "cuMemAlloc_v2": (ctypes.POINTER(ctypes.c_uint64), ctypes.c_size_t),
    "cuMemFree_v2": (ctypes.c_uint64,),
    "cuMemcpyHtoDAsync_v2": (ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p),
    "cuMemcpyDtoHAsync_v2": (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p),
    "cuGetErrorString": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


class FakeDriver:
    """A libcuda of one GPU; copies are queued until the stream is synchronised, as on a real one."""

    def __init__(self):
        self.calls, self.blocks, self.queue, self.fails = [], {}, [], {}

    def __getattr__(self, name):
        if name not in SIGNATURES:
            raise AttributeError(name)
        signature = SIGNATURES[name]

        def function(*arguments):
            assert len(arguments) == len(signature), name
            given = [getattr(argument, "_obj", argument) for argument in arguments]
            for argument, kind in zip(given, signature, strict=True):
                assert isinstance(argument, getattr(kind, "_type_", None) if is_pointer(kind) else kind), (name, argument)
            self.calls.append(name)
            return self.fails.get(name) or getattr(self, f"do_{name}", lambda *_: 0)(*given)

        return function

    def do_cuDeviceGetName(self, name, size, device):
        name.value = b"Fake GPU"
        return 0

    def do_cuDeviceGetAttribute(self, value, number, device):
        value.value = {cuda.COMPUTE_CAPABILITY_MAJOR: 8, cuda.COMPUTE_CAPABILITY_MINOR: 9}[number.value]
        return 0

    def do_cuStreamCreate(self, stream, flags):
        assert flags.value == cuda.NON_BLOCKING_STREAM
        stream.value = STREAM
        return 0

    def do_cuMemAlloc_v2(self, address, size):
        block = ctypes.create_string_buffer(size.value)
        address.value = ctypes.addressof(block)
        self.blocks[address.value] = block
        return 0

    def do_cuMemFree_v2(self, address):
        del self.blocks[address.value]
        return 0

    def do_cuMemcpyHtoDAsync_v2(self, target, origin, size, stream):
        assert stream.value == STREAM
        data = ctypes.string_at(origin.value, size.value)  # pageable memory is staged at once
        assert size.value <= len(self.blocks[target.value])
        self.queue.append(lambda: ctypes.memmove(target.value, data, size.value))
        return 0

    def do_cuMemcpyDtoHAsync_v2(self, target, origin, size, stream):
        assert stream.value == STREAM
        assert size.value <= len(self.blocks[origin.value])
        self.queue.append(lambda: ctypes.memmove(target.value, origin.value, size.value))
        return 0

    def do_cuStreamSynchronize(self, stream):
        for work in self.queue:
            work()
        self.queue.clear()
        return 0

    def do_cuGetErrorString(self, status, text):
        text.value = f"fake words for {status.value}".encode()
        return 0


def is_pointer(kind):
    return isinstance(kind, type(ctypes.POINTER(ctypes.c_int)))


class FakeTensorRT(types.ModuleType):
    """One engine, batch 1 to 4: logits are four times the mean of each image."""

    def __init__(self, driver):
        super().__init__("tensorrt_rtx")
        self.names, self.loads, self.prepares, self.runs = ["input", "logits"], True, True, True
        fake = self

        class ILogger:
            def __init__(self):
                pass

        class Runtime:
            def __init__(self, logger):
                self._logger = logger

            def deserialize_cuda_engine(self, data):
                assert data[:4] == b"vtrt"
                self._logger.log(types.SimpleNamespace(name="ERROR"), "no kernel image for compute capability 9.0")
                return Engine() if fake.loads else None

        class Engine:
            num_io_tensors = 2

            def get_tensor_name(self, index):
                return fake.names[index]

            def get_tensor_dtype(self, name):
                return "FLOAT"

            def create_execution_context(self):
                return Context() if fake.prepares else None

        class Context:
            def __init__(self):
                self.addresses = {}

            def set_input_shape(self, name, shape):
                assert name == "input"
                self.batch = shape[0]
                return shape[0] <= 4

            def get_tensor_shape(self, name):
                return (self.batch, 4)

            def set_tensor_address(self, name, address):
                assert address in driver.blocks
                self.addresses[name] = address
                return True

            def execute_async_v3(self, stream):
                assert stream == STREAM
                driver.queue.append(self._work)
                return fake.runs

            def _work(self):
                pixels = np.ctypeslib.as_array((ctypes.c_float * (self.batch * 3072)).from_address(self.addresses["input"]))
                logits = np.repeat(pixels.reshape(self.batch, -1).mean(axis=1, keepdims=True), 4, axis=1)
                ctypes.memmove(self.addresses["logits"], logits.astype("<f4").tobytes(), 16 * self.batch)

        self.ILogger, self.Runtime = ILogger, Runtime

    @staticmethod
    def nptype(dtype):
        return np.float32
