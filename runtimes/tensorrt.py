"""TensorRT and TensorRT-RTX engines on an NVIDIA GPU.

Loading an engine hands its bytes to native code, so nothing is loaded where no GPU could run it, and code embedded in an
engine (version-compatible plans) stays forbidden, which is the library's default.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.formats.tensorrt.cuda import CudaDriver, CudaStream
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, Library, message_log, read_plan_header
from edgevit_deploy.formats.tensorrt.probe import capability, describe
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session


class TensorRTSession(Session):
    """One engine, one execution context and one non-default CUDA stream on the first visible GPU.

    A run is copy to the GPU, execution, copy back and a wait for the stream, so wall-clock latencies are end to end and
    include both transfers. `threads` has no meaning on a GPU.
    """

    name: ClassVar[str] = "TensorRT"
    packages: ClassVar[tuple[str, ...]] = tuple(library.module for library in LIBRARIES.values())
    extra: ClassVar[str | None] = "tensorrt-rtx"
    memory_limited: ClassVar[bool] = False

    _context: Any
    _stream: CudaStream

    @classmethod
    def probe(cls) -> Availability:
        """Say which TensorRT can load an engine on this host's GPU; asked in a child process."""
        detail = "; ".join(describe(flavor) for flavor in LIBRARIES)
        if any(capability(flavor).can_run for flavor in LIBRARIES):
            return Availability(ok=True, detail=detail)
        fix = "use a machine with an NVIDIA GPU and driver"
        if not any(capability(flavor).can_import for flavor in LIBRARIES):
            fix += f", and there: {LIBRARIES['tensorrt-rtx'].install}"
        return Availability(ok=False, detail=detail, fix=fix)

    def _load(self) -> None:
        library = self._library()
        trt, log = library.load(), message_log(library.load())
        log.start()
        stream = CudaStream(CudaDriver())
        with ExitStack() as undo:
            undo.callback(stream.close)
            engine = trt.Runtime(log.native).deserialize_cuda_engine(self.path.read_bytes())
            if engine is None:
                raise RunError(f"{library.title} refused {self.path.name}: {log.errors()}")
            self._check_interface(trt, engine)
            context = engine.create_execution_context()
            if context is None:
                raise RunError(f"{library.title} cannot prepare {self.path.name} to run: {log.errors()}")
            undo.pop_all()
        self._context, self._stream = context, stream

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        context, stream = self._context, self._stream
        for name, array in feeds.items():
            if not context.set_input_shape(name, array.shape):
                raise RunError(f"{self.path.name} does not take {name!r} of shape {array.shape}: outside its batch profile")
            context.set_tensor_address(name, stream.upload(name, array))
        results = {spec.name: np.empty(tuple(context.get_tensor_shape(spec.name)), spec.dtype) for spec in self.outputs}
        for name, result in results.items():
            context.set_tensor_address(name, stream.reserve(name, result.nbytes))
        if not context.execute_async_v3(stream.handle):
            raise RunError(f"{self.path.name} could not be run: {message_log(self._library().load()).errors()}")
        for name, result in results.items():
            stream.download(name, result)
        stream.synchronize()
        return results

    def _unload(self) -> None:
        del self._context  # before the stream and the buffers that it was given
        self._stream.close()
        del self._stream

    def _library(self) -> Library:
        """Return the library that wrote the engine.

        Raises:
            RunError: the file is no engine.
            MissingError: that library cannot run here; the other one could not load the file.
        """
        header = read_plan_header(self.path)
        if header is None:
            raise RunError(f"{self.path.name} is too short to be an engine; convert again")
        if not capability(header.flavor).can_run:
            raise MissingError(
                f"{self.path.name} is an engine of {LIBRARIES[header.flavor].title} {header.version}, which cannot run here: "
                f"{describe(header.flavor)}; {self.probe().fix or LIBRARIES[header.flavor].install}"
            )
        return LIBRARIES[header.flavor]

    def _check_interface(self, trt: Any, engine: Any) -> None:
        expected = {spec.name: spec.dtype for spec in (*self.inputs, *self.outputs)}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        found = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name for name in names}
        if found != expected:
            raise RunError(f"{self.path.name} has the tensors {found}, its manifest says {expected}; convert again")
