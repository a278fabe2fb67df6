"""Memory and a stream on the first visible NVIDIA GPU, through the driver library alone.

The driver API is used by ctypes: `libcuda` is there wherever a GPU can be used, while a CUDA-built torch, cudart or
cuda-python may not be. Signatures: CUDA Driver API reference, cuda.h of CUDA 12 and 13.
"""

import ctypes
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import MissingError, RunError

NON_BLOCKING_STREAM = 1
COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76
NAME_BYTES = 128


class CudaDriver:
    """The driver library, initialised.

    Raises:
        MissingError: there is no driver, or it finds no GPU.
    """

    def __init__(self) -> None:
        name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError:
            raise MissingError(f"no NVIDIA driver ({name} not found), install one") from None
        try:
            self.call("cuInit", ctypes.c_uint(0))
            self.device = ctypes.c_int()
            self.call("cuDeviceGet", ctypes.byref(self.device), ctypes.c_int(0))
        except RunError as error:
            raise MissingError(f"the NVIDIA driver finds no usable GPU: {error}") from error

    def call(self, function: str, *arguments: Any) -> None:
        """Call one driver function; every argument is a ctypes value of its exact type.

        Raises:
            RunError: it did not return CUDA_SUCCESS; with the driver's own words.
        """
        status = self.attempt(function, *arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
            raise RunError(f"{function} failed with CUDA error {status}: {(text.value or b'unknown').decode()}")

    def attempt(self, function: str, *arguments: Any) -> int:
        """Call one driver function and return its status: for releasing, which goes on after an error."""
        status: int = getattr(self._library, function)(*arguments)
        return status

    def gpu(self) -> str:
        """Return the GPU's name and compute capability."""
        name = ctypes.create_string_buffer(NAME_BYTES)
        self.call("cuDeviceGetName", name, ctypes.c_int(NAME_BYTES), self.device)
        major, minor = (self._attribute(number) for number in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR))
        return f"{name.value.decode()} (compute capability {major}.{minor})"

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), self.device)
        return value.value


class CudaStream:
    """One non-default stream in the GPU's primary context (the one TensorRT works in), and named buffers on that GPU."""

    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self._buffers: dict[str, tuple[ctypes.c_uint64, int]] = {}
        context = ctypes.c_void_p()
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), driver.device)
        driver.call("cuCtxSetCurrent", context)
        self._stream = ctypes.c_void_p()
        driver.call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(NON_BLOCKING_STREAM))

    def close(self) -> None:
        """Give everything back; works after a failed run too."""
        for name in list(self._buffers):
            self._free(name)
        self._driver.attempt("cuStreamDestroy_v2", self._stream)
        self._driver.attempt("cuDevicePrimaryCtxRelease_v2", self._driver.device)

    @property
    def handle(self) -> int:
        """The stream as TensorRT wants it."""
        return self._stream.value or 0

    def reserve(self, name: str, size_bytes: int) -> int:
        """Return the device address of a buffer of at least that size, kept under that name until the stream closes."""
        if name not in self._buffers or self._buffers[name][1] < size_bytes:
            if name in self._buffers:
                self._free(name)
            address = ctypes.c_uint64()
            self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
            self._buffers[name] = (address, size_bytes)
        return self._buffers[name][0].value

    def upload(self, name: str, array: NDArray[Any]) -> int:
        """Copy an array into its buffer, in stream order, and return the buffer's address."""
        data = np.ascontiguousarray(array)
        address = self.reserve(name, data.nbytes)
        # From pageable memory the driver takes its own copy before it returns, so `data` may go.
        self._driver.call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_size_t(data.nbytes),
            self._stream,
        )
        return address

    def download(self, name: str, array: NDArray[Any]) -> None:
        """Copy a buffer into a contiguous array, in stream order; valid after `synchronize`."""
        self._driver.call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            self._buffers[name][0],
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def synchronize(self) -> None:
        """Wait until everything in the stream is done."""
        self._driver.call("cuStreamSynchronize", self._stream)

    def _free(self, name: str) -> None:
        self._driver.attempt("cuMemFree_v2", self._buffers.pop(name)[0])
