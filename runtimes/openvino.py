"""OpenVINO on the CPU, in a child process: a folder from anywhere goes to native code.

The CPU plugin takes a precision for a hint: where the CPU has no such arithmetic, it computes in another one and says so only
when asked. So it is asked, and a file that was not run as it wants to be has not passed.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.openvino import (
    HINT_NAME,
    HINTS,
    check_ends,
    compile_for_cpu,
    load_openvino,
    one_convolution,
    other_arithmetic,
    read_ir,
    reason,
    settings_for,
    stored_settings,
)
from edgevit_deploy.formats.openvino.integers import integer_weights
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import Precision

if TYPE_CHECKING:
    import openvino


class OpenVinoSession(Session):
    """One model folder, with the settings stored in it; `threads` sets INFERENCE_NUM_THREADS.

    A file for an arithmetic that this CPU does not have is run in float32, and `substitute` says so; so it does where an int8
    file is not executed in integers.
    """

    name: ClassVar[str] = "OpenVINO (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str | None] = "openvino"

    _request: "openvino.InferRequest | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether OpenVINO is installed."""
        return requires("openvino", extra="openvino")

    @classmethod
    def executes(cls, precision: Precision) -> bool:
        """Say whether this CPU computes in a precision, by compiling one convolution for it."""
        core, rounded = load_openvino().Core(), precision == "int8"
        compiled = compile_for_cpu(core, one_convolution(rounded=rounded), settings_for(precision))
        return not other_arithmetic(compiled, HINTS[precision], int(rounded))

    def _load(self) -> None:
        core = load_openvino().Core()
        model = read_ir(core, self.path)
        check_ends(model, self.inputs, self.outputs)
        settings = stored_settings(model)
        self.substitute = ""
        compiled = self._compile(core, model, settings)
        integers = integer_weights(model)
        other = other_arithmetic(compiled, settings[HINT_NAME], integers)
        if other and integers:
            self.substitute = f"{other}, and so it ran {self.path.name}"
        elif other:
            settings = {**settings, HINT_NAME: HINTS["fp32"]}
            compiled = self._compile(core, model, settings)
            if still_other := other_arithmetic(compiled, HINTS["fp32"]):
                raise RunError(still_other)
            self.substitute = f"{other}, so {self.path.name} was run in {HINTS['fp32']}"
        self._request = compiled.create_infer_request()

    def _compile(
        self, core: "openvino.Core", model: "openvino.Model", settings: Mapping[str, str], *, profiled: bool = False
    ) -> "openvino.CompiledModel":
        threads = {} if self.threads is None else {"INFERENCE_NUM_THREADS": self.threads}
        return compile_for_cpu(core, model, {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": profiled, **settings, **threads})

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Compile the file a second time with OpenVINO's performance counters; the operations in the order of execution.

        Times are means, not medians: OpenVINO counts each run in whole microseconds and tells the mean of all since the model was
        compiled. The first run, which is slow, is taken out of it. An operation that is fused into another is not there, nor is
        one of less than a microsecond; one that the plugin has put in has no module in its name, and belongs to what is before.
        """
        self._check_feeds(feeds)
        self._refuse_substitute("profiled")
        core = load_openvino().Core()
        model = read_ir(core, self.path)
        request = self._compile(core, model, stored_settings(model), profiled=True).create_infer_request()
        request.infer(dict(feeds), share_inputs=True)
        first_ms = dict(_mean_times_ms(request))
        for _ in range(runs):
            request.infer(dict(feeds), share_inputs=True)
        times_ms = {op: ((1 + runs) * mean_ms - first_ms.get(op, 0)) / runs for op, mean_ms in _mean_times_ms(request)}
        return tuple(OpTime(name=name, kind=kind, time_ms=time_ms) for (name, kind), time_ms in times_ms.items() if time_ms > 0)

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._request is not None
        try:
            self._request.infer(dict(feeds), share_inputs=True)
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot run it: {reason(error)}") from error
        return {spec.name: np.array(self._request.get_tensor(spec.name).data) for spec in self.outputs}

    def _unload(self) -> None:
        self._request = None


def _mean_times_ms(request: "openvino.InferRequest") -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the name and type of each operation that was executed, and the mean time of all runs so far."""
    for op in request.profiling_info:
        if op.status == op.Status.EXECUTED:
            yield (op.node_name, op.node_type), op.real_time.total_seconds() * 1000
