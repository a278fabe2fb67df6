"""MNN on the CPU, in a child process: it verifies the tables of a file, and believes what they say of each other.

A file from anywhere is read first (`edgevit_deploy.formats.mnn`). What is left is a file whose operators do not fit each other's
shapes: the child process contains the crash.
"""

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.mnn import check_ends, read_mnn
from edgevit_deploy.session import Array, OpTime, Session

if TYPE_CHECKING:
    import MNN

NORMAL, HIGH = 0, 1
"""Of BackendConfig's memory and precision. High: float32 on every CPU. Normal memory: weights are made float32 when it loads."""


class MnnSession(Session):
    """One `.mnn`; `threads` sets MNN's threads, of which it has four by itself."""

    name: ClassVar[str] = "MNN (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("MNN",)
    extra: ClassVar[str | None] = "mnn"
    profiler_note: ClassVar[str] = "MNN: its callbacks before and after each operator"

    _interpreter: "MNN.Interpreter | None" = None
    _session: "MNN.Session | None" = None

    def _load(self) -> None:
        import MNN

        check_ends(read_mnn(self.path), self.inputs, self.outputs)
        config: dict[str, Any] = {"backend": "CPU", "precision": HIGH, "memory": NORMAL}
        if self.threads is not None:
            config["numThread"] = self.threads
        try:
            self._interpreter = MNN.Interpreter(str(self.path))
            self._session = self._interpreter.createSession(config)
        except Exception as error:  # it raises nothing more particular
            raise RunError(f"MNN does not load {self.path.name}: {first_line(error)}; copy or convert it again") from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        self._feed(feeds)
        assert self._interpreter is not None
        if status := self._interpreter.runSession(self._session):
            raise RunError(f"MNN answered {status} when it was run")
        return {spec.name: self._fetch(spec.name) for spec in self.outputs}

    def _feed(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs into the session, which is planned again where a shape is another than before."""
        import MNN

        assert self._interpreter is not None
        kinds = {"float32": MNN.Halide_Type_Float, "uint8": MNN.Halide_Type_Uint8}
        tensors = [(spec, self._interpreter.getSessionInput(self._session, spec.name)) for spec in self.inputs]
        changed = [(tensor, feeds[spec.name].shape) for spec, tensor in tensors if tensor.getShape() != feeds[spec.name].shape]
        for tensor, shape in changed:
            self._interpreter.resizeTensor(tensor, shape)
        if changed:
            self._interpreter.resizeSession(self._session)
        for spec, tensor in tensors:
            array = np.ascontiguousarray(feeds[spec.name])
            tensor.copyFrom(MNN.Tensor(array.shape, kinds[spec.dtype], array, MNN.Tensor_DimensionType_Caffe))

    def _fetch(self, name: str) -> Array:
        """Copy an output from the session, in the order of its axes, whatever the order in which MNN keeps it."""
        import MNN

        assert self._interpreter is not None
        tensor = self._interpreter.getSessionOutput(self._session, name)
        array = np.empty(tensor.getShape(), np.float32)
        host = MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData()).reshape(array.shape)

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Take the time between MNN's callbacks before and after each operator; some microseconds are the callbacks' own."""
        self._check_feeds(feeds)
        self._feed(feeds)
        profiled = [self._profiled_run() for _ in range(1 + runs)][1:]
        if len({tuple(op[:2] for op in run) for run in profiled}) != 1:
            raise RunError(f"MNN executed other operators from one of {runs} runs to the next, so none can be told from another")
        return tuple(
            OpTime(name=same[0][0], kind=same[0][1], time_ms=statistics.median(time_ms for _, _, time_ms in same))
            for same in zip(*profiled, strict=True)
        )

    def _profiled_run(self) -> list[tuple[str, str, float]]:
        """Return name, kind and time in ms of every operator of one run."""
        found: list[tuple[str, str, float]] = []
        started_ns = 0

        def begin(_: object, __: object) -> bool:
            nonlocal started_ns
            started_ns = time.perf_counter_ns()
            return True

        def end(_: object, op: Any) -> bool:
            took_ms = (time.perf_counter_ns() - started_ns) / 1e6
            found.append((op.getName(), op.getType(), took_ms))
            return True

        assert self._interpreter is not None
        if status := self._interpreter.runSessionWithCallBackInfo(self._session, begin, end):
            raise RunError(f"MNN answered {status} when it was run")
        return found

    def _unload(self) -> None:
        self._session = self._interpreter = None
