"""LiteRT's own profile: what each operator of a run took, inside XNNPACK's partitions and outside of them.

The interpreter that Python reaches has no profiler, but the library beside it has, behind its C interface (LiteRT 2.3,
litert/c/litert_compiled_model.h, litert_profiler.h, litert_profiler_event.h), which is called here. Options are TOML under the
identifiers that LiteRT's own helpers use. Times are whole microseconds.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from ctypes import byref
from pathlib import Path

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.session import Array
from runtimes.executorch import xnnpack as xnnpack_ops

Handle = ctypes.c_void_p

CPU = 1  # kLiteRtHwAcceleratorCpu
FLOAT32 = 1  # kLiteRtElementTypeFloat32
ELEMENT_TYPES = {"float32": FLOAT32, "uint8": 3}  # kLiteRtElementTypeUInt8
WRITE = 1  # kLiteRtTensorBufferLockModeWrite
SIGNATURE_INDEX = ctypes.c_size_t(0)  # a file of ours has one

INVOKED_OPERATOR = 1 << 1  # LiteRT's own kernel
DELEGATED_OPERATOR = 1 << 3  # one operator inside a delegate

TRACED_AS: dict[str, frozenset[str]] = xnnpack_ops.TRACED_AS | {
    "AVERAGE_POOL_2D": frozenset({"aten::avg_pool2d"}),
    "BATCH_MATMUL": frozenset({"aten::matmul", "aten::bmm", "aten::einsum"}),
    "FULLY_CONNECTED": frozenset({"aten::matmul", "aten::linear"}),
    "LAYER_NORM": frozenset({"aten::layer_norm"}),
}
"""The converter keeps the order of the trace; in capitals what XNNPACK leaves to LiteRT's own kernels."""


class Event(ctypes.Structure):
    """ProfiledEventData; the memory use at both ends and the metadata are not read."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("event_type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_uint64 * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    )


class Layout(ctypes.Structure):
    """LiteRtLayout."""

    _fields_ = (("rank_and_flags", ctypes.c_uint32), ("dimensions", ctypes.c_int32 * 8), ("strides", ctypes.c_uint32 * 8))


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = (("element_type", ctypes.c_int), ("layout", Layout))


def profile_runs(path: Path, image: Array, outputs: int, threads: int | None, runs: int) -> list[tuple[tuple[str, float], ...]]:
    """Load a file a second time, with LiteRT's profiler, and run it.

    Args:
        path: a `.tflite` file with one signature of one input.
        image: float32 or uint8, of the input's shape.
        outputs: how many there are, all float32.
        threads: of XNNPACK; None leaves LiteRT's default.
        runs: how many are profiled, after one that is not.

    Returns:
        For each run the kind and the time in ms of every operator, in the order of execution.

    Raises:
        RunError: LiteRT refused one of the calls.
    """
    with ExitStack() as stack:
        runtime = Runtime(stack)
        runtime.compile(path, threads)
        run = runtime.bind(image, outputs)
        run()
        return [runtime.profile(run) for _ in range(runs)]


class Runtime:
    """LiteRT's C interface with one compiled file; what it makes is destroyed when `stack` is left."""

    def __init__(self, stack: ExitStack) -> None:
        import ai_edge_litert

        folder = Path(ai_edge_litert.__file__).parent
        libraries = list(folder.glob("libLiteRt.*"))
        if len(libraries) != 1:
            raise RunError(f"LiteRT's profiler does not work here: {folder} has {len(libraries)} files libLiteRt.*, expected one")
        self._library = ctypes.CDLL(str(libraries[0]))
        self._stack = stack
        self._environment = self._create("Environment", ctypes.c_int(0), None)
        self._kept: list[object] = []  # what the library has pointers to

    def compile(self, path: Path, threads: int | None) -> None:
        """Load and compile a file for the CPU, with the profiler."""
        model = self._create("ModelFromFile", self._environment, str(path).encode())
        options = self._create("Options")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(CPU))
        self._add_toml(options, b"runtime_options_string", b"enable_profiling = true\n")
        if threads is not None:
            self._add_toml(options, b"xnnpack", b"num_threads = %d\n" % threads)
        self._compiled = self._create("CompiledModel", self._environment, model, options)
        self._profiler = Handle()
        self._call("LiteRtCompiledModelGetProfiler", self._compiled, byref(self._profiler))

    def bind(self, image: Array, outputs: int) -> Callable[[], None]:
        """Return a call that runs the file once on that image; what it computes stays in the library's buffers."""
        taken = Layout()
        self._call("LiteRtGetCompiledModelInputTensorLayout", self._compiled, SIGNATURE_INDEX, ctypes.c_size_t(0), byref(taken))
        returned = (Layout * outputs)()
        self._call(
            "LiteRtGetCompiledModelOutputTensorLayouts",
            self._compiled,
            SIGNATURE_INDEX,
            ctypes.c_size_t(outputs),
            returned,
            ctypes.c_bool(False),
        )
        feeds = self._buffers("Input", (Layout * 1)(taken), ELEMENT_TYPES[image.dtype.name])
        results = self._buffers("Output", returned, FLOAT32)
        self._fill(Handle(feeds[0]), image)

        def run() -> None:
            count = ctypes.c_size_t(len(results))
            self._call("LiteRtRunCompiledModel", self._compiled, SIGNATURE_INDEX, ctypes.c_size_t(1), feeds, count, results)

        return run

    def profile(self, run: Callable[[], None]) -> tuple[tuple[str, float], ...]:
        """Return the kind and the time in ms of each operator of one run."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        events = (Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return tuple(operators(events))

    def _call(self, function: str, *arguments: object) -> None:
        call = getattr(self._library, function, None)
        if call is None:
            raise RunError(f"LiteRT's profiler does not work here: its library has no {function}; ai-edge-litert 2.3 has it")
        call.restype = ctypes.c_int
        if status := call(*arguments):
            raise RunError(f"LiteRT's profiler does not work here: {function} returned status {status}")

    def _create(self, what: str, *arguments: object) -> Handle:
        handle = Handle()
        self._call(f"LiteRtCreate{what}", *arguments, byref(handle))
        self._stack.callback(getattr(self._library, f"LiteRtDestroy{what.removesuffix('FromFile')}"), handle)
        return handle

    def _add_toml(self, options: Handle, identifier: bytes, toml: bytes) -> None:
        payload = ctypes.create_string_buffer(toml)
        leave = ctypes.CFUNCTYPE(None, Handle)(lambda _: None)  # the payload is Python's to free
        self._kept += [payload, leave]
        opaque = Handle()
        self._call("LiteRtCreateOpaqueOptions", identifier, payload, leave, byref(opaque))
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _buffers(self, side: str, layouts: "ctypes.Array[Layout]", element_type: int) -> "ctypes.Array[Handle]":
        buffers = (Handle * len(layouts))()
        for index, layout in enumerate(layouts):
            required = Handle()
            getter = f"LiteRtGetCompiledModel{side}BufferRequirements"
            self._call(getter, self._compiled, SIGNATURE_INDEX, ctypes.c_size_t(index), byref(required))
            kind = TensorType(element_type=element_type, layout=layout)
            buffer = Handle()
            create = "LiteRtCreateManagedTensorBufferFromRequirements"
            self._call(create, self._environment, byref(kind), required, byref(buffer))
            self._stack.callback(self._library.LiteRtDestroyTensorBuffer, buffer)
            buffers[index] = buffer
        return buffers

    def _fill(self, buffer: Handle, image: Array) -> None:
        image = np.ascontiguousarray(image)
        size_bytes, address = ctypes.c_size_t(), Handle()
        self._call("LiteRtGetTensorBufferSize", buffer, byref(size_bytes))
        if size_bytes.value < image.nbytes:
            raise RunError(f"the input has {size_bytes.value} bytes, the image {image.nbytes}; convert it again")
        self._call("LiteRtLockTensorBuffer", buffer, byref(address), ctypes.c_int(WRITE))
        ctypes.memmove(address, image.ctypes.data, image.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)


def operators(events: Iterable[Event]) -> Iterator[tuple[str, float]]:
    """Return the kind and the time in ms of those events that are operators; others enclose them or tell settings."""
    for event in events:
        if event.event_type in (INVOKED_OPERATOR, DELEGATED_OPERATOR):
            yield xnnpack_ops.kind_of(event.tag.decode()), event.elapsed_us / 1e3
