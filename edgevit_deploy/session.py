"""One loaded file on one runtime: the base class behind which every runtime sits."""

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.spec import INPUTS, Precision, TensorSpec

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpTime:
    """What one operation of a file took, by the runtime's own profiler: `time_ms` is the median of a run.

    `name` is the node's, which tells its part of the network where the file keeps names; `kind` is the operator's.
    """

    name: str
    kind: str
    time_ms: float


def nameless_ops(runs: Sequence[Sequence[tuple[str, float]]]) -> tuple[OpTime, ...]:
    """Return the operations of a file that keeps no names, from the kind and the time in ms of each in every profiled run.

    Raises:
        RunError: the runs did not execute the same operations.
    """
    kinds = {tuple(kind for kind, _ in run) for run in runs}
    if len(kinds) != 1:
        raise RunError(f"its profile has {len(kinds)} orders of operations in {len(runs)} runs, so none can be told from another")
    return tuple(
        OpTime(name="", kind=same[0][0], time_ms=statistics.median(time_ms for _, time_ms in same))
        for same in zip(*runs, strict=True)
    )


class Session(ABC):
    """Enter, run many times, leave.

    A runtime names its `packages` and writes three hooks: `_load`, `_run`, `_unload`; and `probe`, where more than packages is
    needed. Names, dtypes and shapes are checked here, once, against the specs of the artifact; outputs are copied, so a caller
    owns what it gets.

    Args:
        path: the model file (or directory, for an .mlpackage).
        inputs: what the file takes, from its manifest.
        outputs: what it returns.
        threads: intra-op threads; None leaves the runtime's own default.
    """

    name: ClassVar[str]
    """How reports call this runtime, for example `ONNX Runtime (CPU)`."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Import names of what runs files; `probe` and `convert.py doctor` look for them. On PyPI an underscore is a hyphen."""

    extra: ClassVar[str | None] = None
    """The extra of this project that installs the packages; None where they are core dependencies."""

    memory_limited: ClassVar[bool] = True
    """False where the runtime reserves more address space than any limit allows, as drivers of GPUs do."""

    executes_target: ClassVar[bool] = True
    """False for a reference evaluation: right numbers, but not the device's own arithmetic, so no latency claim."""

    traced_as: ClassVar[Mapping[str, frozenset[str]] | None] = None
    """For a runtime whose profile has no module names, but operations in the order of the trace that the file was written from:
    its kinds of operations -> the kinds of traced operators (`aten::...`) that they may stand for."""

    profiler_note: ClassVar[str] = ""
    """Beside the times of `profile`: how they were taken, where it was not by a profiler of the runtime's own."""

    def __init__(
        self,
        path: Path,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int | None = None,
    ) -> None:
        self.path = path
        self.inputs = inputs
        self.outputs = outputs
        self.threads = threads
        self.substitute = ""
        """Set by `_load`: what is executed in place of what the file asks for and this host cannot; then nothing passes."""
        self._open = False

    @classmethod
    def probe(cls) -> Availability:
        """Say whether this runtime works on this host, cheaply and without raising: whether its packages are there."""
        return requires(*cls.packages, extra=cls.extra)

    @classmethod
    def executes(cls, precision: Precision) -> bool:  # noqa: ARG003 - most compute in what the file says
        """Say whether this runtime, where it works, computes in a precision on this host, or would run something else instead."""
        return True

    @abstractmethod
    def _load(self) -> None:
        """Load the file; raise RunError with the runtime's own words when it cannot."""

    @abstractmethod
    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once on checked feeds; return every output by name."""

    @abstractmethod
    def _unload(self) -> None:
        """Release whatever `_load` took; must work after a failed run."""

    def __enter__(self) -> Self:
        if self._open:
            raise RunError(f"{self.name}: this session is already open")
        self._load()
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._unload()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: one array for each input name, of the spec's dtype and shape; no other type is turned into that one.

        Returns:
            One owned array for each output name.

        Raises:
            RunError: the session is not open, feeds or outputs do not match the specs, or the runtime failed.
            UsageError: an array of another type than the file takes.
        """
        self._check_feeds(feeds)
        outputs = self._run(feeds)
        return {spec.name: self._checked_output(spec, outputs) for spec in self.outputs}

    def time_runs(self, feeds: Mapping[str, Array], count: int) -> list[float]:
        """Run `count` times and return each wall-clock latency in milliseconds, without the checks of `run`.

        Raises:
            RunError: as `run`, or something else than the file is executed, so that its latency cannot be measured.
        """
        self._check_feeds(feeds)
        self._refuse_substitute("timed")
        latencies_ms = []
        for _ in range(count):
            start_ns = time.perf_counter_ns()
            self._run(feeds)
            latencies_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        return latencies_ms

    def cpu_time_ns(self) -> int | None:
        """CPU time, over all threads, of the process that runs the model, as of its last answer; None where it is not known."""
        return time.process_time_ns()

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...] | None:  # noqa: ARG002 - most have none
        """Return what each operation took; None where this runtime has no profiler that Python reaches."""
        return None

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the process that runs the model when it is not this one, else None."""
        return None

    def _refuse_substitute(self, verb: str) -> None:
        """Raise RunError where something else than the file is executed, whose speed is not the file's."""
        if self.substitute:
            raise RunError(f"not {verb}: {self.substitute}")

    def _check_feeds(self, feeds: Mapping[str, Array]) -> None:
        if not self._open:
            raise RunError(f"{self.name}: this session is not open; use it in a `with` block")
        expected = {spec.name for spec in self.inputs}
        if set(feeds) != expected:
            raise RunError(f"{self.name}: expected inputs {sorted(expected)}, got {sorted(feeds)}")
        for spec in self.inputs:
            array = feeds[spec.name]
            if str(array.dtype) != spec.dtype:
                raise UsageError(
                    f"{self.name}: input {spec.name!r} must be {spec.dtype}, got {array.dtype}; prepare pictures for --input "
                    f"{' or '.join(kind for kind, meaning in INPUTS.items() if meaning.dtype == spec.dtype) or spec.dtype}"
                )
            if not spec.accepts(array.shape):
                raise RunError(f"{self.name}: input {spec.name!r} must have shape {spec.shape}, got {array.shape}")

    def _checked_output(self, spec: TensorSpec, outputs: Mapping[str, Array]) -> Array:
        if spec.name not in outputs:
            raise RunError(f"{self.name}: no output {spec.name!r} came back, only {sorted(outputs)}")
        array = np.array(outputs[spec.name])
        if str(array.dtype) != spec.dtype or not spec.accepts(array.shape):
            raise RunError(
                f"{self.name}: output {spec.name!r} should be {spec.dtype} {spec.shape}, got {array.dtype} {array.shape}"
            )
        return array
